"""Maximal update parametrization (muP): initializations and learning rates that transfer over the width."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, NamedTuple

from .._arguments import choice, positive
from .._public import public
from ..axes import fans
from ..plans.parameter import Parameter
from ..plans.plan import Plan
from ..plans.rules.parts import Parts
from ..plans.rules.patterns import as_pattern
from ..plans.rules.values import Fill, Keep, Values
from ..plans.types import Pattern
from ..schemes._constant import zeros
from ..schemes._normal import normal
from ..schemes.initializer import Initializer
from .rules import Rules, optional

Base = Plan | Iterable[Parameter]
Readout = Literal["weight", "multiplier"]
READOUTS = ("weight", "multiplier")
OPTIMIZERS = ("adam", "adamw", "sgd")


class _Weight(NamedTuple):
    """A weight of the base model: its shape, its axes, and its initializer if the base is a plan."""

    shape: tuple[int, ...]
    axes: str | None
    filling: Initializer | Parts | None


class _Role(NamedTuple):
    """Role of a weight in muP (hidden, input or output), and the growth of its fan_in, or of the size of an input."""

    name: str
    growth: float
    fan_out_growth: float = 1.0  # of a hidden weight


def mup(
    base: Base, initializer: Initializer | None = None, *, readout: Readout = "weight", zero_readout: bool = False
) -> Rules:
    """Return the rules of muP for a model, from the same model at its base width.

    Each kernel and table is compared with the weight of the same name in the base. m is the growth of fan_in:

    - both fans grow (hidden): the std of the base is divided by sqrt(m);
    - only fan_in grows (output): the std of the base is divided by m, or unchanged with `readout="multiplier"`;
    - only fan_out grows (input, tables), or no fan grows: the std of the base is unchanged.

    The parts of a fused tensor are compared one by one. Biases and scales keep their own initialization. A table that
    is tied to the head counts as an input if its first name is the name of the table. The forward pass must then divide
    the output of the head by m. Attention logits must be divided by the width of an attention head, not by its square
    root. `initlib.mup_learning_rates` gives the learning rates.

    Args:
        base: the plan of the model at its base width, whose initializers the rules scale; or the parameters of that
            model.
        initializer: the initializer of every weight at the base width; by default the initializer in the base plan, or
            normal(std=0.02) if `base` is parameters.
        readout: "weight" for a model without multipliers; "multiplier" for a model that divides the output of its head
            by m in the forward pass.
        zero_readout: True for a head of zeros in models wider than the base. For zeros at the base width too, give the
            base plan the rule {"head.weight": zeros} instead.

    Returns:
        Rules for kernels, recurrent kernels and tables.

    Raises:
        TypeError: base is neither a plan nor made of parameters.
        ValueError: `readout` is not allowed. When the plan is made: a name is not in the base, the number of axes
            differs, or the axes of a kernel are not known.

    Example:
        >>> from initlib import Parameter, plan
        >>> def network(width):
        ...     shapes = {"first": (width, 8), "hidden": (width, width), "head": (10, width)}
        ...     return [Parameter(f"{name}.weight", shape, axes="OI", kind="kernel") for name, shape in shapes.items()]
        >>> wide = plan(network(1024), mup(network(64)))
        >>> [round(row["std"], 6) for row in wide.to_dicts()]  # 0.02, 0.02 / sqrt(16), 0.02 / 16
        [0.02, 0.005, 0.00125]

    Reference:
        Yang, Hu et al. Tensor Programs V: tuning large neural networks via zero-shot hyperparameter transfer, tables 3
        and 8. 2022. arXiv:2203.03466. The rules follow Microsoft's package mup.
    """
    readout = choice(readout, "readout", READOUTS)  # type: ignore[assignment]
    weights = _weights(base)
    default = initializer or normal(std=0.02)

    def rule(parameter: Parameter) -> Fill:
        weight = _weight(weights, parameter, "recipes.mup")
        filling = weight.filling
        if isinstance(filling, Parts) and initializer is None:
            fillings = [rule if each is None or isinstance(each, Initializer) else each for each in filling.fillings]
            return replace(filling, fillings=tuple(fillings))
        own = initializer or (filling if isinstance(filling, Initializer) else default)
        role = _role(parameter, weight)
        if role.name == "output" and zero_readout:
            return zeros
        factor = {"hidden": role.growth**-0.5, "output": 1 / role.growth if readout == "weight" else 1.0}
        return _scaled(own, parameter, weight, factor.get(role.name, 1.0))

    return {optional("*:kernel"): rule, optional("*:recurrent"): rule, optional("*:table"): rule}


def completep(base: Base, initializer: Initializer | None = None) -> Rules:
    """Return the rules of CompleteP: hidden weights have the std of the base, divided by sqrt(m).

    m is the growth of fan_in. Tables and the head have the std of the base. The forward pass must divide the output of
    the head by m, attention logits by the width of an attention head, and the output of each residual branch by
    depth**alpha. depth is the growth of the number of layers. CompleteP has alpha = 1; depth-muP has alpha = 0.5. For
    the optimizer, call `initlib.mup_learning_rates` with `readout="multiplier"`, `depth`, `alpha` and `blocks`.

    Args:
        base: the plan of the same model at the base width, with unchanged depth; or the parameters of that model.
        initializer: the initializer of every weight at the base width; by default as for `mup`.

    Returns:
        Rules for kernels, recurrent kernels and tables.

    Raises:
        ValueError: when the plan is made, as for `mup`.

    Example:
        >>> hidden = [Parameter("h.weight", (width, width), axes="OI", kind="kernel") for width in (64, 256)]
        >>> completep(hidden[:1])["*:kernel"](hidden[1]).std((256, 256), "OI")
        0.01

    Reference:
        Dey et al. Don't be lazy: CompleteP enables compute-efficient deep transformers, table 1. 2025.
        arXiv:2505.01618.
    """
    return mup(base, initializer, readout="multiplier")


@public("initlib")
def mup_learning_rates(
    plan: Base,
    base: Base,
    optimizer: str = "adam",
    *,
    readout: Readout = "weight",
    blocks: Pattern | None = None,
    depth: float = 1.0,
    alpha: float = 1.0,
) -> dict[str, dict[str, float]]:
    """Return the multipliers of muP for the learning rate, the weight decay and Adam's epsilon of each parameter.

    m is the growth of fan_in from the base to the model. n is the growth of the other fan.

    The multipliers of the learning rate, for "adam" and "adamw", and for "sgd":

    ===============================  =====  =====
    role                             adam   sgd
    ===============================  =====  =====
    hidden                           1 / m  n / m
    input, bias, scale               1      n
    output, `readout="weight"`       1 / m  1 / m
    output, `readout="multiplier"`   1      m
    ===============================  =====  =====

    The multiplier of the weight decay is the inverse of the multiplier of the learning rate, so that their product is
    constant. The weight decay of "adam" is part of the gradient: with readout="weight", the multiplier for the readout
    is m**2 instead.

    `blocks` selects the parameters within residual blocks. Their multipliers depend on the depth too (CompleteP and
    depth-muP). Adam's epsilon is divided by m * depth**alpha; for a bias or a scale, m is the growth of the size.
    Adam's learning rate is multiplied by depth**(alpha - 1), so CompleteP (alpha = 1) leaves learning rates unchanged.
    The weight decay does not depend on the depth. Without `blocks` the multiplier of epsilon is 1, as in the package
    mup.

    Args:
        plan: the plan of the model, or the parameters of the model.
        base: the plan of the same model at the base width, with unchanged depth; or the parameters of that model.
        optimizer: "adam", "adamw" or "sgd".
        readout: as for `recipes.mup`.
        blocks: a pattern for the parameters within residual blocks, such as `"*.layers.*"`.
        depth: the growth of the number of residual blocks: 12 for 24 blocks, if the base learning rate was found with 2
            blocks. The forward pass must divide the output of each residual branch by depth**alpha.
        alpha: 1 for CompleteP, 0.5 for depth-muP.

    Returns:
        For each name, a dictionary with "lr", "weight_decay" and "eps".

    Raises:
        ValueError: `optimizer` or `readout` is not allowed, a name is not in the base, or the number of axes
            differs. `depth` is given without `blocks` or for "sgd", or `blocks` matches no parameter.

    Example:
        >>> from initlib import Parameter
        >>> wide, narrow = ([Parameter("h.0.w", (width, width), axes="OI", kind="kernel")] for width in (512, 128))
        >>> mup_learning_rates(wide, narrow)
        {'h.0.w': {'lr': 0.25, 'weight_decay': 4.0, 'eps': 1.0}}
        >>> mup_learning_rates(wide, narrow, "adamw", blocks="h.*", depth=16, alpha=0.5)
        {'h.0.w': {'lr': 0.0625, 'weight_decay': 4.0, 'eps': 0.0625}}

    Reference:
        Yang, Hu et al. Tensor Programs V: tuning large neural networks via zero-shot hyperparameter transfer, table 8.
        2022. arXiv:2203.03466. The multipliers follow `MuAdam`, `MuAdamW` and `MuSGD` of Microsoft's package mup.
        Dey et al. Don't be lazy: CompleteP enables compute-efficient deep transformers, table 1. 2025.
        arXiv:2505.01618.
    """
    optimizer = choice(optimizer, "optimizer", OPTIMIZERS)
    readout = choice(readout, "readout", READOUTS)  # type: ignore[assignment]
    depth, alpha = positive(depth, "depth"), positive(alpha, "alpha", or_zero=True)
    if depth != 1 and (blocks is None or optimizer == "sgd"):
        raise ValueError(
            f"depth must be 1 without blocks and for sgd, got {depth}. Pass blocks= and optimizer='adam' or 'adamw'"
        )
    within = None if blocks is None else as_pattern(blocks, "blocks")
    parameters = [parameter for parameter in _parameters(plan, "plan") if parameter.kind != "buffer"]
    if within is not None and not any(map(within.matches, parameters)):
        raise ValueError(f"blocks must match parameters of the plan, got {blocks!r}, which matches none")
    weights = _weights(base)
    multipliers = {}
    for parameter in parameters:
        role = _role(parameter, _weight(weights, parameter, "mup_learning_rates"))
        rate, epsilon = _rate(role, optimizer, readout), 1.0
        decay = 1 / rate
        if optimizer == "adam" and role.name == "output" and readout == "weight":
            decay = role.growth**2
        if within is not None and within.matches(parameter):
            rate *= depth ** (alpha - 1)
            epsilon = 1 / (role.growth * depth**alpha)
        multipliers[parameter.name] = {"lr": rate, "weight_decay": decay, "eps": epsilon}
    return multipliers


def _rate(role: _Role, optimizer: str, readout: str) -> float:
    if role.name == "output" and readout == "weight":
        return 1 / role.growth
    if optimizer == "sgd":
        return role.fan_out_growth / role.growth if role.name == "hidden" else role.growth
    return 1 / role.growth if role.name == "hidden" else 1.0


def _parameters(model: Base, argument: str) -> list[Parameter]:
    """Return the parameters of a plan, or an iterable of parameters as a list. Raises TypeError."""
    if isinstance(model, Plan):
        return [entry.parameter for entry in model.entries]
    parameters = list(model) if isinstance(model, Iterable) else [model]
    if not all(isinstance(each, Parameter) for each in parameters):
        raise TypeError(
            f"{argument} must be a plan or an iterable of Parameter, got {type(model).__name__}. For a model, pass "
            "initlib.adapters.torch.plan(model, ...), or the plan of another framework's adapter"
        )
    return parameters


def _weights(base: Base) -> dict[str, _Weight]:
    """Return the weights of the base by name: the stored tensors, and the parts that lie in them."""
    weights: dict[str, _Weight] = {}
    if not isinstance(base, Plan):
        return {name: _Weight(each.shape, each.axes, None) for each in _parameters(base, "base") for name in each.names}
    for entry in base.entries:
        own = entry.parameter
        filling = None if isinstance(entry.filling, (Keep, Values)) else entry.filling
        for name in (*own.names, entry.stream):
            weights[name] = _Weight(own.shape, own.axes, filling)  # type: ignore[arg-type]
        for piece in entry.pieces:
            initializer = piece.initializer if isinstance(piece.initializer, Initializer) else None
            weights.setdefault(piece.stream, _Weight(piece.shape, piece.axes, initializer))
    return weights


def _weight(weights: dict[str, _Weight], parameter: Parameter, caller: str) -> _Weight:
    """Return the weight of the base with a parameter's name."""
    weight = weights.get(parameter.name)
    if weight is None:
        raise ValueError(f"base of {caller} must have every parameter of the model, got none named {parameter.name!r}")
    if len(weight.shape) != len(parameter.shape):
        raise ValueError(
            f"base of {caller} must have {parameter.name!r} with {len(parameter.shape)} axes, got {len(weight.shape)}"
        )
    return weight


def _role(parameter: Parameter, weight: _Weight) -> _Role:
    """Compare a parameter with the weight of the base."""
    if parameter.kind == "table":  # rows are looked up: the last axis is the width
        return _Role("input", parameter.shape[-1] / weight.shape[-1])
    if parameter.axes is None:
        if sum(a != b for a, b in zip(parameter.shape, weight.shape, strict=True)) > 1:
            raise ValueError(f"axes of {parameter.name!r} must be known, because two axes grow. Pass axes=")
        return _Role("input", parameter.size / math.prod(weight.shape))
    fan_in, fan_out = fans(parameter.shape, parameter.axes)
    base_in, base_out = fans(weight.shape, weight.axes or parameter.axes)
    inputs, outputs = fan_in / base_in, fan_out / base_out
    if inputs == outputs == 1:  # depthwise kernels are vectors, one number for each channel and position
        return _Role("input", parameter.size / math.prod(weight.shape))
    if inputs == 1:
        return _Role("input", outputs)
    return _Role("output", inputs) if outputs == 1 else _Role("hidden", inputs, outputs)


def _scaled(own: Initializer, parameter: Parameter, weight: _Weight, factor: float) -> Initializer:
    """Return the initializer with `factor` times the std that it has at the base's shape."""
    base_std = own.std(weight.shape, weight.axes or parameter.axes)
    std = own.std(parameter.shape, parameter.axes)
    if not (math.isfinite(base_std) and std > 0):
        return own  # constants, and distributions that do not depend on the shape
    factor *= base_std / std
    return own if abs(factor - 1) < 1e-12 else own * factor
