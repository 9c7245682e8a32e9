"""An initializer of the core as JAX calls one."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.nn.initializers import Initializer

import initlib
from initlib import Key
from initlib._arguments import checked_shape
from initlib._public import public
from initlib.axes import parse
from initlib.dtypes import DTYPES
from initlib.key import as_key

from .axes import Delta, Kernel, Matrix
from .draw import draw
from .keys import words_of


@public("initlib.adapters.jax")
@dataclass(frozen=True, eq=False)
class JaxInitializer:
    """A core initializer as JAX calls one, with a key: what the functions of this module make.

    >>> import jax
    >>> from initlib.adapters.jax import he_normal
    >>> init = he_normal(axes="OI", name="conv1")
    >>> jax.jit(init, static_argnums=(1, 2))(jax.random.key(0), (128, 784), "bfloat16").dtype
    dtype(bfloat16)

    `axes` says what the axes mean; `dtype` is the dtype where a call gives none. With a `seed` (an int or a
    `Key`) the key of a call is not looked at; with a `name` the stream is the one of that name inside the key: so each
    parameter of a model has weights of its own, the same as in every other framework. Equal ones are equal and hash
    alike, so that a model that holds one is compiled once; one with a traced number or an array in it is equal to
    itself alone. Shapes are ints: a symbolic shape of `jax.export` is refused, since no position of it has a number.

    A seed in a layer that a transform repeats (`nn.scan`, `nnx.vmap`, `jax.vmap`) would make all layers equal. Under
    `vmap`, where it can be seen, that is a ValueError; under `scan`, where a layer looks like one alone, it is not.
    Leave the seed out there, or fill the model by `initialize` with `stack=`: each layer has its own stream, by name.
    """

    core: initlib.Initializer
    axes: str | Kernel | Matrix | Delta | None = None
    dtype: Any = None
    seed: Key | None = None
    name: str | None = None
    factor: Any = None  # what multiplies the weights where no number known beforehand does
    theirs: Initializer | None = None  # what draws with the key where no law can be made beforehand: JAX's own

    @property
    def __name__(self) -> str:
        """The public name of what draws, as a function has one."""
        return self.core.factory

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JaxInitializer) or self._is_alone or other._is_alone:
            return self is other
        return self._values == other._values

    def __hash__(self) -> int:
        return id(self) if self._is_alone else hash(self._values)

    @property
    def _is_alone(self) -> bool:
        """Whether it holds what cannot be compared, or not before it is traced."""
        return self.theirs is not None or not isinstance(self.factor, (float, NoneType))

    @property
    def _values(self) -> tuple[Any, ...]:
        return self.core, self.axes, self.dtype, self.seed, self.name, self.factor

    def __call__(self, key: Any, shape: Sequence[int], dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        """Draw the weight of that shape under a key, on the devices of `out_sharding` where that is given."""
        sizes = checked_shape(shape)
        wanted = _dtype_name(self.dtype if dtype is None else dtype, self.core.factory)
        axes = self.axes if self.axes is None or isinstance(self.axes, str) else self.axes.of(sizes)
        if self.seed is None:
            words = words_of(key, self.name, self.core.factory)
        else:
            if isinstance(key, jax.core.Tracer):
                _one_layer(key)
            words = np.array(as_key(self.seed, self.name).words, np.uint32)
        if self.theirs is not None:
            return self.theirs(jax.random.wrap_key_data(words, impl="threefry2x32"), sizes, wanted, out_sharding)
        drawn = wanted if wanted in DTYPES else "float32"
        weight = draw(self.core, words, sizes, drawn, axes, out_sharding)
        if self.factor is not None:
            weight = weight * jnp.asarray(self.factor, drawn)
        result: jax.Array = weight if drawn == wanted else weight.astype(wanted)
        return result


@custom_vmap
def _one_layer(key: Any) -> Any:
    """The key, which must not be one of many."""
    return key


@_one_layer.def_vmap
def _many_layers(size: int, batched: list[bool], key: Any) -> Any:
    raise ValueError(
        f"an initializer with a seed would make the {size} layers of this vmap equal; leave seed= out, as their keys "
        "differ, or fill the model by initialize(..., stack=...)"
    )


def _dtype_name(dtype: Any, caller: str) -> str:
    """The name of the dtype that JAX makes of the one asked for, with its own warning where that is another."""
    if dtype is None:
        return str(jax.dtypes.canonicalize_dtype(float).name)
    name = str(jnp.dtype(dtype).name)
    if name not in ("float32", "bfloat16", "float16"):
        name = str(jnp.zeros((), dtype).dtype.name)
        if not jnp.issubdtype(name, jnp.inexact):
            raise ValueError(f"dtype argument to `{caller}` must be a float or complex dtype, got {name}")
    return name


def jax_initializer(
    core: initlib.Initializer,
    roles: Kernel | Matrix | Delta | None,
    axes: str | None,
    dtype: Any,
    seed: Any,
    name: str | None,
    factor: Any = None,
    theirs: Initializer | None = None,
) -> JaxInitializer:
    """The initializer of checked arguments; a `seed` is what `Key` or an int can be."""
    if axes is not None:
        parse(axes)
        if roles not in (None, Kernel(-2, -1, ()), Matrix(-1), Delta()):
            raise ValueError(f"axes {axes!r} says what the axes mean, and so does {roles}: give one of them")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}")
    key = None if seed is None else as_key(seed)
    return JaxInitializer(core, roles if axes is None else axes, dtype, key, name, factor, theirs)
