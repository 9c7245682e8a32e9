"""Observer of a skeleton's constructors: which tensors they draw, and which tensors they set to which values.

Weights on the meta device have no values to read. So there is no plainer way than to observe the operations.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from initlib.plans.rules.regularity import constant_of

from .._private import IS_META, OperationMode, is_observed, storage_key, storage_ref
from .constructor_values import read

SETTING = ("zeros_", "ones_", "constant_", "eye_", "dirac_")  # functions of this adapter that draw nothing
CONSTANT = ("zero_", "fill_")
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
        self._origins: dict[int, Origin | None] = {}  # by the key of the storage
        self._storages: dict[int, Any] = {}  # references, as long as which no other storage gets the key
        self._modes = ExitStack()

    def __enter__(self) -> "ConstructorObserver":
        self._modes.enter_context(_Functions(self))
        self._modes.enter_context(_Operations(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._modes.close()

    def origin(self, tensor: Tensor) -> Origin | None:
        """Return the origin of a tensor's values; None where they can be read and no random call made them."""
        return self._origins.get(storage_key(tensor))

    def _note(self, tensor: Tensor, origin: Origin | None) -> None:
        key = storage_key(tensor)
        if key not in self._storages:
            self._storages[key] = storage_ref(tensor)
        self._origins[key] = origin

    def moved(self, tensor: Tensor, empty: Tensor) -> None:
        """Note that an empty tensor on the meta device takes the place of a tensor."""
        self._note(empty, self.origin(tensor) or origin_of(tensor))

    def wrote(self, name: str, target: Tensor, sources: list[Tensor], random: bool, args: Any) -> None:
        """Note an operation that wrote to a tensor."""
        self._note(target, self._after(name, target, sources, random, args))

    def _after(self, name: str, target: Tensor, sources: list[Tensor], random: bool, args: Any) -> Origin | None:
        before = self.origin(target)
        origins = list(map(self.origin, sources))
        if random or any(each is not None and each.drawn for each in origins):
            computed = any(each is not None and each.computed for each in origins)
            return COMPUTED if computed else DRAWN
        full = target.numel() * target.itemsize == target.untyped_storage().nbytes()
        if full and name in (*CONSTANT, "copy_"):
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
        if storage_key(result) in map(storage_key, sources):
            return  # a view
        origins = [origin for origin in map(self.origin, sources) if origin is not None]
        if name.startswith(("empty", "new_empty")):
            self._note(result, UNKNOWN)
        elif name in COPYING and origins:
            self._note(result, origins[0])
        elif random or any(origin.drawn for origin in origins) or (result.is_meta and origins):
            computed = result.is_meta and any(each.is_meta for each in sources)
            self._note(result, COMPUTED if computed else DRAWN)

    def missed(self, tensor: Tensor) -> None:
        """Note that a function may have left out a write because the tensor is on the meta device."""
        origin = self.origin(tensor)
        if origin is not None and not origin.drawn:
            self._note(tensor, UNKNOWN)


def _of_constant(name: str, constant: float, args: Any) -> Origin:
    """Return the origin of a constant after an operation in place, such as a scaling."""
    try:
        number = getattr(torch.full((1,), constant, dtype=torch.float64), name)(*args[1:])
        return Origin(constant=float(number))
    except (AttributeError, TypeError, RuntimeError, ValueError):
        return UNKNOWN


class _Operations(OperationMode):
    """A mode that reports every operation on tensors to an observer."""

    def __init__(self, observer: ConstructorObserver) -> None:
        super().__init__()
        self.observer = observer

    def __torch_dispatch__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        operation = _operation(func)
        sources = list(_plain(args))
        if operation.only_values and len(sources) == 1 and _computes_nothing(func, sources[0], args, kwargs or {}):
            result = sources[0]
        else:
            result = func(*args, **(kwargs or {}))
        name, random, out = operation.name, operation.random, (kwargs or {}).get("out")
        if isinstance(out, Tensor):
            self.observer.wrote("copy_", out, sources, random, args)
        elif operation.in_place and sources:
            for target in _plain(args[0]):  # several tensors of `torch._foreach_add_` and others
                self.observer.wrote(name, target, list(_plain(args[1:])), random, args)
        else:
            for each in _plain(result):
                self.observer.made(name, each, sources, random)
        return result


class _Operation(NamedTuple):
    """Facts about an operation."""

    name: str
    random: bool
    in_place: bool  # it writes to its first argument
    only_values: bool  # it changes nothing but the values of its first argument


@lru_cache(maxsize=1024)
def _operation(func: Any) -> _Operation:
    name, tags = func.__name__.partition(".")[0], func.tags
    random, in_place = torch.Tag.nondeterministic_seeded in tags, name.endswith("_")
    only_values = in_place and (random or torch.Tag.pointwise in tags or name in CONSTANT)
    return _Operation(name, random, in_place, only_values)


def _computes_nothing(func: Any, target: Tensor, args: Any, kwargs: Any) -> bool:
    """Return whether an operation on the values of a tensor can be left out, as no error and no mode depends on it.

    On the meta device, PyTorch computes nothing in more time than a draw of a small weight takes.
    """
    if target is not args[0] or not target.is_meta or not target.is_floating_point() or is_observed():
        return False
    try:
        func(_empty(target.dtype), *args[1:], **{name: each for name, each in kwargs.items() if name != "generator"})
    except (RuntimeError, TypeError, ValueError):
        return False  # the arguments may be errors on the meta device too
    return True


@lru_cache
def _empty(dtype: torch.dtype) -> Tensor:
    """Return a tensor without items, in which an operation checks its arguments and draws nothing."""
    return torch.empty(0, dtype=dtype, device="cpu")


class _Functions(TorchFunctionMode):
    """A mode that reports functions whose draws are no operations on the tensor to an observer."""

    def __init__(self, observer: ConstructorObserver) -> None:
        super().__init__()
        self.observer = observer

    def __torch_function__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs) if kwargs else func(*args)
        report = _report(func)
        if report is not None and (tensor := next(_plain(args), None)) is not None:
            report(self.observer, tensor, args)
        return result


Report = Callable[[ConstructorObserver, Tensor, Any], None]


@lru_cache(maxsize=1024)
def _report(func: Any) -> Report | None:
    """Return how an observer notes a call of a function; None for a function that the operations show."""
    if func == IS_META:
        # `torch.nn.init.trunc_normal_` and other functions call this, and then draw nothing.
        return lambda observer, tensor, args: observer.missed(tensor)
    own = getattr(func, "ours", func)
    name = getattr(own, "__name__", "")
    if (getattr(own, "__module__", None) or "").startswith("initlib.") and name not in SETTING:
        return lambda observer, tensor, args: observer.wrote(name, tensor, [], True, args)
    return None


def _plain(value: object) -> Iterator[Tensor]:
    """Yield the tensors in arguments or results that have a storage of their own."""
    if isinstance(value, Tensor):
        if type(value).__torch_dispatch__ is Tensor.__torch_dispatch__ and value.layout is torch.strided:
            yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _plain(each)
