"""The documentation: `sphinx-build -W docs build/docs`, without the network."""

import initlib

# What is called as a function is a class of another name, which autodoc would show as an alias without its docstring.
for name in initlib.__all__:
    if isinstance(getattr(initlib, name), type):
        getattr(initlib, name).__name__ = name

project = "initlib"
project_copyright = "the authors of initlib, Apache-2.0"
version = release = initlib.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["extra"]
nitpicky = False
default_role = "literal"  # docstrings write `name` for code
autodoc_typehints = "none"
autodoc_member_order = "bysource"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
smartquotes = False  # "...IO" is code, whoever quotes it

html_theme = "furo"
html_title = f"initlib {version}"
html_extra_path = ["extra"]  # pages that stand alone, copied as they are
html_copy_source = False
html_show_sphinx = False
