"""Equinox's layers: the role of each array of a layer, by the name of its class, without importing Equinox."""

import math
from collections.abc import Callable
from typing import Any

from initlib.adapters.common.roles import ParameterRole
from initlib.axes import parse

FIELD = "DHW"  # the letters of a convolution's kernel, of one to three axes
BIAS = ParameterRole(None, "bias")
SCALE = ParameterRole(None, "scale")

Roles = dict[str, ParameterRole]


def _linear(layer: Any) -> Roles:
    return {"weight": ParameterRole("OI", "kernel"), "bias": BIAS}


def _convolution(layer: Any) -> Roles:
    outputs = f"({layer.groups} O)" if layer.groups > 1 else "O"
    return {"weight": ParameterRole(f"{outputs}I{FIELD[-len(layer.kernel_size) :]}", "kernel"), "bias": BIAS}


def _cell(gates: str) -> Callable[[Any], Roles]:
    roles = {
        "weight_ih": ParameterRole(f"{gates}I", "kernel"),
        "weight_hh": ParameterRole(f"{gates}I", "recurrent"),
        "bias": BIAS,
        "bias_n": BIAS,
    }
    return lambda layer: roles


def _norm(layer: Any) -> Roles:
    return {"weight": SCALE, "bias": BIAS}


LAYERS: dict[str, Callable[[Any], Roles]] = {
    "Linear": _linear,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Embedding": lambda layer: {"weight": ParameterRole("IO", "table")},
    "GRUCell": _cell("(3 O)"),
    "LSTMCell": _cell("(4 O)"),
    **dict.fromkeys(("LayerNorm", "RMSNorm", "GroupNorm", "BatchNorm"), _norm),
}


def _name(owner: Any) -> str | None:
    """Return the name of the first class of Equinox that is known."""
    classes = (cls for cls in type(owner).__mro__ if cls.__module__.startswith("equinox.nn."))
    return next((cls.__name__ for cls in classes if cls.__name__ in LAYERS), None)


def equinox_roles(owner: Any, ndim: int, name: str) -> Roles:
    """Return the role of an array of a layer under its name; none for another object.

    In a stack that `filter_vmap` made, and `stack=` does not undo, the roles of the axes are not known.
    """
    layer = _name(owner)
    role = None if layer is None else LAYERS[layer](owner).get(name)
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
