import os
import subprocess
import sys

import pytest

import initlib
from initlib.stream import config


def run(program, **environ):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **environ}, check=False
    )


def test_show_config_prints_the_code_that_draws(capsys, monkeypatch):
    initlib.show_config()
    out = capsys.readouterr().out
    assert f"initlib {initlib.__version__}" in out
    assert f"threads: {initlib.get_num_threads()}" in out
    if config.kernel is not None:
        assert f"draws: kernel, {config.kernel.paths()[config.path]}" in out
    monkeypatch.setattr(config, "kernel", None)
    monkeypatch.setattr(config, "_compiled", None)
    monkeypatch.setattr(config, "_obstacle", config.NOT_COMPILED)
    initlib.show_config()
    assert "draws: reference in NumPy (the kernel was not compiled)" in capsys.readouterr().out


def test_the_kernel_can_be_turned_off():
    shown = run("import initlib; initlib.show_config()", INITLIB_KERNEL="0")
    assert "draws: reference in NumPy" in shown.stdout


def test_a_kernel_of_another_version_is_not_called():
    # A `git pull` in an editable install leaves the old kernel in its place.
    program = """
import sys, types
sys.modules["initlib.stream._kernel"] = types.ModuleType("initlib.stream._kernel")  # without the functions of today
import initlib
initlib.show_config()
print(initlib.he_normal((2, 2), seed=0).tolist())
"""
    shown = run(program)
    assert "slower reference code draws weights, because the compiled kernel is of another version" in shown.stderr
    assert "Compile the kernel again: pip install -e ." in shown.stderr
    assert "draws: reference in NumPy (the compiled kernel is of another version of initlib)" in shown.stdout
    assert shown.stdout.splitlines()[-1] == str(initlib.he_normal((2, 2), seed=0).tolist())
    assert run(program, INITLIB_KERNEL="0").stderr == ""


@pytest.mark.skipif(config.kernel is None, reason="the kernel was not compiled")
def test_the_compiled_kernel_has_the_number_of_its_interface():
    assert config.kernel.INTERFACE == config.INTERFACE


@pytest.mark.parametrize("path", config.kernel.paths() if config.kernel is not None else ())
def test_every_path_can_be_forced_and_gives_the_same_bits(path):
    program = """
import hashlib, initlib
initlib.show_config()
digest = hashlib.sha256()
initializers = initlib.he_normal, initlib.glorot_uniform, initlib.normal(0.5, 2.0), initlib.truncated_normal(low=0)
for initializer in initializers:
    for dtype in ("float32", "float64", "float16", "bfloat16"):
        for axes in ("IO", "OI", "(7 O)I"):
            for index in (None, (slice(3, None, 2), slice(None, None, -1))):
                digest.update(initializer((217, 93), dtype, seed=5, axes=axes, index=index).tobytes())
print(digest.hexdigest())
"""
    forced = run(program, INITLIB_KERNEL=path).stdout.splitlines()
    assert forced[1] == f"draws: kernel, {path}"
    reference = run(program, INITLIB_KERNEL="0").stdout.splitlines()
    assert forced[-1] == reference[-1]


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"INITLIB_KERNEL": "mmx"}, "INITLIB_KERNEL must be one of 0"),
        ({"INITLIB_NUM_THREADS": "0"}, "INITLIB_NUM_THREADS must be an int of at least 1, got '0'"),
        ({"INITLIB_NUM_THREADS": "two"}, "INITLIB_NUM_THREADS must be an int of at least 1, got 'two'"),
    ],
)
def test_a_wrong_environment_variable_is_an_error(environ, message):
    failed = run("import initlib", **environ)
    assert failed.returncode != 0
    assert message in failed.stderr


def test_the_number_of_threads_comes_from_the_environment_or_the_cpus():
    shown = run("import initlib; print(initlib.get_num_threads())", INITLIB_NUM_THREADS="3")
    assert shown.stdout == "3\n"
    if hasattr(os, "sched_getaffinity"):
        shown = run("import initlib; print(initlib.get_num_threads())", INITLIB_NUM_THREADS="")
        assert shown.stdout == f"{len(os.sched_getaffinity(0))}\n"
