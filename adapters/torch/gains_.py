"""The gains of `torch.nn.init`, and of the activations that it has none for."""

from typing import Any

from torch.nn.init import calculate_gain as theirs

from initlib._public import public
from initlib.gains import gain

# What `param` is to the activations that PyTorch has no gain for; others ignore it, as there.
ARGUMENTS = {"celu": "alpha", "elu": "alpha", "prelu": "slope", "silu": "beta", "sin": "w0", "softplus": "beta"}


@public("initlib.adapters.torch")
def calculate_gain(nonlinearity: Any, param: float | None = None) -> float:
    """Return PyTorch's gain of an activation where it has one, and `initlib.gain` of every other.

    >>> calculate_gain("leaky_relu", 0.2)
    1.3867504905630728
    >>> round(calculate_gain("gelu"), 10)
    1.5335304412

    Raises ValueError for an activation that neither knows.
    """
    try:
        return theirs(nonlinearity, param)
    except ValueError:
        if nonlinearity == "leaky_relu":
            raise
    given: dict[str, Any] = {}
    if param is not None and nonlinearity in ARGUMENTS:
        given[ARGUMENTS[nonlinearity]] = param
    try:
        return gain(nonlinearity, **given)
    except ValueError as error:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}: {error}") from None
