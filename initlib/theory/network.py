"""A network as operations in the order of execution, and the variance that each of its kernels must produce."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ..quadrature import Array, Function, root_mean_square
from .layer_maps import root
from .signal import Composition, Signal, moments_of_function, moments_of_maximum

LONGEST = 16.0  # the largest variance of a kernel's output that an activation may require for a mean square of 1


@dataclass(frozen=True)
class Operation:
    """An operation: its kind, the numbers of the operations whose outputs it takes, and the facts of its kind.

    Kinds: input; constant (of root mean square `count`); kernel (`weight` names it, `count` is the share of its fan_in
    that meets an output); table (a row of it); function (of each number alone: `function`, of as many arrays as there
    are inputs); sum; product; concat (`sizes`); norm (to mean 0 and variance 1; over a batch where `count` is 0);
    average and maximum (of `count` positions); average of units; contraction (of two signals, over `count` numbers);
    part (some of the units); same.
    """

    kind: str
    inputs: tuple[int, ...] = ()
    weight: str = ""
    function: Callable[..., Any] | None = None
    count: float = 1.0
    sizes: tuple[int, ...] = ()
    fan_in: int | None = None  # of a weight with unknown axes


@dataclass(frozen=True)
class Times:
    """A function that multiplies by a constant. Functions of equal constants compare equal."""

    factor: float

    def __call__(self, x: Array) -> Any:
        return self.factor * x


class _Structure:
    """Facts that follow from the operations alone: which share one source, and which sums form one residual stream."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = operations
        self.source: list[int] = []
        above: list[int] = []  # the operations on which each depends, as bits
        self.users: list[list[int]] = [[] for _ in operations]
        # For each sum of several sources: the inputs on which no other input depends.
        self.branches: defaultdict[int, list[int]] = defaultdict(list)
        stream: dict[int, int] = {}  # from each sum with a residual connection to the first such sum of its stream
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
        """Return the first sum of the stream that passes through an operation."""
        while True:
            if k in stream:
                return stream[k]
            operation = self.operations[k]
            if operation.kind not in ("same", "function", "average", "maximum") or not operation.inputs:
                return default
            k = operation.inputs[0]

    def end(self, k: int) -> int | None:
        """Return the last operation on a source alone; None if there are several."""
        ends = [
            j
            for j, source in enumerate(self.source)
            if source == k and (not self.users[j] or any(self.source[user] != k for user in self.users[j]))
        ]
        return ends[0] if len(ends) == 1 else None


def factors(operations: Sequence[Operation]) -> dict[str, float]:
    """Return fan_in times the variance of each kernel, and the variance of each table.

    The output of a kernel gets the variance at which the next activation has a mean square of 1. Before a bounded
    activation, and at an output of the network, the variance is 1. Kernels whose outputs are added
    share the variance. If n branches are added to one stream, the last kernel of each branch gets the variance 1 / n.

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
        """Return the variance that a source is to have."""
        if k not in targets:
            end = structure.end(k)
            function = None if end is None else functions[end]
            sums = [] if end is None else [user for user in structure.users[end] if end in structure.branches[user]]
            targets[k] = 1.0
            if function is not None and not _is_affine(function):
                targets[k] = _variance_for_unit_square(function)
            elif len(sums) == 1:
                count = structure.around.get(sums[0])
                total = target(sums[0]) if count is None else 1 / count
                targets[k] = total / len(structure.branches[sums[0]])
        return targets[k]

    result: dict[str, float] = {}
    signals: list[Signal] = []
    for k, operation in enumerate(operations):
        inputs, source = [signals[i] for i in operation.inputs], structure.source[k]
        if source != k:
            signals.append(signals[source].then(functions[k]))
        elif operation.kind in ("kernel", "table"):
            _, square, both = inputs[0].moments if operation.kind == "kernel" else (0.0, 1.0, 0.0)
            if not 0 < operation.count * square < math.inf:
                raise ValueError(f"the input of {operation.weight} must have a positive mean square, got {square:g}")
            factor = result.setdefault(operation.weight, target(k) / (operation.count * square))
            signals.append(Signal.normal(k, 0.0, *(factor * operation.count * moment for moment in (square, both))))
        else:
            signals.append(_output(k, operation, inputs))
    return result


def _sum(*arrays: Array) -> Any:
    return sum(arrays)


def _product(*arrays: Array) -> Any:
    return math.prod(arrays)


def _composed(
    k: int, operation: Operation, structure: _Structure, functions: dict[int, Function | None]
) -> Function | None:
    """Return the output of an operation as a function of the shared source; None where it is the source itself."""
    if structure.source[k] == k:
        return None
    inner = tuple(functions[i] for i in operation.inputs)
    if operation.kind == "same":
        return inner[0]
    outer = {"sum": _sum, "product": _product}.get(operation.kind, operation.function)
    assert outer is not None
    return outer if inner == (None,) else Composition(outer, inner)


def _is_affine(function: Function) -> bool:
    """Return whether a function only multiplies and shifts: then it is no activation."""
    y = np.asarray(function(np.array([-3.0, -1.0, 0.0, 1.0, 3.0])), np.float64)
    return bool(np.allclose(np.diff(y) / np.array([2, 1, 1, 2]), y[3] - y[2], rtol=1e-5, atol=1e-12))


@lru_cache(maxsize=256)
def _variance_for_unit_square(function: Function) -> float:
    """Return the variance at which f of a normal variable has a mean square of 1; 1 if it does not reach that."""

    def excess(x: float) -> float:
        scale = math.exp(x / 2)
        square = root_mean_square(lambda z: function(scale * z)) ** 2
        return math.log(square) if 0 < square < math.inf else math.copysign(math.inf, square - 1)

    low, high = -math.log(LONGEST), math.log(LONGEST)
    if not -math.inf < excess(low) < 0 < excess(high) < math.inf:
        return 1.0
    return float(f"{math.exp(root(excess, low, high)):.9g}")


def _output(k: int, operation: Operation, inputs: list[Signal]) -> Signal:
    """Return the output of an operation that is not a function of one source."""
    kind = operation.kind
    if kind == "input":
        return Signal(k)
    if kind == "constant":
        return Signal.normal(k, 0.0, operation.count**2, 0.0)
    if kind in ("same", "part"):
        return replace(inputs[0], source=k)
    moments = [signal.moments for signal in inputs]
    mean, square, both = moments[0]
    if kind == "sum":
        means = [m for m, _, _ in moments]
        mean, variance = sum(means), sum(s - m * m for m, s, _ in moments)
        return Signal.normal(k, mean, mean**2 + variance, mean**2 + sum(b - m * m for m, _, b in moments))
    if kind == "product":
        return Signal.normal(k, *(math.prod(values) for values in zip(*moments, strict=True)))
    if kind == "concat":
        shares = np.array(operation.sizes) / sum(operation.sizes)
        return Signal.normal(k, *(shares @ np.array(moments)).tolist())
    if kind == "norm":  # a batch norm removes the part that all inputs share
        alike = 0.0 if operation.count == 0 else Signal.normal(k, mean, square, both).alike
        return Signal.normal(k, 0.0, 1.0, alike)
    if kind == "average":
        return Signal.normal(k, mean, both + (square - both) / operation.count, both)
    if kind == "average of units":  # of many units
        return Signal.normal(k, mean, mean**2, mean**2)
    if kind == "maximum":
        return Signal.normal(k, *moments_of_maximum(inputs[0], max(1, round(operation.count))))
    if kind == "contraction":
        return Signal.normal(k, 0.0, operation.count * math.prod(s for _, s, _ in moments), 0.0)
    if kind == "function" and operation.function is not None:  # of different signals
        return Signal.normal(k, *moments_of_function(operation.function, inputs))
    raise ValueError(f"kind must be a kind of Operation, got {kind!r}")
