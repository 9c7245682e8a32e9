"""`import initlib` loads NumPy, and no framework or other large package."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import initlib
from initlib import _misplaced_names

HEAVY = (
    "torch tensorflow keras jax flax scipy matplotlib rich sklearn safetensors ml_dtypes pandas numpy.random"
).split()

PROGRAM = """
import sys
{statement}
print(*sorted(name for name in {heavy} if name in sys.modules))
"""


def heavy_after(statement):
    program = PROGRAM.format(statement=statement, heavy=HEAVY)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


def test_an_import_loads_no_heavy_package():
    assert heavy_after("import initlib") == []


def test_a_draw_loads_no_heavy_package():
    assert heavy_after("import initlib; initlib.he_normal((3, 4), 'float16', seed=0, name='a')") == []


@pytest.mark.parametrize(("modules", "name"), [("initlib.plans", "plan"), ("initlib.schemes._siren", "siren")])
def test_plans_and_rare_schemes_are_loaded_at_the_first_use_of_their_names(modules, name):
    program = f"import initlib, sys; print(sorted(name for name in sys.modules if name.startswith({modules!r})))"
    for before, loaded in (("", False), (f"import initlib; initlib.{name}; ", True)):
        run = subprocess.run([sys.executable, "-c", before + program], capture_output=True, text=True, check=True)
        assert (run.stdout.strip() != "[]") == loaded


# The packages with names that are loaded later, and two of these names, from two modules if the package has two.
LATE = {
    "initlib": ("siren", "SignalReport"),
    "initlib.recipes": ("llama", "vit"),
    "initlib.adapters.torch": ("initialize", "signals"),
    "initlib.adapters.jax": ("initialize", "signals"),
    "initlib.adapters.keras": ("initialize", "signals"),
}


def run_with(package, program, **values):
    """Run a program that imports a package of `LATE` in a new process, and return what the program prints."""
    framework = package.rpartition("adapters.")[2]
    if framework != package and importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    program = f"import pickle, sys, {package}\npackage = sys.modules[{package!r}]\n" + program.format(
        package=package, **values
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


ROOMS = """
def loaded(*rooms):
    return [name for name in sys.modules if name.startswith(tuple("initlib." + room for room in rooms))]

assert loaded("plans", "diagnostics", "recipes", "theory") == []
package.initialize
assert loaded("plans.plan") and loaded("recipes.pytorch")
assert loaded("diagnostics", "recipes.vision") == []
package.signals
assert loaded("diagnostics.signals")
"""


@pytest.mark.parametrize("package", [package for package in LATE if "adapters" in package])
def test_an_adapter_loads_models_and_reports_at_the_first_use_of_their_names(package):
    run_with(package, ROOMS if package.endswith("torch") else ROOMS.replace(' and loaded("recipes.pytorch")', ""))


NAMES = """
first, second = {names}
assert first not in vars(package) and set(package.__all__) <= set(dir(package))
value = pickle.loads(b"c{package}\\n" + first.encode() + b"\\n.")  # an unpickler looks the name up
assert pickle.loads(pickle.dumps(value)) is value is getattr(package, first)
names = {{}}
exec("from {package} import *", names)
names.pop("__builtins__")
assert sorted(names) == sorted(package.__all__)
assert names[first] is value and all(names[name] is getattr(package, name) for name in names)
"""


@pytest.mark.parametrize("package", LATE)
def test_names_that_are_loaded_later_are_listed_unpickled_and_imported_with_a_star(package):
    run_with(package, NAMES, names=LATE[package])


THREADS = """
from threading import Barrier, Thread

values, barrier = [], Barrier(8)

def use(name):
    barrier.wait()
    values.append((name, getattr(package, name)))

threads = [Thread(target=use, args=({names}[i % 2],)) for i in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(values) == 8 and all(value is getattr(package, name) for name, value in values)
"""


@pytest.mark.parametrize("package", LATE)
def test_threads_may_use_names_for_the_first_time_at_once(package):
    run_with(package, THREADS, names=LATE[package])


MISSPELLED = """
sys.stderr = sys.stdout

for statement in ("package.{name}", "from {package} import {name}"):
    try:
        exec(statement)
    except (AttributeError, ImportError) as error:
        sys.__excepthook__(type(error), error.with_traceback(None), None)  # the interpreter adds the nearest name
    else:
        raise AssertionError(statement)
"""


@pytest.mark.parametrize("package", LATE)
def test_a_misspelled_name_is_an_error_that_proposes_a_name_that_is_loaded_later(package):
    right = LATE[package][0]
    name = right + right[-1]
    attribute, imported = run_with(package, MISSPELLED, name=name).splitlines()
    expected = f"AttributeError: module '{package}' has no attribute '{name}'. Did you mean: '{right}'?"
    assert attribute == expected
    assert imported.startswith(f"ImportError: cannot import name '{name}' from '{package}'")


@pytest.mark.parametrize("package", LATE)
def test_type_checkers_read_the_modules_of_the_names_that_are_loaded_later(package):
    path = Path(importlib.util.find_spec(package).origin)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    read = [node.module for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "later"]
    assert len(calls) == 1
    assert sorted(read) == sorted(ast.literal_eval(calls[0].args[1]))


@pytest.mark.parametrize("package", LATE)
def test_pydoc_shows_names_that_are_loaded_later(package):
    shown = run_with(package, "import pydoc; print(pydoc.render_doc(package, renderer=pydoc.plaintext))")
    for name in LATE[package]:
        assert re.search(rf"^ {{4}}(class )?{name}\b", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("initialize", "Import the function from an adapter: from initlib.adapters.torch import initialize or from "),
        ("named", "Write: from initlib.adapters.torch import named"),
        ("kaiming_normal_", "To fill a tensor of PyTorch, write: from initlib.adapters.torch import kaiming_normal_"),
        ("trunc_normal_", "To fill a tensor of PyTorch, write: from initlib.adapters.torch import trunc_normal_"),
        ("HeNormal", "Write initlib.he_normal; for Keras, write: from initlib.adapters.keras import HeNormal"),
        ("RandomNormal", "Write initlib.normal; for Keras, write: from initlib.adapters.keras import RandomNormal"),
        ("eye", "Write initlib.identity"),
        ("He_normal", "Write initlib.he_normal; for Keras, write: from initlib.adapters.keras import HeNormal"),
    ],
)
def test_a_name_of_an_adapter_or_another_library_is_an_error_that_says_where_it_is(name, advice):
    with pytest.raises(AttributeError, match=re.escape(f"module 'initlib' has no attribute {name!r}. {advice}")):
        getattr(initlib, name)


@pytest.mark.parametrize("name", ["Kaiming_normal", "KaimingNormal", "identity_"])
def test_the_advice_for_a_name_that_no_adapter_has_is_a_name_of_the_core(name):
    with pytest.raises(AttributeError) as caught:
        getattr(initlib, name)
    own = re.sub("(?<=g)N", "_N", name).lower().removesuffix("_")
    assert str(caught.value) == f"module 'initlib' has no attribute {name!r}. Write initlib.{own}"


@pytest.mark.parametrize(
    ("framework", "names"),
    [("torch", _misplaced_names.IN_PLACE + _misplaced_names.OF_PYTORCH), ("keras", _misplaced_names.OF_KERAS)],
)
def test_advice_proposes_only_names_that_an_adapter_has(framework, names):
    pytest.importorskip(framework)
    adapter = importlib.import_module(f"initlib.adapters.{framework}")
    assert [name for name in names if not hasattr(adapter, name)] == []


@pytest.mark.parametrize(
    ("framework", "package"), [("torch", "torch"), ("jax", "jax"), ("keras", "keras"), ("keras", "tensorflow")]
)
def test_an_adapter_without_its_framework_is_an_error_that_says_what_to_install(framework, package):
    program = f"""
import sys
sys.modules[{package!r}] = None  # an import of the package fails
try:
    import initlib.adapters.{framework}
except ModuleNotFoundError as error:
    print(error.name, error)
"""
    if package == "tensorflow":
        pytest.importorskip("keras")
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    message = f'initlib.adapters.{framework} needs the package {package}: pip install "initlib[{framework}]"'
    assert run.stdout.startswith(f"{package} {message}")


def test_a_heavy_import_is_found():
    pytest.importorskip("scipy")
    assert "scipy" in heavy_after("import initlib, scipy")


def test_every_public_name_exists():
    assert initlib.__all__ == sorted(initlib.__all__)
    for name in initlib.__all__:
        assert getattr(initlib, name) is not None


def test_bfloat16_without_ml_dtypes_is_an_error_that_names_the_package(monkeypatch):
    initlib.dtypes.numpy_dtype.cache_clear()
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="pip install ml_dtypes"):
        initlib.he_normal((3, 4), "bfloat16")
    monkeypatch.undo()
    assert initlib.he_normal((3, 4), "bfloat16").dtype != np.float32
