"""Settings of the documentation: `sphinx-build -W docs build/docs`, without the network."""

import os
import subprocess
import sys

from docutils import nodes
from docutils.parsers.rst import Directive

import initlib

# A factory such as `normal` is a class: autodoc shows a class under its own name, and an alias without its docstring.
for name in initlib.__all__:
    if isinstance(getattr(initlib, name), type):
        getattr(initlib, name).__name__ = name

project = "initlib"
project_copyright = "the authors of initlib, Apache-2.0"
version = release = initlib.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["extra"]
nitpicky = False
default_role = "literal"  # docstrings write `name` for code
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_use_rtype = False
napoleon_custom_sections = [("Reference", "notes")]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
smartquotes = False  # "...IO" is code

html_theme = "furo"
html_title = f"initlib {version}"
html_static_path = ["static"]
html_css_files = ["initlib.css"]
html_extra_path = ["extra"]  # pages that stand alone, copied as they are
html_copy_source = False
html_show_sphinx = False


class CommandHelp(Directive):
    """A directive that shows the help of the command line and of each command, as `--help` prints it."""

    def run(self):
        """Return a section for each command."""
        overview = _help()
        listed = overview[overview.index("COMMAND\n") :].splitlines()[1:]
        commands = [line.split()[0] for line in listed if line.startswith("    ") and not line.startswith("     ")]
        parts = [nodes.literal_block(overview, overview, language="text")]
        for command in commands:
            section = nodes.section(ids=[f"initlib-{command}"])
            section += nodes.title(text=f"initlib {command}")
            text = _help(command)
            section += nodes.literal_block(text, text, language="text")
            parts.append(section)
        return parts


def _help(*command):
    arguments = [sys.executable, "-m", "initlib", *command, "--help"]
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True).stdout


def setup(app):
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
