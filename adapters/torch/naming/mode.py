"""Named: a model's own initialization code, with draws by the names of its parameters."""

import math
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from initlib import Initializer, Key, normal, uniform, zeros
from initlib._public import public
from initlib.plans.entry import Entry
from initlib.plans.rules.patterns import as_rename
from initlib.stream.boxes import box_index

from .._private import calculate_correct_fan, is_dtensor
from ..drawing.dispatch import Seed, key_of
from ..drawing.memory import DTYPES, has_no_storage
from ..models.fill import fill_box, fill_stored
from ..models.transformers import lifted
from ..more_init import fill_
from .call_stack import rejected, subject
from .lookup import Tensors


@public("initlib.adapters.torch")
@contextmanager
def named(module: nn.Module, seed: Seed = None, *, rename: Any = None, prefix: str = "") -> Iterator[None]:
    """Let a model's own initialization code draw by the names of its parameters.

    >>> from torch import nn
    >>> from initlib.adapters.torch import named
    >>> first, second = nn.Linear(3, 4), nn.Linear(4, 2)
    >>> model = nn.Sequential(first, second)
    >>> with named(model, seed=0):
    ...     first.reset_parameters()
    ...     second.reset_parameters()
    >>> before = first.weight.detach().clone()
    >>> with named(model, seed=0):
    ...     second.reset_parameters()
    ...     first.reset_parameters()
    >>> bool((first.weight == before).all())
    True

    The recipe stays the code's: `torch.nn.init`, `reset_parameters`, `weight.data.normal_()`, or the `init_weights` of
    transformers and timm. What each parameter gets is a function of the seed and its name, whatever the order, the
    device or the shards: the bits of `initialize` where that has the same rule. A slice of a parameter gets that box
    of the weight. What is drawn into no parameter, as in a formula, has the stream of the parameter or the module that
    the calling function is about, and a number in it; where that cannot be told, a warning says so.

    `seed`, `rename` and `prefix` are those of `initialize`. A `generator=` in the code stays in charge. The modules of
    transformers initialize themselves anew, and leave alone what was loaded from a checkpoint. Nothing is patched:
    other threads draw as ever. Raises RuntimeError for a draw into a part of a parameter that is no box of it, or that
    this rank cannot draw alone.
    """
    mode = NamedDrawMode(module, key_of(seed), as_rename(rename), prefix)
    with lifted(module), mode:
        yield


def _uniform(tensor: Tensor, a: float = 0.0, b: float = 1.0, **more: Any) -> tuple[Tensor, Initializer]:
    return tensor, uniform(more.get("from", a), more.get("to", b))


def _normal(tensor: Tensor, mean: float = 0.0, std: float = 1.0, **more: Any) -> tuple[Tensor, Initializer]:
    return tensor, normal(mean, std)


def _kaiming_std(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: Any = "leaky_relu") -> float:
    fan = calculate_correct_fan(tensor, mode)
    return nn.init.calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))  # 0 where there are no weights


def _kaiming_uniform(tensor: Tensor, *how: Any, generator: None = None, **more: Any) -> tuple[Tensor, Initializer]:
    bound = math.sqrt(3) * _kaiming_std(tensor, *how, **more)
    return tensor, uniform(-bound, bound)


def _kaiming_normal(tensor: Tensor, *how: Any, generator: None = None, **more: Any) -> tuple[Tensor, Initializer]:
    return tensor, normal(0.0, _kaiming_std(tensor, *how, **more))


# What draws into a tensor.
DrawParser = Callable[..., tuple[Tensor, Initializer]]
FILLING: dict[Any, DrawParser] = {Tensor.uniform_: _uniform, Tensor.normal_: _normal}
# Those of `torch.nn.init` that a mode sees, by name: transformers puts functions of its own in their place, to which
# PyTorch's then refer a mode. The others call one of these, or of those above.
INIT: dict[str, DrawParser] = {
    "uniform_": _uniform,
    "normal_": _normal,
    "kaiming_uniform_": _kaiming_uniform,
    "kaiming_normal_": _kaiming_normal,
}
# What makes a tensor of draws.
MAKING: dict[Any, Initializer] = {
    torch.rand: uniform(0.0, 1.0),
    torch.rand_like: uniform(0.0, 1.0),
    torch.randn: normal(),
    torch.randn_like: normal(),
}
# What the core has no law for: a generator of PyTorch's draws, which the stream seeds.
SEEDED = {
    *(torch.normal, torch.bernoulli, torch.multinomial, torch.poisson, torch.randint, torch.randperm),
    *(Tensor.random_, Tensor.bernoulli_, Tensor.cauchy_, Tensor.exponential_, Tensor.geometric_, Tensor.log_normal_),
}


OURS = "initlib.adapters.torch"
SUMMON = "draw in `summon_full_params` of FullyShardedDataParallel"


# Most of what a mode sees does not draw: functions written in C that are not among these.
BUILTIN = {type(Tensor.normal_), type(torch.rand), type(Tensor.is_meta.__get__)}  # type: ignore[attr-defined]
DRAWING = {*FILLING, *MAKING, *SEEDED}


def _copy_shards(tensor: Any, whole: Tensor, non_blocking: bool = False) -> Tensor:
    """Copy what a formula made, the same on every rank, to a DTensor: PyTorch refuses it."""
    from ..drawing.dtensor import shards

    whole = whole.broadcast_to(tensor.shape)
    for view, box in shards(tensor):
        view.copy_(whole[box_index(box)], non_blocking)
    torch.autograd.graph.increment_version(tensor)
    result: Tensor = tensor
    return result


def _is_drawn(tensor: Tensor) -> bool:
    """Whether it holds weights, of a dtype that is drawn here."""
    return tensor.dtype in DTYPES and not has_no_storage(tensor)


def _says_stream(kwargs: dict[str, Any]) -> bool:
    """Whether the arguments name a stream."""
    return kwargs.get("generator") is not None or kwargs.get("seed") is not None


_thread = threading.local()  # .depth: how many of these modes are active


class NamedDrawMode(TorchFunctionMode):
    """Sees every function of PyTorch that is called, and does itself what those do that draw."""

    def __init__(self, module: nn.Module, key: Key, new_name: Callable[[str], str], prefix: str) -> None:
        super().__init__()
        self.key, self.tensors = key, Tensors(module, new_name, prefix)
        self.counts: Counter[str] = Counter()  # of the draws of each stream that go to no parameter

    def __enter__(self) -> "NamedDrawMode":
        _thread.depth = getattr(_thread, "depth", 0) + 1
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        _thread.depth -= 1
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.copy_ and is_dtensor(args[0]) and not is_dtensor(args[1]):
            return _copy_shards(*args)
        if type(func) in BUILTIN and func not in DRAWING:
            return func(*args, **kwargs)
        if any(isinstance(each, torch.Generator) for each in args) or _says_stream(kwargs):
            return func(*args, **kwargs)
        ours = getattr(func, "ours", func)  # some show themselves as the function of PyTorch that they replace
        if isinstance(ours, FunctionType) and ours.__module__.startswith(OURS):
            said = {name: value for name, value in kwargs.items() if value is not None}
            return ours(*args, **(self._stream(ours, args, kwargs) | said))
        law = FILLING.get(func) or (INIT.get(func.__name__) if isinstance(func, FunctionType) else None)
        if law is not None:
            tensor, initializer = law(*args, **kwargs)
            initializer = rejected(sys._getframe(1), tensor) or initializer
            if initializer is zeros:
                return tensor.zero_()
            return tensor if self._fill(tensor, initializer, func) else func(*args, **kwargs)
        made = func(*args, **(kwargs | self._generator(func, args, kwargs)))
        if func in MAKING and _is_drawn(made):
            self._fill_unknown(made, MAKING[func], func)
        return made

    def _fill(self, tensor: Tensor, initializer: Initializer, func: Any) -> bool:
        """Draw into a tensor; say whether that could be done here."""
        if not _is_drawn(tensor):
            return False
        found = self.tensors.find(tensor)
        if found is None:
            return self._fill_unknown(tensor, initializer, func)
        known, view = found
        entry = Entry(known.parameter, known.stream, initializer)
        if view is None:
            fill_stored(known.weight, entry, self.key)
        else:
            fill_box(view.memory, entry, view.index, self.key)
        return True

    def _fill_unknown(self, tensor: Tensor, initializer: Initializer, func: Any) -> bool:
        """Draw into a tensor that is no parameter; say whether that could be done here."""
        name = self._subject(func, tensor)
        if name is None:
            return False
        fill_(tensor, initializer, axes="...", seed=self._next(name), **self._range(name, tensor))
        return True

    def _stream(self, func: FunctionType, args: Any, kwargs: Any) -> dict[str, Any]:
        """The argument that names the stream, for a function of this adapter."""
        if "seed" not in signature(func).parameters:
            return {}
        return {"seed": self._key_of(func, args[0] if args else kwargs["tensor"])}

    def _key_of(self, func: Any, tensor: Tensor | None) -> Key | None:
        """The stream of a draw into a tensor, or into none that is given."""
        found = None if tensor is None or has_no_storage(tensor) else self.tensors.find(tensor)
        if found is None:
            name = self._subject(func, tensor)
            return None if name is None else self._next(name)
        known, view = found
        if known.flat is not None:
            raise RuntimeError(f"{func.__name__} cannot draw a range of {known.parameter.name}: {SUMMON}")
        key = self.key.fold_in(known.stream)
        return key if view is None else key.fold_in(repr(view.index))

    def _generator(self, func: Any, args: Any, kwargs: Any) -> dict[str, torch.Generator]:
        """The generator for a function that draws by one, as its argument."""
        if func not in SEEDED:
            return {}
        tensor = next((each for each in args if isinstance(each, Tensor)), None)
        if tensor is not None and is_dtensor(tensor):
            raise RuntimeError(f"{func.__name__} cannot draw shards by their names; normal_ and uniform_ can")
        key = self._key_of(func, tensor)
        device = torch.device(kwargs.get("device") or torch.get_default_device()) if tensor is None else tensor.device
        if key is None or device.type == "meta":
            return {}
        return {"generator": torch.Generator(device).manual_seed(key.seed % 2**63)}

    def _subject(self, func: Any, tensor: Tensor | None) -> str | None:
        """The parameter or module that a draw is for which goes to no parameter; None if a mode around this one knows.

        Raises RuntimeError where only a part of that parameter is here, so that what is drawn would be another part.
        """
        name = subject(self.tensors.streams, self.tensors.modules)
        known = self.tensors.by_stream.get(name or "")
        if tensor is not None and is_dtensor(tensor) and (known is None or tensor.shape != known.weight.shape):
            # Not help for a parameter of that shape, but a slice of one: of several ranks that is a copy.
            raise RuntimeError(
                f"{func.__name__} would draw into a DTensor of shape {tuple(tensor.shape)} that is no parameter, "
                f"but may be a copy of a part of one: draw the whole parameter"
            )
        if name is not None and self._is_in_ranges(name) and not self._range(name, tensor):
            raise RuntimeError(f"{func.__name__} draws for {name}, of which this rank holds a range: {SUMMON}")
        if name is None and _thread.depth > 1:
            return None
        if name is None:
            name = ""
            warnings.warn(
                f"nobody can tell which parameter or module {func.__name__} draws for: what it draws depends on how "
                f"many such draws were before",
                stacklevel=4,
            )
        return name

    def _is_in_ranges(self, name: str) -> bool:
        """Whether of that parameter, or of some of that module's, only ranges are here."""
        return any(
            known.flat is not None and (stream == name or stream.startswith(f"{name}." if name else ""))
            for stream, known in self.tensors.by_stream.items()
        )

    def _range(self, name: str, tensor: Tensor | None) -> dict[str, Any]:
        """What says of help for the range of a parameter that it is that range."""
        known = self.tensors.by_stream.get(name)
        flat = None if known is None else known.flat
        if flat is None or tensor is None or tensor.shape != flat.memory.shape:
            return {}
        return {"shape": flat.shape, "flat": slice(flat.start, flat.start + flat.memory.numel())}

    def _next(self, name: str) -> Key:
        """The stream of the next draw that is for a name and goes to no parameter."""
        self.counts[name] += 1
        return self.key.fold_in(name).fold_in(self.counts[name] - 1)
