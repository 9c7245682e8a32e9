"""Named draws: a model's own initialization code, with draws by the names of its parameters."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.nn.init import trunc_normal_
from torch.overrides import TorchFunctionMode

from initlib import Initializer, Key, zeros
from initlib._public import public
from initlib._user_warning import warn
from initlib.plans.entry import Entry
from initlib.plans.packing.part_axes import ROW_MAJOR
from initlib.plans.rules.renaming import as_rename
from initlib.stream.boxes import box_index
from initlib.stream.engine import DrawRequest

from .._private import IS_META, is_computed, is_dtensor, is_observed
from ..drawing.dispatch import Seed, key_of
from ..drawing.fill import fill_boxes, fill_stored
from ..drawing.memory import DTYPES, fill_memory, has_no_storage, local_views
from ..init import dirac_, eye_
from ..models.tensors import ModelTensor, walk
from ..models.transformers import lifted
from ..more_init import fill_
from .call_stack import begun, rejected, subject
from .lookup import Tensors
from .parsers import DRAWING, FILLING, INIT, MAKING, SEEDED


@public("initlib.adapters.torch")
@contextmanager
def named(
    module: nn.Module,
    seed: Seed = None,
    *,
    rename: Mapping[Any, str] | Callable[[str], str] | None = None,
    prefix: str = "",
) -> Iterator[None]:
    """Make the draws of a model's own initialization code depend on a seed and on the names of parameters.

    The code still decides the distributions: `torch.nn.init`, `reset_parameters`, `weight.data.normal_()`, or the
    `init_weights` of transformers and timm. The values of a parameter depend on the seed and on its name, not on the
    order of calls, the device or the shards. `initialize` with rules of the same distributions draws the same bits.

    - A draw into a slice of a parameter writes the same box of the parameter's full weight.
    - A draw into a computed weight (weight norm, spectral norm, pruning, parametrizations) depends on the weight's
      name. The draw sets the tensors from which the weight is computed.
    - A draw into a temporary tensor (a term of a formula) is attributed to the parameter or module that the calling
      function initializes. Such draws are numbered. If the call stack shows no parameter or module, a warning names the
      draw.
    - A call with `generator=` draws from that generator, as without `named`.
    - Modules of transformers draw their weights again, but keep tensors that were loaded from a checkpoint. A warning
      names the tensors of a loaded model that are drawn.

    No function of PyTorch is patched. Draws of other threads do not change.

    Args:
        module: the model.
        seed: an int, a `Key` or a `numpy.random.Generator`; by default a seed from PyTorch's global CPU generator.
        rename: new names of the parameters, as for `initialize`.
        prefix: the name of the module in a larger model.

    Returns:
        A context manager.

    Raises:
        RuntimeError: the filled slice is not a box of a parameter, or this rank cannot draw the slice alone. Or the
            computation of a computed weight has no `right_inverse`.

    Example:
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
    """
    mode = NamedDrawMode(module, key_of(seed), as_rename(rename), prefix)
    with lifted(walk(module, prefix)), mode:
        yield


ADAPTER = __name__.rpartition(".naming")[0]  # which all functions of this adapter have as their module
SUMMON = "draw in `summon_full_params` of FullyShardedDataParallel"

# Most functions that a mode sees are written in C, and draw only if they are in `DRAWING`.
BUILTIN = {type(Tensor.normal_), type(torch.rand), type(IS_META)}


def _copy_shards(tensor: Any, full: Tensor, non_blocking: bool = False) -> Any:
    """Copy a tensor that is equal on every rank to a DTensor, which PyTorch refuses to do."""
    full = full.broadcast_to(tensor.shape)
    for view, box in local_views(tensor):
        view.copy_(full if box is None else full[box_index(box)], non_blocking)
    increment_version(tensor)
    return tensor


def _is_drawn(tensor: Tensor) -> bool:
    """Return whether the tensor holds weights of a dtype that is drawn here."""
    return tensor.dtype in DTYPES and not has_no_storage(tensor)


def _names_stream(args: Any, kwargs: dict[str, Any]) -> bool:
    """Return whether the arguments name a stream."""
    generators = any(isinstance(each, torch.Generator) for each in args)
    return generators or kwargs.get("generator") is not None or kwargs.get("seed") is not None


_thread = threading.local()  # .depth: how many of these modes are active


class NamedDrawMode(TorchFunctionMode):
    """A mode that replaces the functions of PyTorch that draw."""

    def __init__(self, module: nn.Module, key: Key, new_name: Callable[[str], str], prefix: str) -> None:
        super().__init__()
        self.key, self.tensors = key, Tensors(module, new_name, prefix)
        self.counts: Counter[str] = Counter()  # of the draws of each stream that go to no parameter

    def __enter__(self) -> "NamedDrawMode":
        _thread.depth = getattr(_thread, "depth", 0) + 1
        self._end = self.tensors.observe(self.key)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        _thread.depth -= 1
        super().__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
        self._end(kind is None)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.copy_ and is_dtensor(args[0]) and not is_dtensor(args[1]):
            return _copy_shards(*args)
        if type(func) in BUILTIN and func not in DRAWING:
            return func(*args, **kwargs)
        if func == IS_META:
            initializer = begun(args[0])
            return (initializer is not None and self._fill(args[0], initializer, trunc_normal_)) or func(*args)
        ours = getattr(func, "ours", func)  # a `Counterpart` stands for a function of this adapter
        if isinstance(ours, FunctionType) and ours.__module__.startswith(ADAPTER):
            return self._call(ours, *args, **kwargs)
        if _names_stream(args, kwargs):
            return func(*args, **kwargs)
        parse = FILLING.get(func) or (INIT.get(func.__name__) if isinstance(func, FunctionType) else None)
        if parse is not None:
            tensor, initializer = parse(*args, **kwargs)
            initializer = rejected(tensor) or initializer
            if initializer is zeros:
                return tensor.zero_()
            return tensor if self._fill(tensor, initializer, func) else func(*args, **kwargs)
        made = func(*args, **(kwargs | self._generator(func, args, kwargs)))
        if func in MAKING and _is_drawn(made):
            self._fill_unknown(made, MAKING[func], func)
        return made

    def _call(self, func: FunctionType, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Call a function of this adapter, with the stream of the tensor."""
        options = {name: value for name, value in kwargs.items() if value is not None}
        if func not in (eye_, dirac_) and not _names_stream(args, kwargs):
            options["seed"] = self._key_of(func, tensor)
        if is_computed(tensor) and self.tensors.find(tensor) is not None:
            func(tensor.detach(), *args, **options)  # the function warns that draws into a computed weight are lost
            return tensor
        return func(tensor, *args, **options)

    def _fill(self, tensor: Tensor, initializer: Initializer, func: Any) -> bool:
        """Draw into a tensor, and return whether that could be done here."""
        if not _is_drawn(tensor):
            return False
        found = self.tensors.find(tensor)
        if found is None:
            return self._fill_unknown(tensor, initializer, func)
        match, view = found
        if match.is_one_weight:
            # As by the entry below, in half the time.
            parameter, key = match.parameter, self.key.fold_in(match.stream)
            memory, box = (match.memory, None) if view is None else (view.memory, view.box)
            request = DrawRequest(parameter.shape, parameter.axes or ROW_MAJOR, parameter.dtype, key, box)
            fill_memory(memory, initializer, request, observed=is_observed())
            return True
        entry = Entry(match.parameter, match.stream, initializer)
        if view is not None:
            fill_boxes([(entry, view.index, view.memory)], self.key)
        elif isinstance(match.tensor, ModelTensor):
            flat = match.tensor.flat
            fill_stored(match.tensor.tensor, entry, self.key, None if flat is None else flat.boxes())
        else:
            fill_stored(tensor.detach(), entry, self.key)
        return True

    def _fill_unknown(self, tensor: Tensor, initializer: Initializer, func: Any) -> bool:
        """Draw into a tensor that is no parameter, and return whether that could be done here."""
        name = self._subject(func, tensor)
        if name is None:
            return False
        fill_(tensor, initializer, axes="...", seed=self._next(name), **self._range(name, tensor))
        return True

    def _key_of(self, func: Any, tensor: Tensor | None) -> Key | None:
        """Return the stream of a draw into a tensor, or into a new one."""
        found = None if tensor is None or has_no_storage(tensor) else self.tensors.find(tensor)
        if found is None:
            name = self._subject(func, tensor)
            return None if name is None else self._next(name)
        match, view = found
        if match.flat is not None:
            raise RuntimeError(f"{func.__name__} cannot draw a flat shard of {match.parameter.name}: {SUMMON}")
        key = self.key.fold_in(match.stream)
        return key if view is None else key.fold_in(repr(view.index))

    def _generator(self, func: Any, args: Any, kwargs: Any) -> dict[str, torch.Generator]:
        """Return the argument `generator` of a function that draws by one."""
        if func not in SEEDED:
            return {}
        tensor = next((each for each in args if isinstance(each, Tensor)), None)
        if tensor is not None and is_dtensor(tensor):
            raise RuntimeError(
                f"{func.__name__} cannot draw a DTensor by its name. Use normal_ or uniform_, or draw before sharding"
            )
        key = self._key_of(func, tensor)
        device = torch.device(kwargs.get("device") or torch.get_default_device()) if tensor is None else tensor.device
        if key is None or device.type == "meta":
            return {}
        return {"generator": torch.Generator(device).manual_seed(key.seed % 2**63)}

    def _subject(self, func: Any, tensor: Tensor | None) -> str | None:
        """Return the parameter or module to which a draw into a temporary tensor is attributed.

        None leaves the draw to a mode around this one. Raises RuntimeError where this rank holds only a range of the
        parameter, and the draw would be another range.
        """
        name = subject(self.tensors.streams, self.tensors.modules)
        match = self.tensors.by_stream.get(name or "")
        if tensor is not None and is_dtensor(tensor) and (match is None or tensor.shape != match.parameter.shape):
            # A DTensor of another shape may be a slice of the parameter. A slice over several ranks is a copy.
            raise RuntimeError(
                f"{func.__name__} must fill a parameter, got a DTensor of shape {tuple(tensor.shape)} that may be a "
                f"copy of a part of a parameter. Draw the full parameter"
            )
        if name is not None and self._is_in_ranges(name) and not self._range(name, tensor):
            raise RuntimeError(
                f"{func.__name__} draws for {name}, and this rank holds only a flat shard of {name}: {SUMMON}"
            )
        if name is None and _thread.depth > 1:
            return None
        if name is None:
            name = ""
            warn(
                f"Could not attribute this {func.__name__} call to a parameter or module: the values depend on the "
                "order of calls. Pass generator= for reproducible values.",
                library="torch",
            )
        return name

    def _is_in_ranges(self, name: str) -> bool:
        """Return whether this rank holds only ranges of that parameter, or of a parameter of that module."""
        before = f"{name}." if name else ""
        return any(stream == name or stream.startswith(before) for stream in self.tensors.ranges)

    def _range(self, name: str, tensor: Tensor | None) -> dict[str, Any]:
        """Return the `shape=` and `flat=` arguments of the shard that a temporary tensor stands for."""
        match = self.tensors.by_stream.get(name)
        flat = None if match is None else match.flat
        if flat is None or tensor is None or tensor.shape != flat.memory.shape:
            return {}
        return {"shape": flat.shape, "flat": slice(flat.start, flat.start + flat.memory.numel())}

    def _next(self, name: str) -> Key:
        """Return the stream of the next draw that is attributed to a name and goes to no parameter."""
        self.counts[name] += 1
        return self.key.fold_in(name).fold_in(self.counts[name] - 1)
