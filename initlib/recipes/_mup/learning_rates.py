"""Learning rates of muP, which transfer over the width."""

from ..._arguments import choice, positive
from ..._public import public
from ...plans.rules.patterns import as_pattern
from ...plans.types import Pattern
from .roles import READOUTS, Base, Readout, Role, base_weight, base_weights, parameters_of, role_of

OPTIMIZERS = ("adam", "adamw", "sgd")


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

    m is the fan_in of the model divided by the fan_in of the base. n is the same ratio of fan_out, or of the sizes of a
    bias or scale.

    The multipliers of the learning rate, for "adam" and "adamw", and for "sgd":

    ===============================  =====  =====
    role                             adam   sgd
    ===============================  =====  =====
    hidden                           1 / m  n / m
    input, bias, scale               1      n
    output, `readout="weight"`       1 / m  1 / m
    output, `readout="multiplier"`   1      m
    ===============================  =====  =====

    The multiplier of the weight decay is 1 divided by the multiplier of the learning rate. The exception is the output
    with "adam" and `readout="weight"`: the multiplier is m**2, because "adam" adds the weight decay to the gradient.

    `blocks` selects the parameters within residual blocks, whose multipliers also depend on the depth (CompleteP and
    depth-muP). Adam's epsilon is divided by m * depth**alpha (n * depth**alpha for inputs, biases and scales). Adam's
    learning rate is multiplied by depth**(alpha - 1), so the depth does not change learning rates of CompleteP
    (alpha = 1). The weight decay does not depend on the depth. Without `blocks` the multiplier of epsilon is 1, as in
    the package mup.

    Args:
        plan: the plan of the model, or the parameters of the model.
        base: the plan of the same model at the base width, with unchanged depth; or the parameters of that model. The
            base may be the wider model, as in a coordinate check: then m and n are below 1.
        optimizer: "adam", "adamw" or "sgd".
        readout: as for `recipes.mup`.
        blocks: a pattern for the parameters within residual blocks, such as `"*.layers.*"`.
        depth: the number of residual blocks of the model, divided by the number of blocks for which the base learning
            rate was tuned. The forward pass must divide the output of each residual branch by depth**alpha.
        alpha: 1 for CompleteP, 0.5 for depth-muP.

    Returns:
        A dictionary by parameter name. Each value is a dictionary of the multipliers "lr", "weight_decay" and "eps".

    Raises:
        TypeError: `plan` or `base` is neither a plan nor made of parameters.
        ValueError: `optimizer` or `readout` is not allowed, a name is not in the base, or the number of axes differs.
            Or `depth` is not 1 without `blocks` or for "sgd", or `blocks` matches no parameter.

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
    parameters = [parameter for parameter in parameters_of(plan, "plan") if parameter.kind != "buffer"]
    if within is not None and not any(map(within.matches, parameters)):
        raise ValueError(f"blocks must match parameters of the plan, got {blocks!r}, which matches none")
    weights = base_weights(base)
    multipliers = {}
    for parameter in parameters:
        role = role_of(parameter, base_weight(weights, parameter, "mup_learning_rates"))
        rate, epsilon = _rate(role, optimizer, readout), 1.0
        decay = 1 / rate
        if optimizer == "adam" and role.name == "output" and readout == "weight":
            decay = role.growth**2
        if within is not None and within.matches(parameter):
            rate *= depth ** (alpha - 1)
            epsilon = 1 / (role.growth * depth**alpha)
        multipliers[parameter.name] = {"lr": rate, "weight_decay": decay, "eps": epsilon}
    return multipliers


def _rate(role: Role, optimizer: str, readout: str) -> float:
    if role.name == "output" and readout == "weight":
        return 1 / role.growth
    if optimizer == "sgd":
        return role.fan_out_growth / role.growth if role.name == "hidden" else role.growth
    return 1 / role.growth if role.name == "hidden" else 1.0
