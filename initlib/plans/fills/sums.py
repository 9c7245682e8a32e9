"""Sums: fills that add old weights and noise, on the host."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...dtypes import DTYPES, numpy_dtype, odd_float32, rounded
from ...schemes.initializer import Initializer
from ...stream.boxes import box_index
from ...stream.engine import DrawRequest
from ...stream.numpy_engine import NUMPY


class Filling:
    """A fill that is no initializer."""


class Addend(Filling):
    """A fill that sums may hold: terms of known weights, and noise."""

    __array_ufunc__: None = None  # NumPy's numbers leave `number * loaded` to `__rmul__`
    terms: "tuple[Term, ...]"
    noise: Initializer | None = None
    is_linear = True  # the weights are the terms plus the noise

    def __add__(self, other: "Addend | Initializer") -> "Sum":
        if isinstance(other, Initializer):
            other = Sum((), other)
        if not isinstance(other, Addend) or not (self.is_linear and other.is_linear):
            return NotImplemented
        if self.noise is not None and other.noise is not None:
            raise ValueError(f"a sum must have at most one initializer, got {self.noise!r} and {other.noise!r}")
        return Sum(self.terms + other.terms, self.noise or other.noise)

    def __radd__(self, other: Initializer) -> "Sum":
        return self + other

    def check(self, name: str, shape: tuple[int, ...], axes: str) -> None:
        """Raise ValueError unless the fill fits a weight of that name, shape and axes."""
        for term in self.terms:
            term.check(name, shape, axes)

    def worded(self, terms: Sequence[str], noise: str) -> str:
        """Return the fill in words, from the words of its terms and of its noise ("" without noise)."""
        return " + ".join([*terms, noise] if noise else terms)

    @property
    def quiet(self) -> "Sum":
        """Return the sum of the terms, without the noise."""
        return Sum(self.terms)

    def draw(self, request: DrawRequest, full_noise: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the box of a draw request, in the dtype of the request.

        The terms are added in order, then the noise, in float32 (float64 if a term or the request is float64). The sum
        is rounded once. `full_noise` is what `draw_noise` returns for the full weight.
        """
        first, *others = self.terms
        if not others and self.noise is None and first.scale == 1 and first.dtype == request.dtype:
            return first.read(request)
        wide = self._wide(request.dtype)
        with np.errstate(invalid="ignore", over="ignore"):  # of NaN in old weights; overflow is an error below
            total = first.scaled(request, wide)
            for term in others:
                total += term.scaled(request, wide)
            if self.noise is not None:
                total += self.draw_noise(request) if full_noise is None else full_noise[box_index(request.parts)]
        if not np.isfinite(total).all():
            is_old_finite = np.all([np.isfinite(term.read(request).astype(wide)) for term in self.terms], axis=0)
            if (is_old_finite & ~np.isfinite(total)).any():
                raise ValueError(f"scale and terms must give weights in the range of {wide}, got overflow by {self!r}")
        return round_wide(total, request.dtype)

    def draw_noise(self, request: DrawRequest) -> NDArray[Any]:
        """Return the noise in the box of a draw request, in the dtype of the addition."""
        assert self.noise is not None
        wide = self._wide(request.dtype)
        out = np.empty(request.out_shape, wide)
        self.noise.fill(out, request._replace(dtype=wide), NUMPY)
        return out

    def _wide(self, dtype: str) -> str:
        """Return the dtype of the addition, for weights of a dtype."""
        dtypes = (dtype, *(term.dtype for term in self.terms))
        is_double = any(DTYPES[each].wide in ("float64", "complex128") for each in dtypes)
        if DTYPES[dtype].part:
            return "complex128" if is_double else "complex64"
        return "float64" if is_double else "float32"


class Term(Addend):
    """A fill of known weights, times a factor."""

    scale: float = 1.0

    @property
    def terms(self) -> "tuple[Term, ...]":  # type: ignore[override]
        """Return the term itself."""
        return (self,)

    @property
    def dtype(self) -> str:
        """Return the name of the dtype of the known weights."""
        raise NotImplementedError

    def check_unchanged(self) -> None:
        """Raise ValueError if the known weights cannot be read now: a file has changed or was not opened."""

    @property
    def is_complex(self) -> bool:
        """Return whether the known weights are complex numbers."""
        return False

    def check(self, name: str, shape: tuple[int, ...], axes: str) -> None:
        """Raise ValueError unless the term fits a weight of that name, shape and axes."""
        raise NotImplementedError

    def read(self, request: DrawRequest) -> NDArray[Any]:
        """Return the known weights in the box of a draw request, in their dtype and without the factor."""
        raise NotImplementedError

    def scaled(self, request: DrawRequest, dtype: str) -> NDArray[Any]:
        """Return new memory with the weights in the box of a draw request, times the factor, in a wide dtype."""
        weights = self.read(request).astype(dtype)
        if self.scale != 1:
            weights *= weights.dtype.type(self.scale)
        return weights


@dataclass(frozen=True, repr=False)
class Sum(Addend):
    """Terms of known weights, and noise."""

    terms: tuple[Term, ...]
    noise: Initializer | None = None

    def __mul__(self, factor: float) -> NoReturn:
        factored = " + ".join(f"{each!r} * {factor!r}" for each in (*self.terms, self.noise) if each is not None)
        raise TypeError(f"factor must multiply each addend, got a factor of a sum. Write {factored}")

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return self.worded([*map(repr, self.terms)], "" if self.noise is None else repr(self.noise))


def round_wide(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return values of a wide dtype in another dtype, rounded once. ml_dtypes would round float64 to float32 first."""
    rounds_twice = values.dtype == np.float64 and numpy_dtype(dtype).isbuiltin != 1
    return rounded(odd_float32(values) if rounds_twice else values, dtype)
