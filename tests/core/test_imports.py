"""`import initlib` loads NumPy, and no framework or other large package."""

import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import initlib

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


ADAPTER_PROGRAM = """
import pickle, sys
import {package} as package

def later():
    rooms = ("initlib.plans", "initlib.diagnostics", "initlib.recipes")
    return [name for name in sys.modules if name.startswith(rooms)]

assert later() == [], later()
assert set(package.__all__) <= set(dir(package))
assert pickle.loads(b"c{package}\\ninitialize\\n.") is package.initialize  # an unpickler looks the name up
assert "initlib.plans.plan" in later()
assert not [name for name in later() if name.startswith(("initlib.diagnostics", "initlib.recipes.vision"))], later()
from {package} import signals
assert pickle.loads(pickle.dumps(signals)) is signals
assert "initlib.diagnostics.signals" in later()
try:
    package.initialise
except AttributeError as error:
    assert str(error) == "module '{package}' has no attribute 'initialise'"
    assert error.obj is package
names = {{}}
exec("from {package} import *", names)
assert set(package.__all__) <= set(names)
"""


@pytest.mark.parametrize("framework", ["torch", "jax", "keras"])
def test_an_adapter_loads_models_and_reports_at_the_first_use_of_their_names(framework):
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    program = ADAPTER_PROGRAM.format(package=f"initlib.adapters.{framework}")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("package", [initlib, initlib.recipes], ids=lambda package: package.__name__)
def test_names_that_are_loaded_later_are_listed(package):
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'planss'"):
        package.planss  # noqa: B018


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("initialize", "Import an adapter: initlib.adapters.torch.initialize, initlib.adapters.keras.initialize, "),
        ("named", "Import the adapter: initlib.adapters.torch.named"),
        ("kaiming_normal_", "To fill a tensor of PyTorch, write initlib.adapters.torch.kaiming_normal_(tensor)"),
        ("trunc_normal_", "To fill a tensor of PyTorch, write initlib.adapters.torch.trunc_normal_(tensor)"),
        ("HeNormal", "Write initlib.he_normal; the class of Keras is initlib.adapters.keras.HeNormal"),
        ("RandomNormal", "Write initlib.normal; the class of Keras is initlib.adapters.keras.RandomNormal"),
        ("eye", "Write initlib.identity"),
    ],
)
def test_a_name_of_an_adapter_or_another_library_is_an_error_that_says_where_it_is(name, advice):
    with pytest.raises(AttributeError, match=re.escape(f"module 'initlib' has no attribute {name!r}. {advice}")):
        getattr(initlib, name)


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
