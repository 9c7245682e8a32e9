"""Docstrings of public names: an imperative verb, every argument, no banned words."""

import importlib
import inspect
import re
import subprocess
from pathlib import Path

import pytest

PACKAGES = ("initlib", "initlib.recipes", "initlib.adapters.torch", "initlib.adapters.jax", "initlib.adapters.keras")

# First words that are not verbs in the imperative.
NO_VERBS = "A An The What Whether Why How Which Where When It This That There One".split()

BANNED = re.compile(
    r"\b(nobody|somebody|whoever|anyone|said|told|meant)\b|\b(of|by|that) which\b|[^`]\bwhole (weight|shape)s?\b",
    re.IGNORECASE,
)
NARRATORS = re.compile(r"\b(nobody|somebody|whoever)\b", re.IGNORECASE)
ROOT = Path(__file__).parents[2]


def members(package):
    """Yield the functions and classes that initlib defines, and the methods that a public class adds."""
    public = [getattr(package, name) for name in package.__all__]
    for name, member in zip(package.__all__, public, strict=True):
        if not (inspect.isfunction(member) or inspect.isclass(member)) or not member.__module__.startswith("initlib"):
            continue
        yield name, member
        if inspect.isclass(member) and not any(inspect.isclass(base) and base in public for base in member.__mro__[1:]):
            for inner, method in vars(member).items():
                if not inner.startswith("_") and (inspect.isfunction(method) or isinstance(method, classmethod)):
                    yield f"{name}.{inner}", inspect.unwrap(getattr(member, inner))


def arguments(member):
    """Return the names of the arguments of a function or class."""
    if inspect.isclass(member) and "__init__" not in vars(member) and not hasattr(member, "__dataclass_fields__"):
        return []
    names = [
        f"{'*' * (2 if p.kind is p.VAR_KEYWORD else p.kind is p.VAR_POSITIONAL)}{name}"
        for name, p in inspect.signature(member).parameters.items()
    ]
    return [name for name in names if name not in ("self", "cls")]


def faults(member):
    """Yield the faults of the docstring of a function or class."""
    text = inspect.getdoc(member) or ""
    if not text:
        yield "no docstring"
        return
    if inspect.isfunction(member) or inspect.ismethod(member):
        word = text.split()[0]
        if word in NO_VERBS or not re.fullmatch(r"[A-Z][a-z]+[a-z-]*", word) or word.endswith("s"):
            yield f"begins with {word!r}, not with a verb in the imperative"
    section = re.search(r"^Args:\n((?:[ ].*\n?|\n)*)", text, re.MULTILINE)
    described = re.findall(r"^ {4}(\**\w+(?:, \**\w+)*):", section[1] if section else "", re.MULTILINE)
    named = {name for group in described for name in group.split(", ")}
    # A decorator may show the arguments that `**options` stands for: the docstring has these, or `**options`.
    shown, written = (
        [name for name in arguments(each) if name not in named] for each in (member, inspect.unwrap(member))
    )
    for name in shown and written:
        yield f"has no argument {name!r} under Args"
    for banned in BANNED.finditer(text):
        yield f"holds {banned[0].strip()!r}"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_docstrings_have_a_verb_and_every_argument(package):
    if package.startswith("initlib.adapters."):
        pytest.importorskip(package.rpartition(".")[2])
    problems = {name: list(faults(member)) for name, member in members(importlib.import_module(package))}
    assert len(problems) > 10
    assert {name: wrong for name, wrong in problems.items() if wrong} == {}


def test_faults_of_docstrings_are_found():
    def good(a, *b, **c):
        """Return a.

        Args:
            a: a number.
            *b: more numbers.
            **c: named numbers.
        """

    def bad(a, b):
        """The number that was told.

        Args:
            a: a number.
        """

    def bare():
        pass

    assert list(faults(good)) == []
    assert list(faults(bad)) == [
        "begins with 'The', not with a verb in the imperative",
        "has no argument 'b' under Args",
        "holds 'told'",
    ]
    assert list(faults(bare)) == ["no docstring"]


def test_no_file_of_the_repository_has_a_narrator():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not in a git repository")
    narrators = {}
    for name in filter(None, listed.stdout.split("\0")):
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        words = sorted({word.lower() for word in NARRATORS.findall(text)})
        if words and name != "tests/core/test_docstrings.py":
            narrators[name] = words
    assert narrators == {}
