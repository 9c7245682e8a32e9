"""A network as operations in the order of execution, and the variance that each of its kernels must produce.

A signal is a function of a normal variable: what a kernel gives is normal, of the variance that was asked of it; what
functions of one unit make of that is known exactly, by quadrature. Sums of different signals, concatenations and pools
are taken for normal again, with the moments that they have. Of a signal at two positions (of an image, a sequence) the
correlation is followed too, since averages over positions keep what is alike and lose the rest (Poole et al. 2016,
arXiv 1606.05340, of two inputs).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..quadrature import root_mean_square

Array = NDArray[np.float64]
Function = Callable[[Array], Any]

LONGEST = 16.0  # the variance of a kernel's output up to which an activation may need it for a mean square of 1
SAMPLES = 4096  # maxima that are drawn
GRID = np.linspace(-6, 6, 121)  # sigmas, on which two correlated variables are integrated
DENSITY = np.exp(-GRID * GRID / 2) / np.exp(-GRID * GRID / 2).sum()


@dataclass(frozen=True)
class Operation:
    """One operation: what kind it is, the numbers of the operations whose outputs it takes, and what it needs to say.

    Kinds: input; constant (of root mean square `count`); kernel (`weight` names it, `count` is the share of its fan_in
    that meets an output); table (a row of it); function (of each number alone: `function`, of as many arrays as there
    are inputs); sum; product; concat (`sizes`); norm (0 and 1; of a batch where `count` is 0); average and maximum (of
    `count` positions), average of units; contraction (of two signals, over `count` numbers); part (some of the units);
    same.
    """

    kind: str
    inputs: tuple[int, ...] = ()
    weight: str = ""
    function: Callable[..., Any] | None = None
    count: float = 1.0
    sizes: tuple[int, ...] = ()
    fan_in: int | None = None  # of a weight whose axes do not tell it


@dataclass(frozen=True)
class Times:
    """A function that multiplies."""

    factor: float

    def __call__(self, x: Array) -> Any:
        return self.factor * x


@dataclass(frozen=True)
class _Composed:
    """A function of the source of several functions' arguments: equal ones are measured once."""

    outer: Callable[..., Any]
    inner: tuple[Function | None, ...]

    def __call__(self, x: Array) -> Any:
        return self.outer(*(x if each is None else each(x) for each in self.inner))


@dataclass(frozen=True)
class _Signal:
    """function(mean + std z), z ~ N(0, 1): the source says which z, and `alike` how z correlates over positions."""

    source: int
    mean: float = 0.0
    std: float = 1.0
    function: Function | None = None
    alike: float = 0.0

    def values(self, z: Array) -> Any:
        x = self.mean + self.std * z
        if self.function is None:
            return x
        with np.errstate(all="ignore"):
            y = np.asarray(self.function(x))
        return np.where(np.isnan(y), 0.0, y)  # a root of what is normal only by approximation has no value below 0

    @property
    def moments(self) -> tuple[float, float, float]:
        """The mean, the mean square, and the mean product at two positions."""
        return _moments(replace(self, source=0))


@lru_cache(maxsize=256)
def _moments(signal: _Signal) -> tuple[float, float, float]:
    if signal.function is None:
        square = signal.mean**2 + signal.std**2
        return signal.mean, square, signal.mean**2 + signal.std**2 * signal.alike
    square = root_mean_square(signal.values) ** 2
    mean = (root_mean_square(lambda z: signal.values(z) + 1.0) ** 2 - square - 1) / 2
    if signal.alike > 1 - 1e-9:
        return mean, square, square
    one = np.asarray(signal.values(GRID), np.float64)
    other = signal.values((signal.alike * GRID[:, None] + math.sqrt(1 - signal.alike**2) * GRID).ravel())
    both = float(DENSITY * one @ np.asarray(other, np.float64).reshape(GRID.size, -1) @ DENSITY)
    return mean, square, min(max(both, mean**2), square)


def _normal(source: int, mean: float, square: float, both: float) -> _Signal:
    """A normal signal of these moments."""
    variance = max(square - mean**2, 0.0)
    alike = min(max((both - mean**2) / variance, 0.0), 1.0) if variance > 0 else 0.0
    return _Signal(source, mean, math.sqrt(variance), None, alike)


class _Structure:
    """What follows from the operations alone: which make one signal of one source, and which sums are one stream."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = operations
        self.source: list[int] = []
        above: list[int] = []  # the operations that each depends on, as bits
        self.users: list[list[int]] = [[] for _ in operations]
        # Of a sum of several sources: the inputs that no other input depends on.
        self.branches: defaultdict[int, list[int]] = defaultdict(list)
        stream: dict[int, int] = {}  # of a sum around which its stream passes: the first such sum of it
        for k, operation in enumerate(operations):
            sources = {self.source[i] for i in operation.inputs}
            local = operation.kind in ("same", "function", "sum", "product") and len(sources) == 1
            self.source.append(sources.pop() if local else k)
            above.append(1 << k)
            for i in operation.inputs:
                above[k] |= above[i]
                self.users[i].append(k)
            if operation.kind == "sum" and not local:
                around = [i for i in operation.inputs if any(above[j] >> i & 1 for j in operation.inputs if j != i)]
                self.branches[k] = [i for i in operation.inputs if i not in around]
                if around:
                    stream[k] = self._first(stream, around[0], k)
        self.around = {k: list(stream.values()).count(first) for k, first in stream.items()}

    def _first(self, stream: dict[int, int], k: int, default: int) -> int:
        """The first sum of the stream that passes through an operation."""
        while True:
            if k in stream:
                return stream[k]
            operation = self.operations[k]
            if operation.kind not in ("same", "function", "average", "maximum") or not operation.inputs:
                return default
            k = operation.inputs[0]

    def end(self, k: int) -> int | None:
        """The operation that ends what is made of a source alone; None where there are several."""
        ends = [
            j
            for j, source in enumerate(self.source)
            if source == k and (not self.users[j] or any(self.source[user] != k for user in self.users[j]))
        ]
        return ends[0] if len(ends) == 1 else None


def factors(operations: Sequence[Operation]) -> dict[str, float]:
    """fan_in times the variance of each kernel, and the variance of each table.

    A kernel is to give the variance at which the activation that follows has a mean square of 1, or 1 where there is no
    such one: before a bounded activation, at an output. Kernels that are added share that. A kernel at the end of a
    branch gives 1 / n, where n branches are added to one stream.

    >>> relu = Operation("function", (1,), function=lambda x: np.maximum(x, 0))
    >>> factors([Operation("input"), Operation("kernel", (0,), "a"), relu, Operation("kernel", (2,), "b")])
    {'a': 2.0, 'b': 1.0}
    """
    structure = _Structure(operations)
    functions: dict[int, Function | None] = {}
    for k, operation in enumerate(operations):
        functions[k] = _composed(k, operation, structure, functions)
    targets: dict[int, float] = {}

    def target(k: int) -> float:
        """The variance that a source is to have."""
        if k not in targets:
            end = structure.end(k)
            function = None if end is None else functions[end]
            sums = [] if end is None else [user for user in structure.users[end] if end in structure.branches[user]]
            targets[k] = 1.0
            if function is not None and not _is_affine(function):
                targets[k] = _reached(function)
            elif len(sums) == 1:
                count = structure.around.get(sums[0])
                whole = target(sums[0]) if count is None else 1 / count
                targets[k] = whole / len(structure.branches[sums[0]])
        return targets[k]

    found: dict[str, float] = {}
    signals: list[_Signal] = []
    for k, operation in enumerate(operations):
        given, source = [signals[i] for i in operation.inputs], structure.source[k]
        if source != k:
            signals.append(_after(signals[source], functions[k]))
        elif operation.kind in ("kernel", "table"):
            _, square, both = given[0].moments if operation.kind == "kernel" else (0.0, 1.0, 0.0)
            if not 0 < operation.count * square < math.inf:
                raise ValueError(f"{operation.weight} gets a signal whose mean square is {square:g}: nothing to scale")
            factor = found.setdefault(operation.weight, target(k) / (operation.count * square))
            signals.append(_normal(k, 0.0, *(factor * operation.count * moment for moment in (square, both))))
        else:
            signals.append(_given(k, operation, given))
    return found


def _after(signal: _Signal, function: Function | None) -> _Signal:
    """The signal that a function of one number makes of another."""
    if function is None or signal.function is None:
        return replace(signal, function=function or signal.function)
    return replace(signal, function=_Composed(function, (signal.function,)))


def _sum(*arrays: Array) -> Any:
    return sum(arrays)


def _product(*arrays: Array) -> Any:
    return math.prod(arrays)


def _composed(
    k: int, operation: Operation, structure: _Structure, functions: dict[int, Function | None]
) -> Function | None:
    """What an operation makes of the source that its inputs share; None where it is the source itself."""
    if structure.source[k] == k:
        return None
    inner = tuple(functions[i] for i in operation.inputs)
    if operation.kind == "same":
        return inner[0]
    outer = {"sum": _sum, "product": _product}.get(operation.kind, operation.function)
    assert outer is not None
    return outer if inner == (None,) else _Composed(outer, inner)


def _is_affine(function: Function) -> bool:
    """Whether it multiplies and shifts, which a model does on purpose, and no activation."""
    y = np.asarray(function(np.array([-3.0, -1.0, 0.0, 1.0, 3.0])), np.float64)
    return bool(np.allclose(np.diff(y) / np.array([2, 1, 1, 2]), y[3] - y[2], rtol=1e-5, atol=1e-12))


@lru_cache(maxsize=256)
def _reached(function: Function) -> float:
    """The variance at which the function of a normal variable has a mean square of 1; 1 where it does not reach that.

    By false position between logarithms, which relu and its like follow in a straight line.
    """

    def excess(x: float) -> float:
        scale = math.exp(x / 2)
        square = root_mean_square(lambda z: function(scale * z)) ** 2
        return math.log(square) if 0 < square < math.inf else math.copysign(math.inf, square - 1)

    low, high = -math.log(LONGEST), math.log(LONGEST)
    below, above = excess(low), excess(high)
    if not -math.inf < below < 0 < above < math.inf:
        return 1.0
    x = side = 0.0
    for _ in range(60):
        x = (low * above - high * below) / (above - below)
        here = excess(x)
        if abs(here) < 1e-12:
            break
        # An end that stays counts for half (the Illinois rule): or false position may creep.
        if here < 0:
            low, below, above = x, here, above / (2 if side < 0 else 1)
        else:
            high, above, below = x, here, below / (2 if side > 0 else 1)
        side = here
    return float(f"{math.exp(x):.9g}")


def _given(k: int, operation: Operation, given: list[_Signal]) -> _Signal:
    """The signal that an operation gives, of more than one source or not of each number alone."""
    kind = operation.kind
    if kind == "input":
        return _Signal(k)
    if kind == "constant":
        return _normal(k, 0.0, operation.count**2, 0.0)
    if kind in ("same", "part"):
        return replace(given[0], source=k)
    moments = [signal.moments for signal in given]
    mean, square, both = moments[0]
    if kind == "sum":
        means = [m for m, _, _ in moments]
        mean, variance = sum(means), sum(s - m * m for m, s, _ in moments)
        return _normal(k, mean, mean**2 + variance, mean**2 + sum(b - m * m for m, _, b in moments))
    if kind == "product":
        return _normal(k, *(math.prod(values) for values in zip(*moments, strict=True)))
    if kind == "concat":
        shares = np.array(operation.sizes) / sum(operation.sizes)
        return _normal(k, *(shares @ np.array(moments)).tolist())
    if kind == "norm":  # what a batch has in common, it takes away
        alike = 0.0 if operation.count == 0 else _normal(k, mean, square, both).alike
        return _normal(k, 0.0, 1.0, alike)
    if kind == "average":
        return _normal(k, mean, both + (square - both) / operation.count, both)
    if kind == "average of units":  # which are many
        return _normal(k, mean, mean**2, mean**2)
    if kind == "maximum":
        return _normal(k, *_maximum(given[0], max(1, round(operation.count))))
    if kind == "contraction":
        return _normal(k, 0.0, operation.count * math.prod(s for _, s, _ in moments), 0.0)
    if kind == "function":  # of different signals
        return _normal(k, *_drawn(operation.function, given))
    raise ValueError(f"kind must be one that Operation names, got {kind!r}")


def _maximum(signal: _Signal, count: int) -> tuple[float, float, float]:
    """The moments of the largest of so many numbers, at two places; drawn, always the same."""
    rng = np.random.default_rng(0)
    common = math.sqrt(signal.alike) * rng.standard_normal((SAMPLES, 1))
    own = math.sqrt(1 - signal.alike)
    one, two = (
        np.asarray(signal.values((common + own * rng.standard_normal((SAMPLES, count))).ravel()), np.float64)
        .reshape(SAMPLES, count)
        .max(axis=1)
        for _ in range(2)
    )
    return float(one.mean() + two.mean()) / 2, float((one**2).mean() + (two**2).mean()) / 2, float((one * two).mean())


def _drawn(function: Callable[..., Any] | None, given: list[_Signal]) -> tuple[float, float, float]:
    """The moments of a function of several signals; drawn, always the same."""
    assert function is not None
    rng = np.random.default_rng(0)
    y = np.asarray(function(*(signal.values(rng.standard_normal(SAMPLES)) for signal in given)), np.float64)
    return float(y.mean()), float((y * y).mean()), float(y.mean() ** 2)
