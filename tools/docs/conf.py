"""Settings of Sphinx: `make -C tools docs` builds the pages of the repository and the API.

The source folder is the root of the repository, so that links between its pages stay what they are.
"""

from importlib.metadata import version as installed_version

project = "espnet_ext"
author = "The espnet_ext authors"
version = release = installed_version(project)
root_doc = "tools/docs/index"
extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
include_patterns = [
    "*.md",
    "egs2/*.md",
    "egs2/**/*.md",
    "tools/*.md",
    "tools/benchmarks/*.md",
    "tools/docs/**",
]
# TEMPLATE/common/utils and the like are linked into every recipe.
exclude_patterns = ["**/utils/**", "**/exp/**", "**/data/**", "**/results/*/**"]
default_role = "code"  # single backquotes
html_theme_options = {"page_width": "70rem", "sidebar_width": "18rem", "fixed_sidebar": True}
html_title = f"{project} {release}"

# Links to headings, and to files of the repository that are no pages.
myst_heading_anchors = 4
# A word such as `steps` in a docstring may be the name of several attributes.
suppress_warnings = ["myst.xref_missing", "myst.header", "toc.not_included", "ref.python"]

apidoc_modules = [
    {
        "path": "../../espnet_ext",
        "destination": "tools/docs/generated",
        "exclude_patterns": ["**/bin", "**/compat.py"],  # commands have --help
        "module_first": True,
        "max_depth": 2,
    }
]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature has them
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # a field of a named tuple is described once
