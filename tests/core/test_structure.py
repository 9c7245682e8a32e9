"""How the files hang together: no circle, no module named like a function, no chain over kinds of initializers."""

import ast
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import initlib
from initlib.schemes import FACTORIES

ROOT = Path(__file__).parents[2]
KINDS = "Independent|Composed|Indexed|Elementwise|Constant|Normal|Uniform|TruncatedNormal|VarianceScaling|Scaled"


def modules():
    """Every file of the package, by the module's name."""
    for folder, package in ((ROOT / "initlib", "initlib"), (ROOT / "adapters", "initlib.adapters")):
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join([package, *parts]).removesuffix(".__init__"), path


def imports(name, path, known):
    """The modules of the package that a file imports, wherever in the file it does."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            target = ".".join(filter(None, [base, node.module or ""]))
            for alias in node.names:
                inner = f"{target}.{alias.name}"
                yield inner if inner in known else target


def circle(graph):
    """A circle in a graph, as the nodes along it; None where there is none."""
    done = set()

    def visit(node, path):
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        for other in graph.get(node, ()):
            found = visit(other, [*path, node])
            if found:
                return found
        done.add(node)
        return None

    return next(filter(None, (visit(node, []) for node in graph)), None)


def test_no_file_imports_itself_by_way_of_others():
    known = dict(modules())
    graph = {
        name: {other for other in imports(name, path, known) if other in known and other not in ("initlib", name)}
        for name, path in known.items()
    }
    assert sum(map(len, graph.values())) > 100
    assert circle(graph) is None


def test_the_test_above_can_fail():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b", "c"}, "b": {"c"}}) is None


def test_no_module_has_the_name_of_a_function():
    names = {module.name for module in pkgutil.iter_modules(initlib.__path__)}
    assert "axes" in names
    assert not names & {name for name in initlib.__all__ if not isinstance(getattr(initlib, name), ModuleType)}


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda value: str(value).rpartition("/")[2])
def test_no_file_asks_what_kind_an_initializer_is(name, path):
    assert not re.findall(rf"isinstance\([^)]*\b({KINDS})\b", path.read_text())


@pytest.mark.parametrize("name", FACTORIES)
def test_a_scheme_is_made_by_its_public_name(name):
    assert name in ("scaled", "two_parts") or getattr(initlib, name) is FACTORIES[name]
