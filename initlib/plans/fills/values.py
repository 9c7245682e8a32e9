"""Fills of a tensor other than initializers: `keep`, and exact values."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._public import public
from ...schemes._scaled import scaled
from ...schemes.initializer import Initializer
from ...stream.boxes import box_index
from ...stream.engine import DrawRequest
from ..text.describe import advice_for_name, advice_for_text
from .sums import Filling as Filling
from .sums import Term

FOREIGN = ("torch.nn.init", "initlib.adapters.", "jax._src.nn.", "jax.nn.", "keras.")  # modules of initializers
MODELS = ("torch.Module", "keras.Layer", "flax.Module", "equinox.Module")  # library and class
NOT_TRUNCATED = {  # initializers of PyTorch, whose names are truncated distributions elsewhere
    "kaiming_normal": 'variance_scaling(2.0, "fan_in", "normal")',
    "xavier_normal": 'variance_scaling(1.0, "fan_avg", "normal")',
}
LIMIT = 2**26  # bytes of `values`, which a plan holds in its text


Fill = Initializer | Filling
Rule = Fill | Callable[[Any], Fill]


class Keep(Filling):
    """A fill that leaves a tensor unchanged."""

    def __repr__(self) -> str:
        return "keep"

    def __reduce__(self) -> str:
        return "keep"  # a singleton: copies and pickles refer to it by its name


keep = Keep()


class Values(Term):
    """A fill of given values: an immutable object that compares and hashes by its values."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Values):
            return NotImplemented
        first, second = self.array, other.array
        same_form = first.dtype == second.dtype and first.shape == second.shape
        return same_form and first.tobytes() == second.tobytes()

    def __hash__(self) -> int:
        return hash((self.array.shape, self.array.tobytes()))

    def __repr__(self) -> str:
        return f"values({self.array.dtype.name}{list(self.array.shape)})"

    @property
    def dtype(self) -> str:
        """Return the name of the dtype of the values."""
        return str(self.array.dtype.name)

    def check(self, name: str, shape: tuple[int, ...], axes: str) -> None:
        """Raise ValueError unless the values have that shape."""
        if self.array.shape != shape:
            raise ValueError(f"values for {name!r} must have shape {shape}, got {self.array.shape}")

    def read(self, request: DrawRequest) -> NDArray[Any]:
        """Return the values in the box of a draw request."""
        return np.array(self.array[box_index(request.parts)])


@public("initlib")
def values(array: ArrayLike) -> Values:
    """Make a fill from an array of exact values, such as sinusoids, log(1 … n) or a mask.

    The values are copied. float16, float32 and float64 keep their dtype, and all other real numbers become float64.
    Values are rounded once, to the dtype of the tensor.

    Args:
        array: real numbers in the shape of the tensor, at most 64 MiB.

    Returns:
        A value for `rules=`.

    Raises:
        TypeError: the array does not hold real numbers.
        ValueError: the array holds NaN, or is too large.

    Example:
        >>> import numpy as np
        >>> values(np.log(np.arange(1, 17)))  # the state of one channel of Mamba's A_log
        values(float64[16])
    """
    given = _as_array(array)
    if given.dtype.kind not in "fiub" and given.dtype.name != "bfloat16":
        raise TypeError(f"values must be an array of real numbers, got dtype {given.dtype}")
    kept = np.array(given, given.dtype.name if given.dtype.name in ("float16", "float32") else "float64", order="C")
    if kept.nbytes > LIMIT:
        raise ValueError(f"values must take at most {LIMIT} bytes, got {kept.nbytes} for shape {kept.shape}")
    if np.isnan(kept).any():
        raise ValueError(f"values must not be NaN, got NaN in an array of shape {kept.shape}")
    kept.flags.writeable = False
    return Values(kept)


def _as_array(array: Any) -> NDArray[Any]:
    """Return an array, or the values of a tensor of PyTorch, as an array of NumPy. Raises TypeError, with advice."""
    tensor = array.detach() if callable(getattr(array, "detach", None)) else array
    try:
        return np.asarray(tensor)
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"values must be an array of real numbers, got {type(array).__name__}, which NumPy cannot read: {error}. "
            "For a tensor of PyTorch, pass tensor.float().cpu()"
        ) from error


def as_fill(value: Any, argument: str) -> Fill:
    """Return the argument as a fill. Raises TypeError, with advice."""
    if isinstance(value, (Initializer, Filling)):
        return value
    hint, shown = "", repr(value)
    if isinstance(value, np.ndarray) or (hasattr(value, "shape") and hasattr(value, "dtype")):
        hint, shown = ". Write values(array)", f"{type(value).__name__} of shape {tuple(value.shape)}"
    elif isinstance(value, (int, float)):
        hint = f". Write constant({value!r})"
    elif isinstance(value, (str, os.PathLike)):
        hint = advice_for_text(value)
    elif _is_model(value):
        hint, shown = ". Pass the model only as the first argument", f"the model or layer {type(value).__name__}"
    elif _makes_initializers(value):
        hint = f". Write {getattr(value, 'factory', value.__name__)}(...)"
    elif _is_foreign(value):
        name = getattr(value, "__name__", type(value).__name__).removesuffix("_")
        name = {"trunc_normal": "truncated_normal"}.get(name, name)
        if name in NOT_TRUNCATED and "torch" in value.__module__:
            hint = f". Write {NOT_TRUNCATED[name]}"
        else:
            hint = advice_for_name(name, "from initlib") or ". Write an initializer of initlib"
    allowed = "an initializer, keep, values(...), parts(...) or loaded(...)"
    raise TypeError(f"{argument} must be {allowed}, got {shown}{hint}")


def as_rule(value: Any, argument: str) -> Rule:
    """Return the argument as a rule's value: a fill, or a function of the `Parameter`. Raises TypeError."""
    if isinstance(value, (Initializer, type)) or any(of(value) for of in (_makes_initializers, _is_foreign, _is_model)):
        return as_fill(value, argument)
    if callable(value):
        return value
    return as_fill(value, argument)


def _is_model(value: Any) -> bool:
    """Return whether the value is a model or a layer of PyTorch, Keras, Flax or Equinox."""
    names = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in type(value).__mro__}
    return not names.isdisjoint(MODELS)


def _is_foreign(value: Any) -> bool:
    """Return whether the value is an initializer of PyTorch, JAX or Keras, or of an adapter."""
    modules = (getattr(value, "__module__", None) or "", type(value).__module__)
    return callable(value) and any(module.startswith(FOREIGN) for module in modules)


def _makes_initializers(value: Any) -> bool:
    """Return whether the value is a factory that was not called, and would be called with a `Parameter`."""
    return value is scaled or (isinstance(value, type) and issubclass(value, Initializer))
