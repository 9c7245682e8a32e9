"""PyTorch's own defaults, as in the `reset_parameters` methods of its modules."""

import math
import re
from collections.abc import Callable, Iterable

from ..plans.parameter import Parameter
from ..schemes._constant import zeros
from ..schemes._normal import normal
from ..schemes._uniform import uniform
from ..schemes.initializer import Initializer
from .rules import Rules

Shapes = dict[str, tuple[int, ...]]  # of a module's parameters, by attribute


def torch_default(parameters: Iterable[Parameter]) -> Rules:
    """Return the rules of PyTorch's own defaults, for all modules of `torch.nn` that draw their parameters.

    A class of another library gets no rule, even if a class of PyTorch has the same name. The fans are PyTorch's fans,
    which differ from the fans of the layer for packed queries, keys and values, and for transposed convolutions.

    Args:
        parameters: the parameters of a model. `rules=` may be this function itself, alone or in a list after your own
            rules.

    Returns:
        Rules by pattern, for `rules=`.

    Example:
        >>> linear = [
        ...     Parameter("fc.weight", (10, 64), axes="OI", kind="kernel", owner="Linear"),
        ...     Parameter("fc.bias", (10,), kind="bias", owner="Linear"),
        ... ]
        >>> [rule.bounds((10, 64)) for rule in torch_default(linear).values()]  # both within 1 / sqrt(fan_in)
        [(-0.125, 0.125), (-0.125, 0.125)]

    Reference:
        The `reset_parameters` methods of PyTorch's modules.
    """
    modules: dict[str, list[tuple[Parameter, str, str]]] = {}
    for parameter in parameters:
        for name in parameter.names:
            module, _, attribute = name.rpartition(".")
            modules.setdefault(module, []).append((parameter, name, attribute))
    rules: Rules = {}
    for held in modules.values():
        shapes = {attribute: parameter.shape for parameter, _, attribute in held}
        for parameter, name, attribute in held:
            value = parameter.constructor
            owner = parameter.owner if value is None else value.draws_like  # by hand: the name is all there is
            initializer = constructor_distribution(owner or "", attribute, shapes)
            if initializer is not None:
                rules[re.compile(re.escape(name))] = initializer
    return rules


def constructor_distribution(owner: str, attribute: str, shapes: Shapes) -> Initializer | None:
    """Return the distribution from which a class of `torch.nn` draws a parameter; None where it draws none.

    >>> constructor_distribution("Linear", "bias", {"weight": (10, 64), "bias": (10,)})
    uniform(low=-0.125, high=0.125)
    """
    make = _OWNERS.get(owner)
    return None if make is None else make(attribute, shapes)


Default = Callable[[str, Shapes], Initializer | None]  # of one attribute of a module


def _within(bound: float) -> Initializer:
    return uniform(-bound, bound)


def _linear(attribute: str, shapes: Shapes) -> Initializer | None:
    fan_in = math.prod(shapes.get("weight", (0, 0))[1:])  # as PyTorch counts it
    return _within(fan_in**-0.5) if fan_in and attribute in ("weight", "bias") else None


def _embedding(attribute: str, shapes: Shapes) -> Initializer | None:
    return normal() if attribute == "weight" else None


def _recurrent(gates: int) -> Default:
    def default(attribute: str, shapes: Shapes) -> Initializer | None:
        first = next(shape for name, shape in shapes.items() if name.startswith("weight_ih"))
        return _within((first[0] // gates) ** -0.5)

    return default


def _attention(attribute: str, shapes: Shapes) -> Initializer | None:
    shape = shapes[attribute]
    if attribute.endswith("proj_weight"):
        return _within(math.sqrt(6 / (shape[0] + shape[1])))
    if attribute in ("bias_k", "bias_v"):
        return normal(std=shape[-1] ** -0.5)
    return zeros if attribute == "in_proj_bias" else None


_OWNERS: dict[str, Default] = {
    **dict.fromkeys(["Linear", *(f"Conv{t}{d}d" for t in ("", "Transpose") for d in (1, 2, 3))], _linear),
    **dict.fromkeys(["Embedding", "EmbeddingBag"], _embedding),
    **{
        f"{name}{cell}": _recurrent(gates)
        for name, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4))
        for cell in ("", "Cell")
    },
    "Bilinear": lambda attribute, shapes: _within(shapes["weight"][1] ** -0.5),
    "MultiheadAttention": _attention,
    # The last projection of an attention, whose bias the attention sets.
    "NonDynamicallyQuantizableLinear": lambda attribute, shapes: (
        zeros if attribute == "bias" else _linear(attribute, shapes)
    ),
}
