"""Roles of tensors in their modules, from an adapter's table or a declaration."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from initlib import he_uniform, zeros
from initlib.axes import check, parse
from initlib.plans.fills.values import Fill


class ParameterRole(NamedTuple):
    """Axes, kind and default fill of a tensor of a module."""

    axes: str | None
    kind: str
    default: Fill | None = None


Roles = dict[str, ParameterRole]
Table = Mapping[type, Roles | Callable[[Any], Roles]]

UNKNOWN = ParameterRole(None, "other")
BUFFER = ParameterRole(None, "buffer")
BIAS = ParameterRole(None, "bias")
SCALE = ParameterRole(None, "scale")
KERNEL = ParameterRole("IO", "kernel")
TABLE = ParameterRole("IO", "table")  # one row for each input
# The product of LoRA's two matrices, which is zero at first, is added to a kernel.
LORA_A = ParameterRole("IO", "kernel", he_uniform)
LORA_B = ParameterRole("IO", "other", zeros)


def kernel(axes: str) -> ParameterRole:
    """Return the role of a kernel with these axes."""
    return ParameterRole(axes, "kernel")


def field(ndim: int) -> str:
    """Return the letters of the receptive field of a convolution, of one to three axes."""
    return "DHW"[-ndim:]


def packed(count: int, letter: str = "O") -> str:
    """Return the token of an axis that packs a kernel for each of `count` groups or gates."""
    return f"({count} {letter})" if count > 1 else letter


def of_class(table: Table, cls: type, module: Any) -> Roles | None:
    """Return the roles that a table has for a class or its nearest base class; None if the table has neither."""
    roles = next((table[base] for base in cls.__mro__ if base in table), None)
    return roles(module) if callable(roles) else roles


class Declarations:
    """Axes that `declare` has stated for classes.

    >>> declared = Declarations()
    >>> class Experts:
    ...     up = None
    >>> declared.add(Experts, {"up": "BIO"})
    >>> declared.roles(Experts, Experts(), {}, lambda name: hasattr(Experts, name), ["up"])
    {'up': ParameterRole(axes='BIO', kind='kernel', default=None)}
    """

    def __init__(self) -> None:
        self._axes: dict[type, dict[str, str]] = {}
        self._unknown: dict[type, set[str]] = {}  # names that the class lacks, which the next call removes

    def add(self, cls: type, axes: Mapping[str, str]) -> None:
        """Declare the axes of a class's tensors. Raises TypeError or ValueError."""
        for name, value in axes.items():
            _check(cls, name, value)
        unknown = self._unknown.pop(cls, set())
        known = {name: value for name, value in self._axes.get(cls, {}).items() if name not in unknown}
        self._axes[cls] = {**known, **axes}

    def has(self, cls: type) -> bool:
        """Return whether axes are declared for tensors of the class."""
        return bool(self._axes) and not self._axes.keys().isdisjoint(cls.__mro__)

    def roles(
        self, cls: type, owner: Any, table_roles: Roles, has: Callable[[str], bool], names: Iterable[str]
    ) -> Roles:
        """Return the roles of the owner's tensors, from a table, the attribute `initlib_axes`, and declarations.

        `has` returns whether the owner has a tensor of a name. The error lists `names`, the names of all tensors.
        """
        stated: dict[str, str] = dict(getattr(owner, "initlib_axes", {}))
        for base in reversed(cls.__mro__):
            stated.update(self._axes.get(base, {}))
        roles = dict(table_roles)
        for name, axes in stated.items():
            _check(cls, name, axes)
            if not has(name):
                declared = next((base for base in cls.__mro__ if name in self._axes.get(base, {})), None)
                if declared is None:
                    place = f"the attribute initlib_axes of {cls.__name__}"
                else:
                    place = f"the call declare({declared.__name__}, {name}={axes!r})"
                    self._unknown.setdefault(declared, set()).add(name)
                raise ValueError(
                    f"declared axes must be for parameters of {cls.__name__} ({', '.join(names) or 'none'}), got "
                    f"{name!r}. Correct {place}"
                )
            letters = {token.letter for token in parse(axes)}
            guess = ParameterRole(axes, "kernel" if {"I", "O"} <= letters else "other")
            roles[name] = table_roles[name]._replace(axes=axes) if name in table_roles else guess
        return roles


def _check(cls: type, name: str, axes: str) -> None:
    try:
        check(axes)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{cls.__name__}.{name}: {error}") from None
