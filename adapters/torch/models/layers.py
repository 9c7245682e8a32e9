"""Layers: the axes, the kind and the usual fill of each parameter of a module."""

from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple, TypeVar

from torch import nn
from torch.nn.parameter import is_lazy

from initlib import constant, ones, zeros
from initlib._public import public
from initlib.adapters.common.roles import TABLE, Declarations, ParameterRole, Roles, Table, field, kernel, packed
from initlib.axes import parse

from .._private import own_parameters
from .known_classes import known_class

# A wrapper derives a class from the class of a module while the program runs, and puts a prefix before the name.
PREFIXES = ("Parametrized", "FSDP", "Replicate", "DDP")

KERNEL = kernel("OI")
BIAS = ParameterRole(None, "bias", zeros)
SCALE = ParameterRole(None, "scale", ones)

Module = TypeVar("Module", bound=type[nn.Module])


def _convolution(module: Any) -> Roles:
    """Return the roles of a convolution, whose groups are packed into the first stored axis."""
    first, second = "IO" if module.transposed else "OI"
    axes = packed(module.groups, first) + second + field(len(module.kernel_size))
    return {"weight": kernel(axes), "bias": BIAS}


def _recurrent(module: Any) -> Roles:
    """Return the roles of weight_ih_l0, weight_hh_l0_reverse, …: the gates are packed into the first stored axis."""
    mode = getattr(module, "mode", "")
    count = 4 if mode == "LSTM" or isinstance(module, nn.LSTMCell) else 1
    count = 3 if mode == "GRU" or isinstance(module, nn.GRUCell) else count
    axes = f"{packed(count)}I"
    by_name = {
        "weight_ih": kernel(axes),
        "weight_hh": ParameterRole(axes, "recurrent"),
        "weight_hr": KERNEL,
        "bias_ih": BIAS,
        "bias_hh": BIAS,
    }
    ends = [f"_l{layer}{way}" for layer in range(getattr(module, "num_layers", 0)) for way in ("", "_reverse")] or [""]
    return {f"{name}{end}": role for name, role in by_name.items() for end in ends}


TOKEN = ParameterRole("BIO", "table")  # an extra key or value for all inputs
ATTENTION = {
    "in_proj_weight": kernel("(3 O)I"),
    "q_proj_weight": KERNEL,
    "k_proj_weight": KERNEL,
    "v_proj_weight": KERNEL,
    "in_proj_bias": BIAS,
    "bias_k": TOKEN,
    "bias_v": TOKEN,
}
NORM = {"weight": SCALE, "bias": BIAS}
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WITH_STATISTICS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
TORCH: Table = {
    nn.Linear: {"weight": KERNEL, "bias": BIAS},
    nn.Bilinear: {"weight": kernel("OII"), "bias": BIAS},
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    nn.Embedding: {"weight": TABLE},
    nn.EmbeddingBag: {"weight": TABLE},
    nn.RNNBase: _recurrent,
    nn.RNNCellBase: _recurrent,
    nn.MultiheadAttention: ATTENTION,
    **dict.fromkeys(WITH_STATISTICS, NORM),
    **dict.fromkeys((nn.LayerNorm, nn.GroupNorm, nn.RMSNorm), NORM),
    nn.PReLU: lambda module: {"weight": ParameterRole(None, "other", constant(module.init))},
}

_declared = Declarations()


@public("initlib.adapters.torch")
def declare(cls: Module, /, **axes: str) -> Module:
    """Declare the roles of the axes of a module's parameters, for all later plans.

    A module or its class may instead have an attribute `initlib_axes = {"up": "BIO"}`.

    Args:
        cls: a class of `torch.nn.Module`; its subclasses inherit the declaration.
        **axes: the axes string of each parameter, by the parameter's name in the module. I is an input axis, O is an
            output axis, and B is a stack of independent kernels (see `initlib.fans`).

    Returns:
        The class.

    Raises:
        TypeError: `cls` is not a class of modules, or a value is not a string.
        ValueError: a string is not a valid axes string.

    Example:
        >>> import torch
        >>> class Experts(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.up = torch.nn.Parameter(torch.empty(8, 64, 256))
        >>> declare(Experts, up="BIO") is Experts
        True
    """
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise TypeError(f"cls must be a class of torch.nn.Module, got {cls!r}")
    _declared.add(cls, axes)
    return cls


def own_class(module: nn.Module) -> type:
    """Return the module's class, without the classes that wrappers derive from it."""
    cls: type = type(module)
    return _unwrapped(cls)


@lru_cache(maxsize=1024)
def _unwrapped(cls: type) -> type:
    while any(cls.__name__ == prefix + cls.__bases__[-1].__name__ for prefix in PREFIXES):
        cls = cls.__bases__[-1]
    return cls


def is_fsdp(module: nn.Module) -> bool:
    """Return whether `fully_shard` has sharded the module, which gathers its weights only while it runs."""
    return any(cls.__name__ == "FSDPModule" for cls in type(module).__mro__)


def is_torch(module: nn.Module) -> bool:
    """Return whether the module is of a class of `torch.nn` with known roles, or of a subclass.

    The constructors of these classes fill their parameters in place.
    """
    return torch_base(own_class(module)) is not None


@lru_cache(maxsize=1024)
def torch_base(cls: type) -> type | None:
    """Return the first class of `torch.nn` with known roles among the bases of a class."""
    return next((base for base in cls.__mro__ if base in TORCH), None)


def roles(module: nn.Module) -> Roles:
    """Return the known roles of the module's parameters, by name."""
    return model_roles()(module)


def model_roles() -> Callable[[nn.Module], Roles]:
    """Return a function that returns the known roles of a module's parameters. Use one function for each model."""
    of_class = cache(_class_roles)  # not for later models, because a later call of `declare` may change the roles

    def roles_of(module: nn.Module) -> Roles:
        cls: type = type(module)
        stated = of_class(cls)
        by_name = stated.roles(module) if callable(stated.roles) else stated.roles
        if "initlib_axes" not in module.__dict__ and not stated.is_declared:
            return by_name
        names = (name for name, _ in module.named_parameters(recurse=False))
        return _declared.roles(own_class(module), module, by_name, lambda name: hasattr(module, name), names)

    return roles_of


class _ClassRoles(NamedTuple):
    """Facts about a class: the roles of its parameters, and whether the user has stated axes for the class."""

    roles: Roles | Callable[[Any], Roles]  # a function of the module, if the roles differ between modules
    is_declared: bool


def _class_roles(derived: type) -> _ClassRoles:
    cls = _unwrapped(derived)
    base = torch_base(cls)
    stated = partial(_of_known_class, cls) if base is None else TORCH[base]
    return _ClassRoles(stated, hasattr(cls, "initlib_axes") or _declared.has(cls))


def _of_known_class(cls: type, module: nn.Module) -> Roles:
    """Return the roles of a class of another library. Parameters with another number of axes have no known axes."""
    known_axes = known_class(cls)
    if known_axes is None:
        return {}
    shapes = {name: tuple(p.shape) for name, p in own_parameters(module).items() if not is_lazy(p)}
    by_name = {name: ParameterRole(None, "scale") for name in known_axes.scales}
    for name, axes in known_axes.axes.items():
        if len(shapes.get(name, ())) == len(parse(axes)):
            by_name[name] = kernel(axes)
    return by_name
