"""New weights among old ones: normal weights with the mean and the spread of old weights."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._arguments import integer, real
from ...schemes._uniform import uniform
from ...stream.boxes import Part, Pieces, box_index, full_box, normalize_index
from ...stream.engine import DrawRequest
from .loaded import Loaded
from .sums import Sum, round_wide

LARGE = 2**20  # old weights that are read at a time
BLOCK = 256  # rows of one matrix product; another number would change how sums are rounded
WIDE = "float64"


class NewWeights(Sum):
    """A fill with normal weights, with the mean and the spread of old weights."""

    is_linear = False

    @property
    def scale(self) -> float:
        """Return the greatest std of the new weights."""
        raise NotImplementedError

    @property
    def old(self) -> Loaded:
        """Return the old weights."""
        (old,) = self.terms
        assert isinstance(old, Loaded)
        return old

    def _check_real(self) -> None:
        """Raise ValueError for complex old weights: the new weights are drawn with real statistics."""
        if self.old.is_complex:
            raise ValueError(f"{self.old!r} must be real to draw weights like it, got {self.old.dtype}")

    def _check_finite(self, *statistics: float | NDArray[Any]) -> None:
        """Raise ValueError if statistics of the old weights are not finite."""
        if not all(np.isfinite(each).all() for each in statistics):
            raise ValueError(f"{self.old!r} must be finite to draw weights like it, got NaN, infinities or overflow")

    def _wide(self, dtype: str) -> str:
        """Return float64: the statistics and the noise have this dtype for weights of every dtype."""
        return WIDE

    def old_pieces(self) -> Iterator[NDArray[Any]]:
        """Yield the old weights in float64, in pieces with all axes."""
        shape = self.old.shape
        for piece in Pieces(shape, LARGE):
            box = tuple(part._replace(drop=False) for part in normalize_index(piece.place, shape))
            yield self.old.scaled(DrawRequest(shape, None, self.old.dtype, None, box), WIDE)


@dataclass(frozen=True, repr=False)
class NewRows(NewWeights):
    """Rows with the mean and the spread of the rows of an old tensor, which are read once."""

    covariance: bool = False  # True: the columns are correlated as in the old rows

    def check(self, name: str, shape: tuple[int, ...], axes: str) -> None:
        if self.old.source.opened is None:
            return
        stored = self.old.shape
        if not stored or not stored[0] or stored[1:] != shape[1:]:
            raise ValueError(f"{self.old!r} must have rows of shape {shape[1:]}, got shape {stored}")
        self._check_real()

    def draw(self, request: DrawRequest, full_noise: NDArray[Any] | None = None) -> NDArray[Any]:
        mean, spread = self.statistics
        rows, *others = request.parts
        columns = request.shape[1:]
        index: tuple[Any, ...] = box_index(tuple(others))
        if self.covariance:
            indices = rows.start + rows.step * np.arange(rows.size)
            drawn = np.empty((rows.size, *(part.size for part in others if not part.drop)), WIDE)
            for block in np.unique(indices // BLOCK):
                first, is_in = int(block) * BLOCK, indices // BLOCK == block
                every = Part(first, 1, min(BLOCK, request.shape[0] - first))
                noise = self.draw_noise(request._replace(box=(every, *full_box(columns)))).reshape(every.size, -1)
                correlated = (mean + noise @ spread).reshape(every.size, *columns)
                drawn[is_in] = correlated[(indices[is_in] - first, *index)]
            drawn = drawn.reshape(request.out_shape)
        else:
            drawn = mean.reshape(columns)[index] + self.draw_noise(request) * spread.reshape(columns)[index]
        return round_wide(drawn, request.dtype)

    @property
    def scale(self) -> float:
        spread = self.statistics[1]
        return float(np.max(np.sqrt(np.square(spread).sum(axis=0)) if self.covariance else spread))

    @cached_property
    def statistics(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the mean of the old rows, and their std or the symmetric root of their covariance.

        The root is unique, so that the weights of two machines agree to the accuracy of the eigenvalues.
        """
        rows, columns = self.old.shape[0], math.prod(self.old.shape[1:])
        total, products = np.zeros(columns), np.zeros((columns, columns) if self.covariance else columns)
        shift: Any = None
        with np.errstate(invalid="ignore", over="ignore"):  # the result is checked
            for values in self.old_pieces():
                part = values.reshape(-1, columns)
                if shift is None:
                    shift = part[0].copy()  # near the mean, so that squares lose no digits
                part = part - shift
                total += part.sum(axis=0)
                products += part.T @ part if self.covariance else (part**2).sum(axis=0)
            mean = total / rows
            spread = products / rows - (np.outer(mean, mean) if self.covariance else mean**2)
        self._check_finite(shift, mean, spread)
        if not self.covariance:
            return mean + shift, np.sqrt(np.maximum(spread, 0))
        values, vectors = np.linalg.eigh(spread)
        return mean + shift, (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T

    def worded(self, terms: Sequence[str], noise: str) -> str:
        return f"rows like {terms[0]}"


@dataclass(frozen=True, repr=False)
class Redrawn(NewWeights):
    """Old weights with a share along an axis drawn again, with the mean and the std of the replaced weights."""

    axis: int = 0
    share: float = 0.5
    choice: str = ""  # the name of the stream that chooses the indices: weights with the same name share them
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", integer(self.axis, "axis", least=0))
        object.__setattr__(self, "seed", integer(self.seed, "seed", least=0, below=2**64))
        object.__setattr__(self, "share", real(self.share, "share"))
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be from 0 to 1, got {self.share!r}")

    def check(self, name: str, shape: tuple[int, ...], axes: str) -> None:
        super().check(name, shape, axes)
        self._check_real()
        if self.axis >= len(shape):
            raise ValueError(f"axis must be an axis of shape {shape}, got {self.axis}")

    def draw(self, request: DrawRequest, full_noise: NDArray[Any] | None = None) -> NDArray[Any]:
        part = request.parts[self.axis]
        is_new = np.isin(np.arange(part.size) * part.step + part.start, self._chosen(request.shape))
        if not is_new.any():
            return self.quiet.draw(request)
        mean, std = self.moments
        sized = request._replace(box=tuple(each._replace(drop=False) for each in request.parts))
        new = round_wide(mean + std * self.draw_noise(sized), request.dtype)
        mask = is_new.reshape([-1 if axis == self.axis else 1 for axis in range(len(request.shape))])
        return np.where(mask, new, self.quiet.draw(sized)).reshape(request.out_shape)

    def _chosen(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the `int(share * size)` indices at which weights are new, drawn from a stream."""
        size = shape[self.axis]
        ranks = uniform()((size,), WIDE, seed=self.seed, name=self.choice)
        return np.argsort(ranks, kind="stable")[: int(self.share * size)]

    @property
    def scale(self) -> float:
        return self.moments[1]

    @cached_property
    def moments(self) -> tuple[float, float]:
        """Return the mean and the std of the old weights at the indices at which weights are new."""
        shape = self.old.shape
        chosen = self._chosen(shape)
        count, total, squares = 0, 0.0, 0.0
        with np.errstate(invalid="ignore", over="ignore"):  # the result is checked
            for piece, values in zip(Pieces(shape, LARGE), self.old_pieces(), strict=True):
                part = normalize_index(piece.place, shape)[self.axis]
                is_new = np.isin(np.arange(part.size) + part.start, chosen)
                selected = np.compress(is_new, values, axis=self.axis)
                count, total, squares = count + selected.size, total + selected.sum(), squares + (selected**2).sum()
            mean = total / max(1, count)
            variance = squares / max(1, count) - mean**2
        self._check_finite(mean, variance)
        return mean, math.sqrt(max(variance, 0) * count / max(1, count - 1))

    def worded(self, terms: Sequence[str], noise: str) -> str:
        return f"{terms[0]}, {self.share:.0%} redrawn"
