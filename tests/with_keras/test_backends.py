"""Keras adapter on every backend, each in separate processes, because the import of Keras selects the backend."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("room", ["initializers", "models", "reports"])
@pytest.mark.parametrize("backend", ["jax", "tensorflow", "torch"])
def test_the_checks_pass_on(backend, room):
    for framework in ("keras", backend):
        if importlib.util.find_spec(framework) is None:
            pytest.skip(f"{framework} is not installed")
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # most of the time goes into compiling; JAX's own tests have all of them
        "CUDA_VISIBLE_DEVICES": "",
    }
    checks = sorted(map(str, (FOLDER / room).glob("*_checks.py")))  # one process for all: Keras takes seconds to load
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *checks]
    done = subprocess.run(command, env=environment, cwd=FOLDER.parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_schemes_of_the_library_are_registered():
    """A subclass of a scheme that a user writes is not registered, before or after the import of the adapter."""
    program = """
import initlib
import keras

class Mine(initlib.normal):
    pass

import initlib.adapters.keras
print(keras.saving.get_registered_name(Mine), keras.saving.get_registered_name(initlib.normal))
"""
    for framework in ("keras", "jax"):
        if importlib.util.find_spec(framework) is None:
            pytest.skip(f"{framework} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["Mine", "initlib>core.Normal"], done.stderr
