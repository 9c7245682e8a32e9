"""Every engine of the stream, as a function that draws a whole weight and gives its bytes' array."""

import math

import numpy as np
import pytest

from initlib import config
from initlib.axes import numbering
from initlib.draws import stream
from initlib.draws.stream import int32
from initlib.dtypes import numpy_dtype


def terms(shape, axes, index):
    """The terms of `stream.locate`: `index(axis)` is the index along a stored axis, shaped to broadcast."""
    return [
        (index(axis) // factor.step % factor.size, factor.stride)
        for axis, factors in enumerate(numbering(shape, axes))
        for factor in factors
    ]


def kernel(initializer, shape, dtype, axes, seed):
    if config.kernel is None:
        pytest.skip("the kernel was not compiled")
    return initializer(shape, dtype, axes=axes, seed=seed)


def reference(initializer, shape, dtype, axes, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "kernel", None)
        return initializer(shape, dtype, axes=axes, seed=seed)


def numpy_stream(initializer, shape, dtype, axes, seed):
    """The stream's own numbering, which the other array libraries use."""
    zero = np.zeros(1, np.int32)

    def index(axis):
        return np.arange(shape[axis], dtype=np.int32).reshape([-1 if k == axis else 1 for k in range(len(shape))])

    high, low = stream.locate(terms(shape, axes, index), math.prod(shape), zero, stream.NumPyOps())
    key = (zero + int32(seed >> 32), zero + int32(seed))
    law = initializer.law(shape, axes, dtype)
    return np.broadcast_to(stream.weights(law, key, high, low, stream.NumPyOps()), shape or (1,)).reshape(shape)


def jax_stream(initializer, shape, dtype, axes, seed):
    jax = pytest.importorskip("jax")
    jnp = jax.numpy

    class Ops:
        def cast(self, x, dtype):
            return x.astype(dtype)

        def bits(self, x):
            return jax.lax.bitcast_convert_type(x, "int32")

        def shift_right(self, x, count):
            return jax.lax.shift_right_logical(x, np.int32(count))

        def take(self, column, rows):
            return jnp.asarray(stream.COLUMNS[column])[rows]

    law = initializer.law(shape, axes, dtype)

    @jax.jit
    def draw(high, low):
        zero = jnp.zeros(shape, "int32")
        where = terms(shape, axes, lambda axis: jax.lax.broadcasted_iota("int32", shape, axis))
        return stream.weights(law, (high, low), *stream.locate(where, math.prod(shape), zero, Ops()), Ops())

    with jax.enable_x64(True):
        return np.asarray(draw(jnp.int32(int32(seed >> 32)), jnp.int32(int32(seed))))


def torch_stream(initializer, shape, dtype, axes, seed):
    torch = pytest.importorskip("torch")

    class Ops:
        def cast(self, x, dtype):
            return x.to(getattr(torch, dtype))

        def bits(self, x):
            return x.view(torch.int32)

        def shift_right(self, x, count):
            return (x >> count) & ((1 << (32 - count)) - 1)

        def take(self, column, rows):
            return torch.from_numpy(stream.COLUMNS)[column][rows]

    def index(axis):
        return torch.arange(shape[axis], dtype=torch.int32).reshape([-1 if k == axis else 1 for k in range(len(shape))])

    zero = torch.zeros(shape, dtype=torch.int32)
    key = [torch.tensor(int32(word), dtype=torch.int32) for word in (seed >> 32, seed)]
    high, low = stream.locate(terms(shape, axes, index), math.prod(shape), zero, Ops())
    weight = stream.weights(initializer.law(shape, axes, dtype), key, high, low, Ops())
    if dtype == "bfloat16":
        return weight.view(torch.uint16).numpy().view(numpy_dtype(dtype))
    return weight.numpy()


ENGINES = (kernel, reference, numpy_stream, jax_stream, torch_stream)
