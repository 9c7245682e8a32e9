"""Draws of the core for Keras's initializers, on every backend."""

# mypy: disable-error-code="import-untyped, misc"
# Keras and TensorFlow come without types, so their classes are Any.

from inspect import Parameter, Signature, signature
from string import ascii_uppercase
from typing import Any, cast

import keras
import numpy as np
from numpy.typing import NDArray

import initlib
from initlib._arguments import checked_shape
from initlib.axes import check, match
from initlib.dtypes import dtype_name
from initlib.key import Key, as_key

BACKEND = keras.backend.backend()

if BACKEND == "jax":
    import jax
    import jax.numpy as jnp

    from ...jax.drawing.draw import draw as draw_in_jax
    from ...jax.drawing.engine import JAX, enciphered
elif BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "torch":
    import torch

    from ...torch.drawing.dispatch import outside
    from ...torch.drawing.memory import read_array


class InitlibMixin(keras.initializers.Initializer):
    """A base of the adapter's initializers, before Keras's: two more arguments, and a call that draws as the core."""

    axes: str | None = None  # pickles of older versions lack the attribute
    name: str | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        maker = next(base for base in cls.__mro__ if "__init__" in vars(base) and base is not InitlibMixin)
        _, *parameters = signature(maker.__init__).parameters.values()
        if not issubclass(maker, InitlibMixin):  # show Keras's own arguments, then the new ones
            parameters += [Parameter(key, Parameter.KEYWORD_ONLY, default=None) for key in ("axes", "name")]
        cls.__signature__ = Signature(parameters)

    def __init__(self, *args: Any, axes: str | None = None, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.axes, self.name = axes, name
        # These raise now, not at the first draw.
        check(axes)
        _key(self.seed if isinstance(self.seed, int) else 0, name)
        _ = self.core

    @property
    def core(self) -> initlib.Initializer:
        """Return the initializer of `initlib` that draws, for `core.std(shape)` and `core.bounds(shape)`."""
        raise NotImplementedError

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """Draw a weight of the given shape.

        Args:
            shape: the sizes of the axes.
            dtype: a float dtype, by name; None is `keras.config.floatx()`.

        Returns:
            A tensor of Keras's backend.
        """
        shape, dtype = checked_shape(shape), keras.backend.standardize_dtype(dtype)
        return drawn_tensor(self.core, shape, dtype, self._axes(len(shape)), self.seed, self.name)

    def _axes(self, ndim: int) -> str | None:
        """Return the axes of a weight: `axes`, or Keras's lists of input and output axes as letters."""
        inputs, outputs = getattr(self, "input_axes", None), getattr(self, "output_axes", None)
        if self.axes is not None or inputs is None or outputs is None:
            return self.axes
        is_input, is_output = ([False] * ndim for _ in range(2))
        for marks, axes, argument in ((is_input, inputs, "input_axes"), (is_output, outputs, "output_axes")):
            for axis in axes:
                if not -ndim <= axis < ndim:
                    raise ValueError(f"{argument} must name axes of a weight of {ndim} axes, got {list(axes)}")
                marks[axis] = True
        in_both = iter(sorted(set(ascii_uppercase) - set("IOB")))
        letters = {(True, False): "I", (False, True): "O", (False, False): "B"}
        return "".join(letters.get(marks) or next(in_both) for marks in zip(is_input, is_output, strict=True))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the initializer as a dictionary that JSON can store.

        `axes` and `name` are omitted if None. A saved model without `axes` and `name` can be loaded without initlib.
        Keras then uses its own initializers.
        """
        return {**super().get_config(), **self._given()}

    def _given(self) -> dict[str, Any]:
        """Return `axes` and `name` where they are not None."""
        return {key: value for key, value in (("axes", self.axes), ("name", self.name)) if value is not None}


def drawn_tensor(
    core: initlib.Initializer, shape: tuple[int, ...], dtype: str, axes: str | None, seed: Any, name: str | None
) -> Any:
    """Draw a weight as a tensor of the backend, under an int or a `SeedGenerator`, which advances."""
    if BACKEND == "torch" and torch.compiler.is_compiling():
        return outside(drawn_tensor, core, shape, dtype, axes, seed, name)
    if not isinstance(seed, int):  # these raise before the generator advances
        match(shape, axes)
        dtype_name(dtype)
    if BACKEND == "jax":
        return draw_in_jax(core, _jax_key(seed, name), shape, dtype, axes)

    def weight(key: Key) -> Any:
        return core(shape, dtype, axes=axes, seed=key)

    if isinstance(seed, int):
        return as_tensor(weight(_key(seed, name)), dtype)
    state = seed.next()
    if BACKEND == "tensorflow" and not tf.executing_eagerly():
        # The state is known when the graph runs: the weight is drawn then, and each time.
        drawn = tf.numpy_function(lambda state: weight(_key_of_state(state, name)), [state], dtype)
        return tf.ensure_shape(drawn, shape)
    return as_tensor(weight(_key_of_state(state, name)), dtype)


def _key(seed: int, name: str | None) -> Key:
    """Return the key of a seed, which in Keras may be any int, such as a hash: it counts modulo 2**64."""
    return as_key(seed % 2**64, name)


def _key_of_state(state: Any, name: str | None) -> Key:
    """Return the key of a `SeedGenerator`'s state (its seed and the number of its calls), in any backend's dtype."""
    # Read at once: to take a number from a tensor of TensorFlow takes longer than the draw of a small weight.
    seed, count = (number % 2**64 for number in (state if BACKEND == "torch" else np.asarray(state)).tolist())
    return as_key(Key(seed).fold_in(count), name)


def _jax_key(seed: Any, name: str | None) -> Any:
    """Return the key, for JAX; its two words, traced, if the state of a `SeedGenerator` is traced."""
    if isinstance(seed, int):
        return _key(seed, name)
    with jax.ensure_compile_time_eval():  # a known state stays known while another function is traced
        state = seed.next()
    if not isinstance(state, jax.core.Tracer):
        return _key_of_state(state, name)
    seed_words, count_words = jnp.stack([jnp.zeros_like(state), state], axis=1)
    words = enciphered(seed_words, count_words)
    return words if name is None else JAX.fold_in(words, name)


def as_tensor(array: Any, dtype: str) -> Any:
    """Return the backend's tensor of an array that has no other user."""
    if BACKEND == "torch":  # which lacks NumPy's bfloat16, and takes over the memory
        bits = array.view(np.uint16) if dtype == "bfloat16" else array
        array = torch.from_numpy(bits).view(getattr(torch, dtype))
    return keras.ops.convert_to_tensor(array, dtype)


def as_array(tensor: Any) -> NDArray[Any]:
    """Return the values of a tensor of the backend, in its dtype."""
    array = read_array(tensor.detach()) if BACKEND == "torch" else np.asarray(keras.ops.convert_to_numpy(tensor))
    return cast("NDArray[Any]", array)
