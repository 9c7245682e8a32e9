"""Structure of the package: imports run one way, files do not circle, and every adapter has the same rooms."""

import ast
import pkgutil
import re
from pathlib import Path

import pytest

import initlib
from initlib.schemes.factories import FACTORIES

ROOT = Path(__file__).parents[2]
KINDS = "Independent|Composed|Indexed|Elementwise|Constant|Normal|Uniform|TruncatedNormal|VarianceScaling|Scaled"

# The files that every room may import; each file imports only files before it.
FOUNDATION = """_version _public _arguments _rounding axes dtypes quadrature _adapters gains _figure _progress
_collector _later _misplaced_names _user_warning""".split()

# The rooms of the core, and the rooms that each may import besides.
ROOMS = {
    "stream": "",
    "key": "stream",
    "schemes": "stream key",
    "files": "stream key schemes",
    "plans": "stream key schemes files",
    "checkpoints": "stream key schemes files plans",
    "theory": "",
    "diagnostics": "stream key schemes files plans theory",
    "recipes": "stream key schemes files plans theory",
    "_later_plans": "plans",
    "_later_reports": "diagnostics recipes theory",
    "cli": "stream key schemes files plans checkpoints theory diagnostics recipes initlib",
    "__main__": "cli files plans initlib",
}
# `Plan.write` and `Plan.verify` import checkpoints inside the method; a printed plan looks up the names of presets.
EXCEPTIONS = {("initlib.plans.plan", "checkpoints"), ("initlib.plans.text.describe", "initlib")}

# The rooms of an adapter, lowest first: a room imports only lower ones. Other files of an adapter stand beside `init`.
ADAPTER = {"_private": 0, "drawing": 1, "init": 2, "more_init": 2, "models": 3, "naming": 4, "diagnostics": 4}
ADAPTER |= {"_later_models": 5, "_later_naming": 5, "_later_reports": 5}


def modules():
    """Yield every file of the package, with the name of its module."""
    for folder, package in ((ROOT / "initlib", "initlib"), (ROOT / "adapters", "initlib.adapters")):
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join([package, *parts]).removesuffix(".__init__"), path


def imports(name, path, module_names):
    """Yield the modules of the package that a file imports when it runs, also inside functions."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in module_names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            target = ".".join(filter(None, [base, node.module or ""]))
            for alias in node.names:
                inner = f"{target}.{alias.name}"
                yield inner if inner in module_names else target


KNOWN = dict(modules())
EDGES = sorted(
    {
        (name, other)
        for name, path in KNOWN.items()
        for other in imports(name, path, KNOWN)
        if other in KNOWN and other != name
    }
)


def circle(edges):
    """Return a circle of imports, as the modules along it; None if there is no circle."""
    graph, done = {}, set()
    for name, other in edges:
        graph.setdefault(name, set()).add(other)

    def visit(node, path):
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        for other in sorted(graph.get(node, ())):
            if loop := visit(other, [*path, node]):
                return loop
        done.add(node)
        return None

    return next(filter(None, (visit(node, []) for node in sorted(graph))), None)


def room(name):
    """Return the room of a module of the core; the package itself is the room "initlib"."""
    return name.split(".")[1] if "." in name else "initlib"


def wrong_in_the_core(edges):
    """Return the imports between modules of the core that run against the order of rooms."""
    wrong = []
    for name, other in edges:
        here, there = room(name), room(other)
        if "adapters" in (here, there):
            allowed = here == "adapters"
        elif here in FOUNDATION:
            allowed = there in FOUNDATION[: FOUNDATION.index(here)]
        elif here in ROOMS:
            allowed = there in (here, *FOUNDATION, *ROOMS[here].split()) or (name, there) in EXCEPTIONS
        else:
            allowed = here == "initlib"
        if name.startswith("initlib.plans.fills.") and other.startswith("initlib.plans.rules."):
            allowed = False
        if not allowed:
            wrong.append((name, other))
    return wrong


def wrong_in_the_adapters(edges):
    """Return the imports between modules of adapters that run against the order of rooms."""
    wrong = []
    for name, other in edges:
        here, there = name.split(".")[2:4], other.split(".")[2:4]
        if room(name) != "adapters" or room(other) != "adapters" or len(here) < 2 or there[:1] == ["common"]:
            allowed = here[:1] != ["common"] or there[:1] == ["common"] or room(other) != "adapters"
        elif here[0] == there[0]:
            allowed = len(there) == 2 and (here == there or level(there[1]) < level(here[1]) or level(here[1]) == 2)
            allowed = allowed and level(there[1]) <= level(here[1])
        else:
            allowed = here[0] == "keras" and there[1:] == ["drawing"]
        if not allowed:
            wrong.append((name, other))
    return wrong


def level(name):
    return ADAPTER.get(name, ADAPTER["init"])


def test_no_file_imports_itself_through_others():
    assert len(EDGES) > 300
    assert circle((name, other) for name, other in EDGES if "initlib" not in (name, other)) is None


def test_a_circle_is_found():
    assert circle([("a", "b"), ("b", "c"), ("c", "a")]) == ["a", "b", "c", "a"]
    assert circle([("a", "b"), ("a", "c"), ("b", "c")]) is None


def test_rooms_of_the_core_import_only_lower_rooms():
    assert {room(name) for name in KNOWN} == {*FOUNDATION, *ROOMS, "initlib", "adapters"}
    assert wrong_in_the_core(EDGES) == []


@pytest.mark.parametrize(
    "edge",
    [
        ("initlib.axes", "initlib.stream.law"),
        ("initlib.gains", "initlib.key"),
        ("initlib.stream.law", "initlib.schemes.kinds"),
        ("initlib.schemes.kinds", "initlib"),
        ("initlib.schemes._normal", "initlib.diagnostics.signals"),
        ("initlib.plans.entry", "initlib.checkpoints.write"),
        ("initlib.plans.fills.values", "initlib.plans.rules.patterns"),
        ("initlib.theory.network", "initlib.diagnostics.signals"),
        ("initlib.cli.audit", "initlib.adapters.torch.init"),
        ("initlib.a_room_without_a_place", "initlib.axes"),
    ],
)
def test_an_import_of_a_higher_room_is_found(edge):
    assert wrong_in_the_core([edge]) == [edge]


def test_rooms_of_adapters_import_only_lower_rooms():
    assert wrong_in_the_adapters(EDGES) == []


@pytest.mark.parametrize(
    "edge",
    [
        ("initlib.adapters.torch._private", "initlib.adapters.torch.drawing.memory"),
        ("initlib.adapters.torch.drawing.memory", "initlib.adapters.torch.init"),
        ("initlib.adapters.torch.init", "initlib.adapters.torch.models.initialize"),
        ("initlib.adapters.torch.models.initialize", "initlib.adapters.torch.naming.mode"),
        ("initlib.adapters.torch.naming.mode", "initlib.adapters.torch.diagnostics.graph"),
        ("initlib.adapters.torch.drawing.memory", "initlib.adapters.torch"),
        ("initlib.adapters.common.roles", "initlib.adapters.torch.init"),
        ("initlib.adapters.jax.drawing.draw", "initlib.adapters.torch.drawing.memory"),
        ("initlib.adapters.keras.models.tensors", "initlib.adapters.torch.models.tensors"),
    ],
)
def test_an_import_of_a_higher_room_of_an_adapter_is_found(edge):
    assert wrong_in_the_adapters([edge]) == [edge]


def loads_by_name(path):
    """Return whether a file loads modules whose names it computes."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return any("import_module" in (getattr(node, "id", ""), getattr(node, "attr", "")) for node in nodes)


def test_only_one_file_of_the_core_finds_adapters(tmp_path):
    loading = {name for name, path in KNOWN.items() if loads_by_name(path) and room(name) != "adapters"}
    assert loading == {"initlib._later", "initlib._adapters"}
    (tmp_path / "other.py").write_text("import importlib\nimportlib.import_module(f'initlib.adapters.{name}')\n")
    assert loads_by_name(tmp_path / "other.py")


@pytest.mark.parametrize("framework", ["torch", "jax", "keras"])
def test_every_adapter_has_the_same_rooms(framework):
    folder = ROOT / "adapters" / framework
    models = ("layers", "tensors", "parameters", "initialize")
    files = ("init.py", "drawing/__init__.py", *(f"models/{name}.py" for name in models))
    assert [file for file in files if not (folder / file).is_file()] == []


@pytest.mark.parametrize("package", ["", ".recipes", ".adapters.torch", ".adapters.jax", ".adapters.keras"])
def test_no_module_has_the_name_of_a_function(package):
    path = KNOWN[f"initlib{package}"]
    tree = ast.parse(path.read_text())
    [listed] = [node.value for node in tree.body if "__all__" in map(ast.unparse, getattr(node, "targets", []))]
    names = {module.name for module in pkgutil.iter_modules([str(path.parent)])}
    assert names >= {"axes"} or package
    assert names & set(ast.literal_eval(listed)) == ({"recipes"} if not package else set())


@pytest.mark.parametrize(("name", "path"), list(modules()), ids=lambda value: str(value).rpartition("/")[2])
def test_no_file_tests_the_kind_of_an_initializer(name, path):
    assert not re.findall(rf"isinstance\([^)]*\b({KINDS})\b", path.read_text())


@pytest.mark.parametrize("name", FACTORIES)
def test_a_scheme_is_made_by_its_public_name(name):
    assert name in ("scaled", "two_parts") or getattr(initlib, name) is FACTORIES[name]
