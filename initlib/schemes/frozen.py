"""Schemes: dataclasses whose fields are set once, that compare and hash by their fields, and that have a public name.

`Frozen` exists because `dataclass(frozen=True)` compiles these methods anew for each scheme: `import initlib`
beyond NumPy then takes 12.8 ms of CPU time in place of 10.1 (least of 40 interleaved starts each, on one machine). A
scheme is a `dataclass(repr=False, eq=False)`, which `scheme` makes of a class.
"""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

from .._public import public

if TYPE_CHECKING:
    from .initializer import Initializer

Scheme = TypeVar("Scheme", bound="type[Initializer]")


class Frozen:
    """Base of immutable dataclasses."""

    __slots__ = ("_hash",)  # computed once: plans and draws look initializers up by their hash
    _hash: int

    def __setattr__(self, name: str, value: Any) -> None:
        declared = getattr(self, "__dataclass_fields__", None)
        if declared is not None and (name in vars(self) or name not in declared):
            raise FrozenInstanceError(f"{self!r} is immutable: {name} cannot be set")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"{self!r} is immutable: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return vars(other) == vars(self) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            object.__setattr__(self, "_hash", hash(tuple(vars(self).values())))
        return self._hash

    def __getstate__(self) -> dict[str, Any]:
        return vars(self)  # without the hash, which is another one in another process


def set_fields(instance: Frozen, **values: Any) -> None:
    """Set fields to values that `__init__` or `__post_init__` has checked."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


# The initializers that a file or a command line can name: no other class is ever made from text.
FACTORIES: "dict[str, type[Initializer]]" = {}


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def scheme(
    name: str, *, init: bool = True, is_public: bool = True, proportional_to: str | None = None
) -> Callable[[Scheme], Scheme]:
    """Return a decorator that makes a class a scheme with a public name; `init=False` keeps its own `__init__`.

    Every weight is a multiple of the argument `proportional_to`, if any.
    """

    def decorate(cls: Scheme) -> Scheme:
        cls.factory, cls.proportional_to = name, proportional_to
        FACTORIES[name] = dataclass(repr=False, eq=False, init=init)(cls)
        return public("initlib", name)(cls) if is_public else cls

    return decorate
