"""SignalReport: what an initialization does to the signals of a model, layer by layer, with a verdict on each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._public import public
from ..axes import canonical
from .statistics import channels, mean_absolute, moments, top_singular_value
from .table import number, size, table

FACTOR = 30.0  # what a healthy signal of the widest layers may have grown or shrunk by
SIGMAS = 3.0  # how far chance may take narrow ones beyond that
# The variance, times the width, that a layer of random weights adds to the logarithm of the length of a signal: 5 for
# relu, less for others (Hanin, Rolnick 2018, arXiv 1803.01719).
VARIANCE = 5.0
# Softmax gives each of n units about 1 / n: its scale says nothing of the signal.
UNJUDGED = ("softmax", "logsoftmax", "log_softmax")
ILL = ("dead", "exploding", "vanishing")

Verdict = tuple[str, str] | None  # the word and the reason; None is healthy


@dataclass(frozen=True)
class Activation:
    """What one layer gave, in the order of execution; of its gradient, None where there is none."""

    name: str
    owner: str  # the class or the function that gave it
    shape: tuple[int, ...]
    width: int  # units: channels, or features
    mean: float
    std: float
    mean_square: float
    dead: float  # the share of units that give the same number for every input
    channel_mean_square: float
    channel_variance: float
    mean_absolute: float
    gradient_std: float | None = None
    gradient_norm: float | None = None  # over the whole batch
    verdict: str = ""
    reason: str = ""


@dataclass(frozen=True)
class ParameterStats:
    """What one parameter is, and what would change it."""

    name: str
    shape: tuple[int, ...]
    mean: float
    std: float
    mean_square: float
    gradient_std: float | None = None
    gradient_norm: float | None = None
    gradient_ratio: float | None = None  # std of the gradient to std of the weights
    update_ratio: float | None = None  # the same of a step of gradient descent, learning rate * gradient
    top_singular_value: float | None = None  # of a matrix of inputs and field to outputs; of a stack, the largest
    verdict: str = ""
    reason: str = ""


def activation(
    name: str, owner: str, values: NDArray[Any], axis: int = -1, gradient: NDArray[Any] | None = None
) -> Activation:
    """Measure what a layer gave, with its units along an axis; and its gradient, where there is one.

    >>> activation("relu", "ReLU", np.array([[0.0, 1.0], [0.0, 3.0]])).dead
    0.5
    """
    shape = tuple(int(size) for size in values.shape)
    width, dead, square, variance = channels(values, axis)
    found = Activation(name, owner, shape, width, *moments(values), dead, square, variance, mean_absolute(values))
    return found if gradient is None else replace(found, **gradient_of(gradient))


def gradient_of(gradient: NDArray[Any]) -> dict[str, Any]:
    """The fields of an activation that measure its gradient."""
    g = moments(gradient)
    return {"gradient_std": g.std, "gradient_norm": math.sqrt(g.mean_square * gradient.size) if gradient.size else 0.0}


def input_std(inputs: Sequence[NDArray[Any]]) -> float | None:
    """The std of the first of the inputs of a model; None where there is none. They must not all be the same."""
    for x in inputs:
        if x.ndim and len(x) > 1 and (x == x[:1]).all():
            raise ValueError(f"batch holds the same input {len(x)} times: give inputs that differ")
    return moments(inputs[0]).std if len(inputs) else None


def numbered(rows: Sequence[Activation]) -> list[Activation]:
    """The activations, those of a name that comes again as "name#2", "name#3"."""
    calls: dict[str, int] = {}
    found = []
    for row in rows:
        calls[row.name] = calls.get(row.name, 0) + 1
        found.append(row if calls[row.name] == 1 else replace(row, name=f"{row.name}#{calls[row.name]}"))
    return found


def parameter(
    name: str,
    values: NDArray[Any],
    gradient: NDArray[Any] | None = None,
    *,
    axes: str | None = None,
    learning_rate: float | None = None,
) -> ParameterStats:
    """Measure a parameter, whose axes mean what `axes` says; and its gradient, where there is one.

    >>> parameter("kernel", np.eye(2), np.eye(2) / 100).gradient_ratio
    0.01
    """
    shape = tuple(int(size) for size in values.shape)
    measured = moments(values)
    top = None
    if values.ndim >= 2 and values.size:
        form = canonical(shape, axes)
        top = max(map(top_singular_value, form.arrange(values).reshape(form.matrices)))
    found = ParameterStats(name, shape, *measured, top_singular_value=top)
    if gradient is None:
        return found
    fields = gradient_of(gradient)
    ratio = fields["gradient_std"] / measured.std if measured.std else None
    update = None if ratio is None or learning_rate is None else learning_rate * ratio
    return replace(found, **fields, gradient_ratio=ratio, update_ratio=update)


@public("initlib")
class SignalReport:
    """What was measured of a model: the activations in the order of execution, then the parameters.

    >>> import numpy as np
    >>> from initlib.diagnostics.signals import activation
    >>> x = np.random.default_rng(0).normal(size=(64, 256))
    >>> rows = [activation("fc", "Linear", x / 100), activation("relu", "ReLU", np.maximum(x / 100, 0))]
    >>> report = SignalReport(rows, input_std=1.0)
    >>> print(report)
    activation  owner   shape   mean     std      dead  gradient std  verdict
    fc          Linear  64x256  5.8e-05  0.00996  0%    -             vanishing: std 0.00996 is 0.00996 of the...
    relu        ReLU    64x256  0.00401  0.0058   0%    -             vanishing: std 0.0058 is 0.0058 of the...
    >>> report.healthy, report.activations[0].verdict
    (False, 'vanishing')

    Verdicts, each with its figure: *vanishing* and *exploding* of the std of an activation, against that of the input
    and 1, and of the norm of a gradient, against that of the output; *dead* where units give one number whatever the
    input; *silent* where they do so on a branch or a head that starts at 0, which is healthy. A signal that is small
    but comes back later, as that of a branch does, is healthy too. What is healthy widens with depth and with
    1 / width: chance alone moves narrow deep networks. `mean_square_loss` says that the gradients are of the output's
    mean square, which has none to speak of where the output is normalized: then they are not judged.
    """

    def __init__(
        self,
        activations: Sequence[Activation],
        parameters: Sequence[ParameterStats] = (),
        *,
        input_std: float | None = None,
        loss: float | None = None,
        mean_square_loss: bool = False,
    ) -> None:
        judged = judge_activations(activations, input_std, mean_square_loss)
        self.activations = tuple(judged)
        dead = any(row.verdict == "dead" for row in judged)
        self.parameters = tuple(judge_parameter(row, dead) for row in parameters)
        self.input_std, self.loss = input_std, loss

    @property
    def rows(self) -> list[Activation | ParameterStats]:
        """The activations, then the parameters."""
        return [*self.activations, *self.parameters]

    @property
    def ill(self) -> list[Activation | ParameterStats]:
        """The activations and parameters whose verdict is dead, exploding or vanishing."""
        return [row for row in self.rows if row.verdict in ILL]

    @property
    def healthy(self) -> bool:
        """Whether nothing is dead, exploding or vanishing."""
        return not self.ill

    def __str__(self) -> str:
        heads = ["activation", "owner", "shape", "mean", "std", "dead", "gradient std", "verdict"]
        rows = [
            [a.name, a.owner, size(a.shape), *map(number, (a.mean, a.std)), f"{a.dead:.0%}", number(a.gradient_std)]
            for a in self.activations
        ]
        text = table(heads, [[*row, said(a)] for row, a in zip(rows, self.activations, strict=True)])
        if not self.parameters:
            return text
        figures = ["std", "gradient_std", "gradient_ratio", "update_ratio", "top_singular_value"]
        heads = ["std", "gradient std", "gradient:weight", "update:data", "top singular value"]
        rows = [
            [p.name, size(p.shape), *(number(getattr(p, figure)) for figure in figures), said(p)]
            for p in self.parameters
        ]
        return f"{text}\n\n{table(['parameter', 'shape', *heads, 'verdict'], rows)}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))  # what IPython shows

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as dictionaries, fit for JSON but for what is not finite: activations first, then parameters.

        >>> import numpy as np
        >>> from initlib.diagnostics.signals import activation
        >>> SignalReport([activation("fc", "Linear", np.eye(2))]).to_dicts()[0]["std"]
        0.5
        """
        return [{"kind": type(row).__name__.lower(), **asdict(row)} for row in self.rows]

    def assert_healthy(self) -> None:
        """Raise AssertionError, with every verdict that is ill, unless there is none: for tests of a model."""
        if self.ill:
            lines = "\n".join(f"  {row.name}: {said(row)}" for row in self.ill)
            raise AssertionError(f"signals of {len(self.ill)} layers or parameters are ill:\n{lines}")

    def plot(
        self,
        others: Mapping[str, "SignalReport"] | None = None,
        *,
        label: str = "measured",
        predicted: Mapping[str, Sequence[float]] | None = None,
        owner: str | None = None,
    ) -> Any:
        """Draw the std of the activations and of their gradients over depth, on logarithmic axes.

        `others` are more reports by label; `predicted` are stds by label, one for each activation that is drawn, such
        as the root of `propagation.lengths`; `owner` draws the activations of one class alone. Gives a matplotlib
        `Figure`. Raises ImportError without matplotlib, and ValueError for an owner that gave no activation, or a
        prediction of another length.
        """
        from .pictures import signals

        reports = {label: self, **(others or {})}
        drawn = {}
        for name, report in reports.items():
            drawn[name] = [row for row in report.activations if owner in (None, row.owner)]
            if not drawn[name]:
                owners = ", ".join(sorted({row.owner for row in report.activations}))
                raise ValueError(f"owner must be one of {owners}, got {owner!r}")
        longest = max(map(len, drawn.values()))
        for name, stds in (predicted or {}).items():
            if len(stds) != longest:
                raise ValueError(f"predicted {name!r} has {len(stds)} stds, the picture {longest} activations")
        return signals(drawn, predicted or {})


def judge_activations(
    rows: Sequence[Activation], input_std: float | None = None, mean_square_loss: bool = False
) -> list[Activation]:
    """The activations with a verdict and its reason."""
    judged = [k for k, row in enumerate(rows) if row.owner.lower() not in UNJUDGED]
    forward = _forward([rows[k] for k in judged], input_std)
    backward = _backward([rows[k] for k in judged], mean_square_loss)
    verdicts: dict[int, Verdict] = {}
    for k, *both in zip(judged, forward, backward, strict=True):
        worst = sorted(filter(None, both), key=lambda verdict: verdict[0] not in ILL)
        verdicts[k] = worst[0] if worst else None
    found = []
    for k, row in enumerate(rows):
        verdict, reason = verdicts.get(k) or ("healthy", "")
        found.append(replace(row, verdict=verdict, reason=reason))
    return found


def judge_parameter(row: ParameterStats, dead: bool) -> ParameterStats:
    """The parameter with a verdict; `dead` says whether some activation of the model is."""
    verdict, reason = "healthy", ""
    if not math.isfinite(row.mean_square):
        verdict, reason = "exploding", "it holds numbers that are not finite"
    elif row.gradient_norm is None:
        verdict, reason = "silent", "no gradient: frozen, or not used by this loss"
    elif not math.isfinite(row.gradient_norm):
        verdict, reason = "exploding", "its gradient is not finite"
    elif row.gradient_norm == 0:
        verdict = "dead" if dead else "silent"
        reason = "its gradient is 0" + ("" if dead else ": a layer further on starts at 0, or the loss has none")
    return replace(row, verdict=verdict, reason=reason)


def _allowed(widths: Sequence[int]) -> list[float]:
    """By which factor a healthy std may have changed after each of the layers."""
    variances = np.cumsum([VARIANCE / max(width, 1) for width in widths])
    return [FACTOR * math.exp(SIGMAS * math.sqrt(variance) / 2) for variance in variances.tolist()]


def _tail(small: Sequence[bool]) -> int:
    """Where the last rows that are all small begin: what is small and comes back is a branch, which may be."""
    start = len(small)
    while start and small[start - 1]:
        start -= 1
    # One last row alone is a head that starts small.
    return start if len(small) - start != 1 or len(small) == 1 else len(small)


def _forward(rows: Sequence[Activation], input_std: float | None) -> list[Verdict]:
    if not rows:
        return []
    first = rows[0].std if input_std is None or not input_std > 0 else input_std
    allowed = _allowed([row.width for row in rows])
    low, high = min(1.0, first), max(1.0, first)
    vanished = _tail([not row.std >= low / factor for row, factor in zip(rows, allowed, strict=True)])
    died = _tail([row.dead == 1 for row in rows])
    verdicts: list[Verdict] = []
    for k, (row, factor) in enumerate(zip(rows, allowed, strict=True)):
        most_dead = min(1.0, 0.5 + 2 / math.sqrt(max(row.width, 1)))
        change = f"std {row.std:.3g} is {row.std / first:.3g} of the input's" if first > 0 else f"std {row.std:.3g}"
        verdict: Verdict = None
        if not math.isfinite(row.std):
            verdict = "exploding", "it holds numbers that are not finite"
        elif row.std > high * factor:
            verdict = "exploding", f"{change}; healthy up to {high * factor:.3g} at this depth and width"
        elif row.dead == 1:
            where = f"all {row.width} units give the same for every input"
            after = "and what follows does not" if k < len(rows) - 1 else "as a head that starts at 0 does"
            verdict = ("dead", where) if k >= died else ("silent", f"{where}, {after}")
        elif row.dead > most_dead:
            verdict = "dead", f"{row.dead:.0%} of {row.width} units give the same for every input"
        elif k >= vanished:
            verdict = "vanishing", f"{change}; healthy from {low / factor:.3g} at this depth and width"
        verdicts.append(verdict)
    return verdicts


def _backward(rows: Sequence[Activation], mean_square_loss: bool) -> list[Verdict]:
    norms = [row.gradient_norm for row in rows]
    known = [row for row in rows if row.gradient_norm is not None]
    last = known[-1].gradient_norm if known else None
    # The mean square of what was normalized hardly changes, whatever the network: its gradients tell nothing.
    if not last or (mean_square_loss and "norm" in known[-1].owner.lower()):
        return [None] * len(rows)
    allowed = _allowed([row.width for row in reversed(rows)])[::-1]
    small = [norm is not None and norm < last / factor for norm, factor in zip(norms, allowed, strict=True)]
    vanished = len(rows) - _tail(small[::-1])
    verdicts: list[Verdict] = []
    for k, (norm, factor) in enumerate(zip(norms, allowed, strict=True)):
        verdict: Verdict = None
        if norm is not None:
            change, where = f"gradient {norm / last:.3g} of the output's", "at this depth and width"
            if not math.isfinite(norm):
                verdict = "exploding", "its gradient is not finite"
            elif norm > last * factor:
                verdict = "exploding", f"{change}; healthy up to {factor:.3g} {where}"
            elif k < vanished and (norm or next(filter(None, norms[k:])) < last / factor):
                verdict = "vanishing", f"{change}; healthy from {1 / factor:.3g} {where}"
            elif k < vanished:
                verdict = "silent", "its gradient is 0: a layer further on starts at 0"
        verdicts.append(verdict)
    return verdicts


def said(row: Activation | ParameterStats) -> str:
    """The verdict and its reason, in words."""
    return f"{row.verdict}: {row.reason}" if row.reason else row.verdict
