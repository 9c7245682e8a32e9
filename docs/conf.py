"""Settings of the documentation: `sphinx-build -W docs build/docs`, without the network."""

import inspect
import os
import re
import subprocess
import sys

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from numpy.typing import ArrayLike
from sphinx.pycode.parser import VariableCommentPicker
from sphinx.util.typing import stringify_annotation

import initlib
from initlib._arguments import Shape
from initlib.gains import ACTIVATIONS
from initlib.key import Seed
from initlib.plans import types
from initlib.recipes.rules import Rules as RecipeRules
from initlib.schemes.factories import FACTORIES
from initlib.stream.boxes import Index

# A factory such as `normal` is a class: autodoc shows a class under its own name, and an alias without its docstring.
for name in initlib.__all__:
    if isinstance(getattr(initlib, name), type):
        getattr(initlib, name).__name__ = name

# The signature of an overloaded function is the signature of its implementation, which `_shorten` can shorten.
VariableCommentPicker.is_overload = lambda self, decorators: False

project = "initlib"
project_copyright = "the authors of initlib, Apache-2.0"
version = release = initlib.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["extra"]
nitpicky = False
default_role = "literal"  # docstrings write `name` for code
autodoc_typehints = "signature"
maximum_signature_line_length = 100
autodoc_member_order = "bysource"
napoleon_use_rtype = False
napoleon_custom_sections = ["Reference"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
smartquotes_action = "D"  # dashes; "...IO" is code

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


class GeneratedTable(Directive):
    """A table that is made from the library when the site is built. Subclasses yield the rows, in reStructuredText."""

    head: tuple[str, ...]
    widths: tuple[int, ...]

    def rows(self):
        """Yield the cells of each row."""
        raise NotImplementedError

    def run(self):
        """Return the table."""
        lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, self.widths))}", ""]
        for row in (self.head, *self.rows()):
            lines += [f"   {' ' if number else '*'} - {cell}" for number, cell in enumerate(row)]
        parent = nodes.container()
        self.state.nested_parse(StringList(lines, self.name), self.content_offset, parent)
        return parent.children


class RecipeTable(GeneratedTable):
    """Every recipe with its summary and its source."""

    head, widths = ("recipe", "rules", "source"), (24, 46, 30)

    def rows(self):
        """Yield the recipes in the order of their names."""
        for name in initlib.recipes.__all__:
            recipe = getattr(initlib.recipes, name)
            text = inspect.getdoc(recipe)
            summary = re.sub(r"^(Make|Return) (the )?rules? of ", "", text.splitlines()[0])
            if summary.partition(" ")[0].islower():  # not muP or nGPT
                summary = summary[0].upper() + summary[1:]
            yield _linked(f"initlib.recipes.{name}", recipe), summary, _source(text)


class InitializerTable(GeneratedTable):
    """Every function that makes an initializer, with its summary."""

    head, widths = ("call", "weights"), (36, 64)

    def rows(self):
        """Yield the functions in the order of their names."""
        for name in initlib.__all__:
            member = getattr(initlib, name)
            if name in FACTORIES:
                yield _linked(f"initlib.{name}", member), inspect.getdoc(member).splitlines()[0]


class GainTable(GeneratedTable):
    """The gains of every activation that has a name, with ten digits after the point."""

    head, widths = ("activation", "gain, forward", "gain, backward"), (40, 30, 30)

    def rows(self):
        """Yield the activations in the order of their names."""
        for name in sorted(ACTIVATIONS):
            yield f"``{name}``", f"{initlib.gain(name):.10f}", f"{initlib.gain(name, backward=True):.10f}"


def _linked(place, function):
    """Return a link to a function, with the names of its arguments."""
    parameters = ", ".join(inspect.signature(function).parameters)
    return f":py:obj:`{place.rpartition('.')[2]}({parameters}) <{place}>`"


def _source(text):
    """Return the references of a docstring in one line, with a link for each paper."""
    section = re.search(r"^Reference:\n((?:    .*\n?)+)", text, re.MULTILINE)
    if section is None:
        return "computed from the model"
    line = " ".join(section[1].split())
    return re.sub(r"arXiv:(\d+\.\d+)", r"`arXiv:\1 <https://arxiv.org/abs/\1>`__", line)


ALIASES = {
    "ArrayLike": ArrayLike,
    "Axes": types.Axes,
    "Fill": types.Fill,
    "Index": Index,
    "Rename": types.Rename,
    "Rule": types.Rule,
    "Rules": types.Rules,
    "Seed": Seed,
    "Shape": Shape,
}

_NDARRAY = re.compile(r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], ~numpy\.dtype\[([~\w.]+)\]\]")


def _shorten(app, what, name, obj, options, signature, returns):
    """Return the signature with the names of type aliases in place of what they stand for."""
    spelled = [(stringify_annotation(alias, "smart"), short) for short, alias in ALIASES.items()]
    spelled.append((stringify_annotation(RecipeRules, "smart"), "Rules"))
    for text, short in sorted(spelled, key=lambda pair: -len(pair[0])):
        signature = signature and signature.replace(text, short)
        returns = returns and returns.replace(text, short)
    return signature and _NDARRAY.sub(r"NDArray[\1]", signature), returns and _NDARRAY.sub(r"NDArray[\1]", returns)


def _trim(app, doctree):
    """Remove the last line break of each code block, which a console session would show as an empty line."""
    for block in doctree.findall(nodes.literal_block):
        block.rawsource = block.rawsource.rstrip("\n")
        block.children = [nodes.Text(block.astext().rstrip("\n"))]


def setup(app):
    """Register the directives, short signatures and trimmed code blocks."""
    app.add_directive("command-help", CommandHelp)
    app.add_directive("recipe-table", RecipeTable)
    app.add_directive("initializer-table", InitializerTable)
    app.add_directive("gain-table", GainTable)
    app.connect("autodoc-process-signature", _shorten)
    app.connect("doctree-read", _trim)
