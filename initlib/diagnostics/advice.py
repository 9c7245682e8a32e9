"""Advice on a network whose signals are unhealthy: the weight variance that theory requires."""

import math
from collections.abc import Sequence

from ..gains import ACTIVATIONS
from ..theory.stable_scale import stable_scale
from .measurements import Activation, ParameterStats
from .verdicts import ILL, weights_of

KEPT = 10.0  # signals may shrink or grow by this factor where a weight variance is advised
MEASURED = {"tanh": "orthogonal(1.0)"}  # better than the gain in the trained networks of docs/signals.md
NAMES = {"logistic": "sigmoid", "leakyrelu": "leaky_relu"}


def advise(activations: Sequence[Activation], parameters: Sequence[ParameterStats]) -> str | None:
    """Return advice on the first ill layer, by theory where the activation is known; None if no layer is ill."""
    first = next((k for k, row in enumerate(activations) if row.verdict in ILL), None)
    if first is None:
        return None
    row = activations[first]
    if row.verdict == "dead":
        return f"look at the biases before {row.name} and at the scale of its inputs"
    weights = [[w for w in own if w.fan_in and len(w.shape) >= 2] for own in weights_of(activations, parameters)]
    layers = [own[0] for own in weights if own]
    names = [name for each in activations if (name := _known(each.owner))]
    if not layers or not names:
        return "scale each layer by a batch (LSUV), or find the gains with recipes.analytic(model, batch)"
    activation = max(dict.fromkeys(names), key=names.count)
    by_gain = f'variance_scaling(gain("{activation}") ** 2) or recipes.analytic(model, batch)'
    fixes = MEASURED.get(activation, by_gain)
    candidates = [own[0] for own in weights[first:] if own] or layers[-1:]
    # Of a layer with more outputs than inputs the advised weights may have another variance, and need not be mended.
    hidden = (each for each in candidates if (each.fan_in or 0) ** 2 >= math.prod(each.shape))
    weight = next(hidden, candidates[0])
    variance = (weight.fan_in or 0) * weight.mean_square
    depth = max(len(layers) - 1, 1)
    stable = stable_scale(activation, depth, KEPT)
    if stable is None:
        return (
            f"no weight variance keeps a signal through {depth} layers of {activation}: add normalization or residual "
            "connections"
        )
    low, high = stable
    if low <= variance <= high:
        return f"weight_variance of {weight.name} is {variance:.3g}, as {activation} needs: look at the earlier layers"
    return (
        f"weight_variance of {weight.name} is {variance:.3g}; {activation} over {depth} layers needs "
        f"{low:.2g} to {high:.2g}: {fixes}"
    )


def _known(owner: str) -> str | None:
    """Return the name of an activation's class or function in `gain`."""
    name = owner.lower()
    name = NAMES.get(name, name)
    return name if name in ACTIVATIONS and name not in ("identity", "linear") else None  # classes of layers
