"""Verdicts on activations and parameters: healthy, silent, dead, vanishing or exploding.

The two thresholds were chosen by the experiment "verdicts", which trains a grid of small networks.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TypeVar

from .measurements import Activation, ParameterStats

VANISHING = 100.0  # a healthy signal, or gradient, shrinks by at most this factor
EXPLODING = 150.0  # a healthy signal, or gradient, grows by at most this factor
SMALL_HEAD = 1000.0  # the last layer may be smaller on purpose, by at most this factor
# Softmax gives each of n units about 1 / n, whatever the size of its input.
UNJUDGED = ("softmax", "logsoftmax", "log_softmax")
ILL = ("dead", "exploding", "vanishing")

Verdict = tuple[str, str] | None  # the word and the reason; None is healthy
Weights = list[ParameterStats]  # of one layer
Row = TypeVar("Row", Activation, ParameterStats)


def weights_of(rows: Sequence[Activation], parameters: Sequence[ParameterStats]) -> list[Weights]:
    """Return the parameters of each activation's own layer, by their names."""
    layers: dict[str, Weights] = {}
    for weight in parameters:
        layers.setdefault(weight.name.rpartition(".")[0].removeprefix("params."), []).append(weight)
    layers.setdefault("model", layers.get("", []))  # the name of a model that is one layer
    return [layers.get(row.name.partition("#")[0], []) for row in rows]


def judge(
    activations: Sequence[Activation],
    parameters: Sequence[ParameterStats],
    input_std: float | None,
    mean_square_loss: bool,
) -> tuple[tuple[Activation, ...], tuple[ParameterStats, ...]]:
    """Return the activations and the parameters with their verdicts."""
    places = [k for k, row in enumerate(activations) if row.owner.lower() not in UNJUDGED]
    rows = [activations[k] for k in places]
    weights = weights_of(rows, parameters)
    forward = _forward(rows, weights, input_std)
    backward = _backward(rows, weights, mean_square_loss)
    verdicts = [
        one if one and (one[0] in ILL or not other) else other for one, other in zip(forward, backward, strict=True)
    ]
    dead = any(verdict and verdict[0] == "dead" for verdict in verdicts)
    norms = [weight.gradient_norm for weight in parameters if weight.gradient_norm is not None]
    # The mean square of a head that starts at 0 has no gradient. A loss of the user has one if training is possible.
    untrained = bool(norms) and not any(norms) and not mean_square_loss
    of_layers: dict[str, Verdict] = {}
    for own, both, gradient in zip(weights, verdicts, backward, strict=True):
        # The gradient of a bias does not depend on the signal.
        of_layers |= {weight.name: both if len(weight.shape) >= 2 else gradient for weight in own}
    by_place = dict(zip(places, verdicts, strict=True))
    return (
        tuple(_with(row, by_place.get(k)) for k, row in enumerate(activations)),
        tuple(_with(weight, _parameter(weight, dead, untrained, of_layers.get(weight.name))) for weight in parameters),
    )


def _with(row: Row, verdict: Verdict) -> Row:
    word, reason = verdict or ("healthy", "")
    return replace(row, verdict=word, reason=reason)


def _parameter(row: ParameterStats, dead: bool, untrained: bool, of_layer: Verdict) -> Verdict:
    """Return the verdict on a parameter.

    `dead` is True if an activation of the model is dead. `untrained` is True if the gradients of all parameters are 0.
    """
    if not math.isfinite(row.mean_square):
        return "exploding", "some weights are not finite"
    if row.gradient_norm is None:
        return "silent", "no gradient: frozen, or not used by this loss"
    if not math.isfinite(row.gradient_norm):
        return "exploding", "the gradient is not finite"
    if row.gradient_norm == 0:
        reason = "the gradient is 0"
        if untrained and not dead:
            return "dead", "the gradient of every parameter is 0: check that the loss depends on the output"
        at_zero = f"{reason}: a later layer starts at 0, or the gradient of the loss is 0"
        return ("dead", reason) if dead else ("silent", at_zero)
    if of_layer and of_layer[0] in ("exploding", "vanishing"):
        return of_layer[0], f"the signal or the gradient of the layer is {of_layer[0]}"
    return None


def _tail(small: Sequence[bool]) -> int:
    """Return the start of the last rows that are all small: small rows before a large one are branches."""
    return len(small) - len(list(takewhile(bool, reversed(small))))


def _is_zero(weights: Weights) -> bool:
    """Return whether a layer's kernels, or its scale if it has no kernel, are all 0."""
    kernels = [w for w in weights if len(w.shape) >= 2] or [w for w in weights if not w.name.endswith(("bias", "beta"))]
    return bool(kernels) and all(weight.mean_square == 0 for weight in kernels)


def _head(rows: Sequence[Activation], weights: Sequence[Weights]) -> int:
    """Return the place of the last layer with weights: the head. Without known weights, the last row counts."""
    return max((k for k, own in enumerate(weights) if own), default=len(rows) - 1)


def _starts_at_zero(rows: Sequence[Activation], weights: Sequence[Weights], head: int) -> bool:
    """Return whether the head is silent by design: its weights are 0. Without known weights, all outputs must be 0."""
    return _is_zero(weights[head]) if weights[head] else not any(row.mean_square for row in rows[head:])


def _forward(rows: Sequence[Activation], weights: Sequence[Weights], input_std: float | None) -> list[Verdict]:
    if not rows:
        return []
    first = rows[0].signal if input_std is None or not input_std > 0 else input_std
    low, high = min(1.0, first) / VANISHING, max(1.0, first) * EXPLODING
    vanished, died = _tail([not row.signal >= low for row in rows]), _tail([row.dead == 1 for row in rows])
    head = _head(rows, weights)
    silent_head = _starts_at_zero(rows, weights, head)
    small_head = head > 0 and rows[head].signal >= rows[head - 1].signal / SMALL_HEAD
    if vanished >= head and (silent_head or small_head):
        vanished = len(rows)
    if died >= head and silent_head:
        died = len(rows)
    verdicts: list[Verdict] = []
    for k, row in enumerate(rows):
        change = (
            f"signal {row.signal:.3g} is {row.signal / first:.3g} of the input's"
            if first > 0
            else f"signal {row.signal:.3g}"
        )
        verdict: Verdict = None
        if not math.isfinite(row.std):
            verdict = "exploding", "some outputs are not finite"
        elif row.signal > high:
            verdict = "exploding", f"{change}; healthy up to {high:.3g}"
        elif row.dead == 1 and not vanished < died:
            same = f"all {row.width} units are the same for every input"
            after = "the weights are 0" if k >= head else "the next layers are not"
            verdict = ("dead", same) if k >= died else ("silent", f"{same}; {after}")
        elif k >= vanished:
            verdict = "vanishing", f"{change}; healthy from {low:.3g}"
        elif row.dead > min(1.0, 0.5 + 2 / math.sqrt(max(row.width, 1))) and row.dead < 1:
            verdict = "dead", f"{row.dead:.0%} of {row.width} units are the same for every input"
        verdicts.append(verdict)
    return verdicts


def _backward(rows: Sequence[Activation], weights: Sequence[Weights], mean_square_loss: bool) -> list[Verdict]:
    norms = [row.gradient_norm for row in rows]
    last, owner = next(((r.gradient_norm, r.owner) for r in reversed(rows) if r.gradient_norm is not None), (None, ""))
    # The mean square of a normalized output is constant, so its gradients are not those of a loss.
    if not last or (mean_square_loss and "norm" in owner.lower()):
        return [None] * len(rows)
    head = _head(rows, weights)
    before = norms[head - 1] if head and weights[head] else None
    if before is not None:  # the scale of the head is a factor of all gradients before it
        last = max(before, last / SMALL_HEAD)
    zero_head = _starts_at_zero(rows, weights, head)
    small = [norm is not None and norm < last / VANISHING for norm in norms]
    vanished = len(rows) - _tail(small[::-1])
    verdicts: list[Verdict] = []
    for k, norm in enumerate(norms):
        verdict: Verdict = None
        if norm is not None:
            change = f"gradient {norm / last:.3g} of the last layer's"
            if not math.isfinite(norm):
                verdict = "exploding", "the gradient is not finite"
            elif k < head and norm > last * EXPLODING:
                verdict = "exploding", f"{change}; healthy up to {EXPLODING:g}"
            elif k < vanished and k < head and zero_head:
                verdict = "silent", "the gradient is 0: the head starts at 0"
            elif k < vanished:
                verdict = "vanishing", f"{change}; healthy from {1 / VANISHING:g}"
        verdicts.append(verdict)
    return verdicts
