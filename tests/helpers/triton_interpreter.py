"""Triton kernel in Triton's interpreter, on CPU tensors."""

import importlib.util

import pytest

import initlib.adapters.torch
from initlib import Key
from initlib.adapters.torch.drawing import triton_engine
from initlib.adapters.torch.drawing.triton_engine import TritonEngine
from initlib.stream.boxes import normalize_index
from initlib.stream.engine import DrawRequest

SOURCE = f"{initlib.adapters.torch.__path__[0]}/drawing/triton_kernel.py"


def interpreted(path=SOURCE):
    """Return the kernel's module from a source. Triton reads the environment when a kernel is defined."""
    spec = importlib.util.spec_from_file_location("interpreted_kernel", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        spec.loader.exec_module(module)
    module.BLOCK = 4096  # the interpreter takes a program at a time
    return module


INTERPRETED = interpreted()


def fill(tensor, initializer, shape, axes, seed, index=(), kernel=INTERPRETED):
    """Fill a CPU tensor with a box of a weight by the kernel."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    weight = DrawRequest(shape, axes, dtype, Key(seed), normalize_index(index, shape))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triton_engine, "_kernel", lambda: kernel)
        initializer.fill(tensor, weight, TritonEngine(tensor.device))
    return tensor
