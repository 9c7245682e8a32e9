"""Every engine, as a function that draws a whole weight and gives it as NumPy's array: the adapters' own ones."""

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


def whole_reference(initializer, shape, dtype, axes, seed):
    """The reference in one piece, which the array libraries without a kernel use."""
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
    """NumPy's array of a PyTorch tensor."""
    import torch

    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(numpy_dtype("bfloat16"))
    return tensor.numpy()


ENGINES = (kernel, reference, whole_reference, jax, torch, triton)
