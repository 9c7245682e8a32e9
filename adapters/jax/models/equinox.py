"""Equinox's layers: the role of each array of a layer, by the name of its class, without importing Equinox."""

import math
from collections.abc import Callable
from typing import Any

from initlib.adapters.common import roles
from initlib.axes import parse


def _convolution(layer: Any) -> roles.Roles:
    axes = f"{roles.packed(layer.groups)}I{roles.field(len(layer.kernel_size))}"
    return {"weight": roles.kernel(axes), "bias": roles.BIAS}


def _cell(axes: str) -> roles.Roles:
    recurrent = roles.ParameterRole(axes, "recurrent")
    return {"weight_ih": roles.kernel(axes), "weight_hh": recurrent, "bias": roles.BIAS, "bias_n": roles.BIAS}


NORM = {"weight": roles.SCALE, "bias": roles.BIAS}
LAYERS: dict[str, roles.Roles | Callable[[Any], roles.Roles]] = {
    "Linear": {"weight": roles.kernel("OI"), "bias": roles.BIAS},
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Embedding": {"weight": roles.TABLE},
    "GRUCell": _cell("(3 O)I"),
    "LSTMCell": _cell("(4 O)I"),
    **dict.fromkeys(("LayerNorm", "RMSNorm", "GroupNorm", "BatchNorm"), NORM),
}


def _name(owner: Any) -> str | None:
    """Return the name of the first class of Equinox that is known."""
    classes = (cls for cls in type(owner).__mro__ if cls.__module__.startswith("equinox.nn."))
    return next((cls.__name__ for cls in classes if cls.__name__ in LAYERS), None)


def equinox_roles(owner: Any, ndim: int, name: str) -> roles.Roles:
    """Return the role of an array of a layer under its name; none for another object.

    In a stack that `filter_vmap` made, and `stack=` does not undo, the roles of the axes are not known.
    """
    layer = LAYERS.get(_name(owner) or "", {})
    role = (layer(owner) if callable(layer) else layer).get(name)
    if role is None:
        return {}
    fits = role.axes is None or len(parse(role.axes)) == ndim
    return {name: role if fits else role._replace(axes=None)}


def bias_bound(owner: Any) -> float | None:
    """Return the bound of the uniform distribution from which the constructor draws biases; None of another object."""
    name = _name(owner)
    if name in ("GRUCell", "LSTMCell"):
        fan = owner.hidden_size
    elif name == "Linear":
        fan = 1 if owner.in_features == "scalar" else owner.in_features
    elif name in ("Conv", "ConvTranspose"):
        fan = owner.in_channels // owner.groups * math.prod(owner.kernel_size)
    else:
        return None
    return 1 / math.sqrt(fan) if fan else None
