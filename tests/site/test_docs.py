"""Examples in docstrings and documents: they run and print the text that is shown."""

import doctest
import importlib
import importlib.util
import inspect
import pickle
import pkgutil
import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest

with suppress(ImportError):  # without PyTorch
    import torchvision_names  # noqa: F401 - transformers imports torchvision, whose operators a CPU build of PyTorch lacks

import initlib
import initlib.adapters

ROOT = Path(__file__).parents[2]
FRAMEWORKS = ("torch", "jax", "keras")
OPTIONAL = {*FRAMEWORKS, "flax", "matplotlib", "optax", "safetensors", "sklearn", "tensorflow", "timm", "transformers"}
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks" / "EXPERIMENTS.md"]
# Keras converts variables of TensorFlow in a way that NumPy deprecates.
KERAS_CONVERTS = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)
MODULES = sorted(
    module.name
    for package in (initlib, initlib.adapters)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".", onerror=lambda name: None)
    if not module.name.endswith(("__main__", "_kernel"))
)


def not_here(text, lines=r"(?:>>> )?"):
    """Return the packages that examples import and that are not installed."""
    imported = re.findall(rf"^{lines}(?:import|from) (?:initlib\.adapters\.)?(\w+)", text, re.MULTILINE)
    return {name for name in OPTIONAL.intersection(imported) if importlib.util.find_spec(name) is None}


@KERAS_CONVERTS
@pytest.mark.parametrize("name", ["initlib", *MODULES])
def test_examples_in_docstrings_run(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if name.startswith("initlib.adapters.") or error.name not in ("initlib", name):
            pytest.skip(f"{name} needs {error.name}")
        raise
    if absent := not_here(inspect.getsource(module), " +>>> "):
        pytest.skip(f"the examples need {', '.join(sorted(absent))}")
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert all(hasattr(module, public) for public in getattr(module, "__all__", ()))  # doctest finds only loaded names
    # Public names state their package, and the framework's own module may be unknown.
    known = {"initlib": initlib} | {key: sys.modules[key] for key in FRAMEWORKS if name == f"initlib.adapters.{key}"}
    assert doctest.testmod(module, optionflags=flags, extraglobs=known).failed == 0


def examples_of_methods(member):
    """Yield the docstring examples of the methods that a class defines itself, with the names of their module."""
    for name, method in vars(member).items():
        function = getattr(method, "__func__", getattr(method, "fget", method))
        if inspect.isfunction(function) and ">>>" in (text := inspect.getdoc(function) or ""):
            names = {**function.__globals__, "initlib": initlib}
            yield doctest.DocTestParser().get_doctest(text, names, f"{member.__name__}.{name}", None, 0)


def test_examples_of_public_methods_run():
    # `doctest.testmod` skips these methods: their class states the package, and they state their file.
    examples = [
        example
        for member in (getattr(initlib, name) for name in initlib.__all__)
        if inspect.isclass(member)
        for example in examples_of_methods(member)
    ]
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert [example.name for example in examples if runner.run(example).failed] == []
    assert "Plan.to_json" in [example.name for example in examples]


def test_public_names_state_their_package():
    for package in (initlib, *(pytest.importorskip(f"initlib.adapters.{name}") for name in FRAMEWORKS)):
        for name in package.__all__:
            member = getattr(package, name)
            if inspect.isfunction(member) or inspect.isclass(member):
                assert not member.__module__.startswith(f"{package.__name__}."), name
    assert pickle.dumps(initlib.normal(), protocol=0).startswith(b"ccopy_reg\n_reconstructor\np0\n(cinitlib\nnormal")


@KERAS_CONVERTS
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_in_documents_run(path):
    """The ```python blocks of a document run in one session. Output after `>>>` lines is compared."""
    blocks = re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
    assert blocks or path.name != "README.md"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    missing = set()
    for number, block in enumerate(blocks):
        if absent := not_here(block):
            missing |= absent
        elif ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, {}, f"{path.name}[{number}]", path.name, 0)
            assert runner.run(test).failed == 0
        else:
            exec(compile(block, f"{path.name}[{number}]", "exec"), {})
    if missing:
        pytest.skip(f"the other blocks pass; some need {', '.join(sorted(missing))}")


def test_the_tests_above_can_fail():
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", "wrong", 0)
    assert doctest.DocTestRunner(verbose=False).run(wrong, out=lambda text: None).failed == 1
