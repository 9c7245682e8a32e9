"""The base class of dataclasses whose fields are set once, and that compare and hash by their fields.

The base class exists because `dataclass(frozen=True)` compiles these methods anew for each scheme: `import initlib`
beyond NumPy then takes 12.8 ms of CPU time in place of 10.1 (least of 40 interleaved starts each, on one machine). A
scheme is a `dataclass(repr=False, eq=False)`.
"""

from dataclasses import FrozenInstanceError
from typing import Any


class Frozen:
    """The base of immutable dataclasses."""

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
