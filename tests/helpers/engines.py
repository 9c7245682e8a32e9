"""Every engine, as a function that draws a full weight and returns a NumPy array; a new engine is added here."""

import numpy as np
import pytest

from initlib import Key
from initlib.dtypes import numpy_dtype
from initlib.stream import config
from initlib.stream.engine import DrawRequest
from initlib.stream.numpy_engine import NUMPY


def kernel(initializer, shape, dtype, axes, seed):
    if config.kernel is None:
        pytest.skip("the kernel was not compiled")
    return initializer(shape, dtype, axes=axes, seed=seed)


def reference(initializer, shape, dtype, axes, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "kernel", None)
        return initializer(shape, dtype, axes=axes, seed=seed)


def full_reference(initializer, shape, dtype, axes, seed):
    """Draw by the reference in one piece, as array libraries without a kernel do."""
    return NUMPY.reference(initializer.law(shape, axes, dtype), DrawRequest(shape, axes, dtype, Key(seed)))


def jax(initializer, shape, dtype, axes, seed):
    jax = pytest.importorskip("jax")
    from initlib.adapters.jax.drawing.engine import JAX

    def draw(words):
        return initializer.weights(DrawRequest(shape, axes, dtype, words), JAX)

    with jax.enable_x64(True):
        return np.asarray(jax.jit(draw)(np.array(Key(seed).words, np.uint32)))


def torch(initializer, shape, dtype, axes, seed):
    torch = pytest.importorskip("torch")
    from initlib.adapters.torch.drawing.devices import engine_of

    return array(initializer.weights(DrawRequest(shape, axes, dtype, Key(seed)), engine_of(torch.device("cpu"))))


def triton(initializer, shape, dtype, axes, seed):
    torch = pytest.importorskip("torch")
    pytest.importorskip("triton")
    from triton_interpreter import fill

    return array(fill(torch.empty(shape, dtype=getattr(torch, dtype)), initializer, shape, axes, seed))


def array(tensor):
    """Return a PyTorch tensor as a NumPy array."""
    import torch

    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(numpy_dtype("bfloat16"))
    return tensor.numpy()


ENGINES = (kernel, reference, full_reference, jax, torch, triton)
