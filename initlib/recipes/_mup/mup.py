"""Maximal update parametrization (muP): initializations that transfer over the width."""

import math
from dataclasses import replace

from ..._arguments import choice
from ...plans.fills.parts import Parts
from ...plans.fills.values import Fill
from ...plans.parameter import Parameter
from ...schemes._constant import zeros
from ...schemes._normal import normal
from ...schemes.initializer import Initializer
from ..rules import Rules, optional
from .roles import READOUTS, Base, BaseWeight, Readout, base_weight, base_weights, role_of


def mup(
    base: Base, initializer: Initializer | None = None, *, readout: Readout = "weight", zero_readout: bool = False
) -> Rules:
    """Return the rules of muP for a model, from the same model at its base width.

    Each kernel and table is compared with the weight of the same name in the base. m is the fan_in of the model divided
    by the fan_in of the base:

    - both fans grow (hidden): the std of the base is divided by sqrt(m);
    - only fan_in grows (output): the std of the base is divided by m, or unchanged with `readout="multiplier"`;
    - only fan_out grows (input, tables), or no fan grows: the std of the base is unchanged.

    The parts of a fused tensor are compared one by one. No rule covers biases and scales. A table that
    is tied to the head counts as an input if its first name is the name of the table. The forward pass must then divide
    the output of the head by m. Attention logits must be divided by the width of an attention head, not by its square
    root. For the learning rates, call `initlib.mup_learning_rates`.

    Args:
        base: the plan of the model at its base width, or the parameters of that model. The rules scale the initializers
            of the plan.
        initializer: the initializer of every weight at the base width; by default the initializer in the base plan, or
            normal(std=0.02) if `base` is not a plan.
        readout: "weight" for a model without multipliers, "multiplier" for a model that divides the output of the head
            by m in the forward pass.
        zero_readout: True sets the head to 0 in models wider than the base. For a head of 0 at the base width too, make
            the base plan with the rule {"head.weight": zeros}.

    Returns:
        Rules for kernels, recurrent kernels and tables.

    Raises:
        TypeError: base is neither a plan nor made of parameters.
        ValueError: `readout` is not allowed.
        PlanError: `plan` raises PlanError if a name is not in the base, the number of axes differs, or the axes of a
            kernel are not known.

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
    weights = base_weights(base)
    default = initializer or normal(std=0.02)

    def rule(parameter: Parameter) -> Fill:
        weight = base_weight(weights, parameter, "recipes.mup")
        filling = weight.filling
        if isinstance(filling, Parts) and initializer is None:
            fillings = [rule if each is None or isinstance(each, Initializer) else each for each in filling.fillings]
            return replace(filling, fillings=tuple(fillings))
        own = initializer or (filling if isinstance(filling, Initializer) else default)
        role = role_of(parameter, weight)
        if role.name == "output" and zero_readout:
            return zeros
        factor = {"hidden": role.growth**-0.5, "output": 1 / role.growth if readout == "weight" else 1.0}
        return _scaled(own, parameter, weight, factor.get(role.name, 1.0))

    return {optional("*:kernel"): rule, optional("*:recurrent"): rule, optional("*:table"): rule}


def completep(base: Base, initializer: Initializer | None = None) -> Rules:
    """Return the rules of CompleteP: hidden weights have the std of the base, divided by sqrt(m).

    m is the fan_in of the model divided by the fan_in of the base. Tables and the head have the std of the base. The
    forward pass must divide the output of the head by m, and attention logits by the width of an attention head. The
    forward pass must also divide the output of each residual branch by depth**alpha. depth is the number of layers
    divided by the number of layers of the base. alpha is 1 for CompleteP, and 0.5 for depth-muP. For the optimizer,
    call `initlib.mup_learning_rates` with `readout="multiplier"`, `depth`, `alpha` and `blocks`.

    Args:
        base: the plan of the same model at the base width, with unchanged depth; or the parameters of that model.
        initializer: the initializer of every weight at the base width; by default as for `mup`.

    Returns:
        Rules for kernels, recurrent kernels and tables.

    Raises:
        TypeError: base is neither a plan nor made of parameters.
        PlanError: as for `mup`.

    Example:
        >>> hidden = [Parameter("h.weight", (width, width), axes="OI", kind="kernel") for width in (64, 256)]
        >>> completep(hidden[:1])["*:kernel"](hidden[1]).std((256, 256), "OI")
        0.01

    Reference:
        Dey et al. Don't be lazy: CompleteP enables compute-efficient deep transformers, table 1. 2025.
        arXiv:2505.01618.
    """
    return mup(base, initializer, readout="multiplier")


def _scaled(own: Initializer, parameter: Parameter, weight: BaseWeight, factor: float) -> Initializer:
    """Return the initializer with `factor` times the std that it has at the base's shape."""
    base_std = own.std(weight.shape, weight.axes or parameter.axes)
    std = own.std(parameter.shape, parameter.axes)
    if not (math.isfinite(base_std) and std > 0):
        return own  # constants, and distributions that do not depend on the shape
    factor *= base_std / std
    return own if abs(factor - 1) < 1e-12 else own * factor
