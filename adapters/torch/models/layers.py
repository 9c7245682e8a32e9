"""Modules: what each parameter of a module means to it, hence its axes, its kind and its usual start."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from initlib import constant, ones, zeros
from initlib._public import public
from initlib.adapters.common.roles import Declarations, ParameterRole

# What wrappers put before the name of the class that they derive, while the program runs, from the module's own.
PREFIXES = ("Parametrized", "FSDP", "Replicate", "DDP")


UNKNOWN = ParameterRole(None, "other")
KERNEL = ParameterRole("OI", "kernel")
BIAS = ParameterRole(None, "bias", zeros)
SCALE = ParameterRole(None, "scale", ones)
TABLE = ParameterRole("IO", "table")  # a one-hot input times a matrix: a row for each input

Meanings = dict[str, ParameterRole]
Module = TypeVar("Module", bound=type[nn.Module])


def _linear(module: Any) -> Meanings:
    return {"weight": KERNEL, "bias": BIAS}


def _convolution(module: Any) -> Meanings:
    """A kernel a group: the groups are packed into the first stored axis, outputs or, transposed, inputs."""
    first, second = "IO" if module.transposed else "OI"
    if module.groups > 1:
        first = f"({module.groups} {first})"
    return {"weight": ParameterRole(first + second + "DHW"[-len(module.kernel_size) :], "kernel"), "bias": BIAS}


def _recurrent(module: Any) -> Meanings:
    """A matrix a gate, packed into the first stored axis: weight_ih_l0, weight_hh_l0_reverse and so on."""
    mode = getattr(module, "mode", "")
    count = 4 if mode == "LSTM" or isinstance(module, nn.LSTMCell) else 1
    count = 3 if mode == "GRU" or isinstance(module, nn.GRUCell) else count
    axes = "OI" if count == 1 else f"({count} O)I"
    meanings = {
        "weight_ih": ParameterRole(axes, "kernel"),
        "weight_hh": ParameterRole(axes, "recurrent"),
        "weight_hr": KERNEL,
    }
    meanings |= {"bias_ih": BIAS, "bias_hh": BIAS}
    ends = [f"_l{layer}{way}" for layer in range(getattr(module, "num_layers", 0)) for way in ("", "_reverse")] or [""]
    return {f"{name}{end}": meaning for name, meaning in meanings.items() for end in ends}


def _attention(module: Any) -> Meanings:
    token = ParameterRole("BIO", "table")  # one more key and value, the same for every input
    return {
        "in_proj_weight": ParameterRole("(3 O)I", "kernel"),
        "q_proj_weight": KERNEL,
        "k_proj_weight": KERNEL,
        "v_proj_weight": KERNEL,
        "in_proj_bias": BIAS,
        "bias_k": token,
        "bias_v": token,
    }


def _norm(module: Any) -> Meanings:
    return {"weight": SCALE, "bias": BIAS}


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
DRAWING_BIASES = (nn.Linear, nn.Bilinear, *CONVOLUTIONS, nn.RNNBase, nn.RNNCellBase)
WITH_STATISTICS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
TORCH: dict[type[nn.Module], Callable[[Any], Meanings]] = {
    nn.Linear: _linear,
    nn.Bilinear: lambda module: {"weight": ParameterRole("OII", "kernel"), "bias": BIAS},
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    nn.Embedding: lambda module: {"weight": TABLE},
    nn.EmbeddingBag: lambda module: {"weight": TABLE},
    nn.RNNBase: _recurrent,
    nn.RNNCellBase: _recurrent,
    nn.MultiheadAttention: _attention,
    **dict.fromkeys(WITH_STATISTICS, _norm),
    nn.LayerNorm: _norm,
    nn.GroupNorm: _norm,
    nn.RMSNorm: _norm,
    nn.PReLU: lambda module: {"weight": ParameterRole(None, "other", constant(module.init))},
}

# Modules of other packages, by what their class is called. Where a norm's scale starts, its name does not say:
# at 1 in most, at 0 in those that multiply by 1 + scale.
NAMED: tuple[tuple[re.Pattern[str], Meanings], ...] = (
    (re.compile("Conv1D"), {"weight": ParameterRole("IO", "kernel"), "bias": BIAS}),  # transformers' linear layer
    (re.compile(r".*Norm(\dd)?"), {name: ParameterRole(None, "scale") for name in ("weight", "scale", "gamma")}),
)

_declared = Declarations()


@public("initlib.adapters.torch")
def declare(cls: Module, /, **axes: str) -> Module:
    """Say what the axes of a module's parameters mean, for all plans from now on, and return the class.

    >>> import torch
    >>> class Experts(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.up = torch.nn.Parameter(torch.empty(8, 64, 256))
    >>> declare(Experts, up="BIO") is Experts
    True

    A module may say so itself, by an attribute of its class or of its own: `initlib_axes = {"up": "BIO"}`.
    Raises TypeError for what is no module class; ValueError for axes that are none.
    """
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise TypeError(f"cls must be a class of torch.nn.Module, got {cls!r}")
    _declared.add(cls, axes)
    return cls


def own_class(module: nn.Module) -> type:
    """The class that the module was written as, whatever wraps it."""
    cls = type(module)
    while any(cls.__name__ == prefix + cls.__bases__[-1].__name__ for prefix in PREFIXES):
        cls = cls.__bases__[-1]
    return cls


def is_fsdp(module: nn.Module) -> bool:
    """Whether `fully_shard` has sharded the module, whose weights are whole only while it runs."""
    return any(cls.__name__ == "FSDPModule" for cls in type(module).__mro__)


def is_torch(module: nn.Module) -> bool:
    """Whether PyTorch itself knows how the module's parameters start, and starts them in place."""
    return isinstance(module, tuple(TORCH))


def may_draw(module: nn.Module, name: str, value: float) -> bool:
    """Whether the parameter is a bias for which PyTorch's constructor of the module may have drawn that value."""
    if not isinstance(module, DRAWING_BIASES) or not name.startswith("bias"):
        return False
    weight = getattr(module, "weight", None)
    return abs(value) <= (1.0 if weight is None else weight.shape[1] ** -0.5)  # of a convolution it draws even less


def meanings(module: nn.Module) -> Meanings:
    """What is known of the module's parameters, by name."""
    cls = own_class(module)
    known: Meanings = {}
    for base in cls.__mro__:
        if base in TORCH:
            known = TORCH[base](module)
            break
    else:
        for pattern, named in NAMED:
            if pattern.fullmatch(cls.__name__):
                known = named
                break
    there = [name for name, _ in module.named_parameters(recurse=False)]
    return _declared.meanings(cls, module, known, lambda name: hasattr(module, name), there)
