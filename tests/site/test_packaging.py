"""Installed package: its files, also without a compiler."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FRAMEWORKS = ("torch", "keras", "jax")


@pytest.fixture(scope="module")
def without_compiler(tmp_path_factory):
    """Return a folder with the package, installed without a working C compiler."""
    folder = tmp_path_factory.mktemp("install")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("initlib", "adapters"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    environ = {**os.environ, "CC": "no-such-compiler", "CXX": "no-such-compiler"}
    subprocess.run([*command, "--target", str(folder / "site"), str(source)], env=environ, check=True)
    return folder / "site"


# An editable install of the same package finds its own kernel for any other copy: put its finder out of the way.
ALONE = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if not finder.__module__.startswith("__editable__")]
"""


def run(site, program):
    environ = {**os.environ, "PYTHONPATH": str(site)}
    environ.pop("INITLIB_KERNEL", None)
    ran = subprocess.run(
        [sys.executable, "-c", ALONE + program], env=environ, cwd=site, capture_output=True, text=True, check=True
    )
    return ran.stdout


def python_files(folder):
    """Return the paths of the Python files in a folder, relative to the folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}


@pytest.mark.skipif(sys.platform == "win32", reason="the compiler of Windows is not found by CC")
def test_without_a_compiler_the_reference_draws(without_compiler):
    assert not list(without_compiler.rglob("_kernel*.so"))
    shown = run(without_compiler, "import initlib; initlib.show_config(); print(initlib.__file__)")
    assert "draws: reference in NumPy (the kernel was not compiled)" in shown
    assert str(without_compiler) in shown
    program = "import hashlib, initlib; print(hashlib.sha256(initlib.he_normal((99, 7), seed=1).tobytes()).hexdigest())"
    assert run(without_compiler, program) == run(ROOT, program)


def test_the_package_has_all_files(without_compiler):
    for name in ("py.typed", "stream/_kernel.pyi", "adapters/__init__.py", "__main__.py"):
        assert (without_compiler / "initlib" / name).is_file()
    for package, source in (("initlib/adapters", "adapters"), ("initlib", "initlib")):
        installed = python_files(without_compiler / package)
        assert {name for name in installed if package != "initlib" or not name.startswith("adapters/")} == python_files(
            ROOT / source
        )
    assert not (ROOT / "initlib" / "adapters").exists()  # it would hide the package


def test_the_versions_of_the_tools_are_pinned_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    for tool in ("ruff", "mypy"):
        (pinned,) = [entry for entry in project["optional-dependencies"]["test"] if entry.startswith(f"{tool}==")]
        assert f'"{pinned}"' in hooks


def test_only_a_tag_publishes_and_only_after_all_other_jobs():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    jobs = re.findall(r"^  (\w+):", workflow[workflow.index("\njobs:") :], re.MULTILINE)
    publish = workflow[workflow.index("\n  publish:") :]
    (needed,) = re.findall(r"needs: \[(.*)\]", publish)
    assert jobs == [*needed.split(", "), "publish"]
    assert "if: github.event_name == 'push' && startsWith(github.ref, 'refs/tags/v')" in publish
    assert "id-token: write" in publish
    assert "secrets." not in workflow


def test_the_frameworks_are_tested_at_the_oldest_versions_promised():
    """`.ci/floors` installs the other promised versions."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pinned = dict(entry.split(";")[0].split("==") for entry in extras["test"] if "==" in entry)
    for name, floor in (entry.split(">=") for extra in FRAMEWORKS for entry in extras[extra]):
        if name != "ml_dtypes":
            assert f"{pinned[name]}.".startswith(f"{floor}."), name


@pytest.mark.parametrize("free_threaded", [False, True])
def test_the_stable_abi_is_requested_only_where_it_exists(free_threaded, monkeypatch):
    """setuptools refuses it for a free-threaded Python, which could then not install the package."""
    given, asked = {}, sysconfig.get_config_var
    monkeypatch.setattr("setuptools.setup", lambda **arguments: given.update(arguments))
    monkeypatch.setattr(
        sysconfig, "get_config_var", lambda name: int(free_threaded) if name == "Py_GIL_DISABLED" else asked(name)
    )
    runpy.run_path(str(ROOT / "setup.py"))
    (kernel,) = given["ext_modules"]
    stable = [kernel.py_limited_api, bool(kernel.define_macros), bool(given["options"])]
    assert stable == [not free_threaded] * 3
