"""Observer of a skeleton's constructors: which tensors they draw, and which tensors they set to which values.

Weights on the meta device have no values to read. So there is no plainer way than to observe the operations.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from initlib.plans.rules.regularity import constant_of

from .._private import StorageRef, TorchDispatchMode, is_meta, storage_ref
from .constructor_values import read

SETTING = ("zeros_", "ones_", "constant_", "eye_", "dirac_")  # functions of this adapter that draw nothing
COPYING = ("clone", "_to_copy", "lift_fresh", "alias", "detach")


class Origin(NamedTuple):
    """Origin of the values of one storage.

    A storage without an origin has readable values that no random call made.
    """

    drawn: bool = False  # by a random call, or computed from such values
    computed: bool = False  # computed from weights on the meta device
    constant: float | None = None  # on the meta device: every weight has this value
    values: Tensor | None = None  # on the meta device: the values that were copied


UNKNOWN = Origin()  # fresh memory, or memory to which the observer missed a write
DRAWN = Origin(drawn=True)
COMPUTED = Origin(drawn=True, computed=True)


def origin_of(values: Tensor) -> Origin:
    """Return the origin of readable values that no random call made."""
    number = constant_of(read(values, ...)) if values.numel() and values.is_floating_point() else None
    if number is None:
        return Origin(values=values.detach().clone())
    return Origin(constant=number)


class ConstructorObserver:
    """Observe the operations on all tensors of this thread while it is entered."""

    def __init__(self) -> None:
        self.origins: dict[StorageRef, Origin | None] = {}
        self._modes = ExitStack()

    def __enter__(self) -> "ConstructorObserver":
        self._modes.enter_context(_Functions(self))
        self._modes.enter_context(_Operations(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self._modes.close()

    def origin(self, tensor: Tensor) -> Origin | None:
        """Return the origin of a tensor's values; None where they can be read and no random call made them."""
        return self.origins.get(storage_ref(tensor))

    def moved(self, tensor: Tensor, empty: Tensor) -> None:
        """Note that an empty tensor on the meta device takes the place of a tensor."""
        origin = self.origin(tensor)
        self.origins[storage_ref(empty)] = origin_of(tensor) if origin is None else origin

    def wrote(self, name: str, target: Tensor, sources: list[Tensor], random: bool, args: Any) -> None:
        """Note an operation that wrote to a tensor."""
        before = self.origin(target)
        self.origins[storage_ref(target)] = self._after(name, target, sources, random, args, before)

    def _after(
        self, name: str, target: Tensor, sources: list[Tensor], random: bool, args: Any, before: Origin | None
    ) -> Origin | None:
        origins = list(map(self.origin, sources))
        if random or any(each is not None and each.drawn for each in origins):
            computed = any(each is not None and each.computed for each in origins)
            return COMPUTED if computed else DRAWN
        full = target.numel() * target.itemsize == target.untyped_storage().nbytes()
        if full and name in ("zero_", "fill_", "copy_"):
            if not target.is_meta:
                return None
            if name == "copy_":
                source = sources[0] if sources else target
                return UNKNOWN if source.is_meta else origin_of(source.expand(target.shape))
            value = 0.0 if name == "zero_" else args[1]
            return Origin(constant=float(value)) if isinstance(value, (int, float)) else UNKNOWN
        if not target.is_meta:
            return before if before is not None and before.drawn else None
        if before is None or before.drawn:
            return before
        if before.constant is not None and full and not sources:
            return _of_constant(name, before.constant, args)
        same = name == "zero_" and before.constant == 0
        return before if same else UNKNOWN

    def made(self, name: str, result: Tensor, sources: list[Tensor], random: bool) -> None:
        """Note an operation that made a tensor."""
        key = storage_ref(result)
        if key in {storage_ref(each) for each in sources}:
            return  # a view
        origins = [origin for origin in map(self.origin, sources) if origin is not None]
        if name.startswith(("empty", "new_empty")):
            self.origins[key] = UNKNOWN
        elif name in COPYING and origins:
            self.origins[key] = origins[0]
        elif random or any(origin.drawn for origin in origins) or (result.is_meta and origins):
            computed = result.is_meta and any(each.is_meta for each in sources)
            self.origins[key] = COMPUTED if computed else DRAWN

    def missed(self, tensor: Tensor) -> None:
        """Note that a function may have left out a write because the tensor is on the meta device."""
        origin = self.origin(tensor)
        if origin is not None and not origin.drawn:
            self.origins[storage_ref(tensor)] = UNKNOWN


def _of_constant(name: str, constant: float, args: Any) -> Origin:
    """Return the origin of a constant after an operation in place, such as a scaling."""
    try:
        number = getattr(torch.full((1,), constant, dtype=torch.float64), name)(*args[1:])
        return Origin(constant=float(number))
    except (AttributeError, TypeError, RuntimeError, ValueError):
        return UNKNOWN


class _Operations(TorchDispatchMode):  # type: ignore[misc]  # a private class of PyTorch
    """A mode that reports every operation on tensors to an observer."""

    def __init__(self, observer: ConstructorObserver) -> None:
        super().__init__()
        self.observer = observer

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.__name__.partition(".")[0]
        random = torch.Tag.nondeterministic_seeded in func.tags
        out = (kwargs or {}).get("out")
        sources = list(_plain(args))
        if isinstance(out, Tensor):
            self.observer.wrote("copy_", out, sources, random, args)
        elif name.endswith("_") and sources:
            self.observer.wrote(name, sources[0], sources[1:], random, args)
        else:
            for each in _plain(result):
                self.observer.made(name, each, sources, random)
        return result


class _Functions(TorchFunctionMode):
    """A mode that reports functions whose draws are no operations on the tensor to an observer."""

    def __init__(self, observer: ConstructorObserver) -> None:
        super().__init__()
        self.observer = observer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensor = next(_plain(args), None)
        own = getattr(func, "ours", func)
        name = getattr(own, "__name__", "")
        if tensor is None:
            return result
        if (getattr(own, "__module__", None) or "").startswith("initlib.") and name not in SETTING:
            self.observer.wrote(name, tensor, [], True, args)
        elif func == is_meta:
            # `torch.nn.init.trunc_normal_` and other functions call this, and then draw nothing.
            self.observer.missed(tensor)
        return result


def _plain(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in arguments or results that have a storage of their own."""
    if isinstance(value, Tensor):
        if type(value).__torch_dispatch__ is Tensor.__torch_dispatch__ and value.layout is torch.strided:
            yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _plain(each)
