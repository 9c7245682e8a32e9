"""Draw into one tensor: from the arguments that all functions share to the memory that is filled."""

import ctypes
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypedDict
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Generator, Tensor
from torch.autograd.graph import increment_version

from initlib._arguments import Shape
from initlib._user_warning import warn
from initlib.axes import match
from initlib.key import Key, as_key
from initlib.schemes.initializer import Initializer
from initlib.stream.boxes import Index
from initlib.stream.engine import DrawRequest

from .._private import (
    calculate_fan_in_and_fan_out,
    is_computed,
    is_dtensor,
    is_observed,
    is_traced,
    outside_of_graphs,
    without_modes,
    without_transforms,
)
from .memory import DTYPES, check, fill_memory, has_no_storage, local_views
from .partial import Held, held
from .vmap import members, members_differ

Seed = int | Key | np.random.Generator | None
Name = str | None
NO_SEED = Key(0)  # the seed of initializers that draw nothing, such as the identity


class DrawOptions(TypedDict, total=False):
    """Arguments that all functions that draw share, by keyword alone; PyTorch's functions lack them.

    Attributes:
        axes: the role of each axis, such as "OI"; by default "OI...".
        seed: an int, a `Key` or a `numpy.random.Generator`; by default PyTorch's generator decides.
        name: a name that gives the parameter a stream of its own under the seed.
        shape: the shape of the full weight, where a plain tensor holds only a slice of it (Megatron, ZeRO).
        index: the box of the full weight that the tensor holds, as ints and slices.
        flat: in place of `index`, the row-major range that a tensor of one axis holds.
    """

    axes: str | None
    seed: Seed
    name: Name
    shape: Shape | None
    index: Index | None
    flat: slice | None


def check_bounds(a: float, b: float) -> None:
    """Raise PyTorch's own error unless a <= b."""
    if a > b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")


@outside_of_graphs
def outside(function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """Call a function outside of the graph that `torch.compile` makes."""
    untraced: Callable[..., Tensor] = torch.compiler.disable(function)
    return untraced(*args, **kwargs)


class _Scratch(threading.local):
    """Memory for one number, for each thread: to allocate it takes longer than the rest of a small draw."""

    def __init__(self) -> None:
        with torch.inference_mode(False):  # a tensor made in that mode can be written only there
            self.word = torch.empty((), dtype=torch.int64, device="cpu")
        self.bits = ctypes.c_uint64.from_address(self.word.data_ptr())  # reads the memory of the word


_scratch = _Scratch()


def _entropy(generator: Generator | None, observed: bool) -> int:
    """Return 64 bits of a generator, by default of PyTorch's own, which `torch.manual_seed` governs."""
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(f"generator must be a torch.Generator or None, got {generator!r}")
    if observed:
        # A mode that traces or fakes gives no number, and vmap a number for each member.
        with without_modes(), without_transforms() if members_differ() else nullcontext():
            word = torch.empty((), dtype=torch.int64, device=generator.device if generator else "cpu")
            return int(word.random_(-(2**63), None, generator=generator).item()) % 2**64
    if generator is None:
        _scratch.word.random_(-(2**63), None)
        return _scratch.bits.value
    word = torch.empty((), dtype=torch.int64, device=generator.device)
    return int(word.random_(-(2**63), None, generator=generator).item()) % 2**64


def key_of(seed: Seed) -> Key:
    """Return the key of a seed."""
    return as_key(_entropy(None, is_observed()) if seed is None else seed)


_COMPUTED = (
    "tensor of shape {shape} is computed from other tensors, as by weight_norm, and a draw does not change them. Fill "
    "an empty tensor, and assign that tensor to the module's attribute."
)

_TWINS = (
    "two parameters of shape {shape} get the same weights from seed={seed}. Pass name=, such as the parameter's name "
    "in the model, so that each has a stream of its own."
)

# The parameters that were filled under an integer seed without a name.
_unnamed: WeakValueDictionary[tuple[int, torch.Size], torch.nn.Parameter] = WeakValueDictionary()


def refuse_fans(sizes: Sequence[int]) -> None:
    """Raise PyTorch's error for the fans of a tensor of fewer than two axes, with advice."""
    try:
        calculate_fan_in_and_fan_out(torch.empty(sizes, device="meta"))
    except ValueError as error:
        raise ValueError(f"{error}. A bias has no fans: write zeros_(bias)") from None


def draw_into(
    tensor: Tensor,
    initializer: Initializer,
    generator: Generator | None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: Name = None,
    shape: Shape | None = None,
    index: Index | None = None,
    flat: slice | None = None,
) -> Tensor:
    """Fill the tensor, or the slice of a weight that it holds: all functions that draw end here."""
    if seed is not None and generator is not None:
        raise ValueError(f"seed and generator must not both be given, got seed {seed!r} and {generator!r}")
    check(tensor)
    part = held(tensor, shape, index, flat)
    sizes = tuple(tensor.shape) if part is None else part.shape
    if axes is None and len(sizes) >= 2:
        axes = "OI..."
    elif axes is None and initializer.uses_fans:
        refuse_fans(sizes)
    match(sizes, axes)
    if has_no_storage(tensor):
        return tensor
    observed = is_observed()
    if observed and is_traced() and (seed is None or isinstance(seed, np.random.Generator)):
        raise RuntimeError(
            "initlib draws outside of the graph, and the graph would repeat these weights in every call. Pass a "
            "seed, or fill the tensor before the function is traced"
        )
    differ = observed and seed is not NO_SEED and members_differ()
    if differ and seed is not None:
        raise ValueError(
            f"seed must be None in a vmap with randomness='different', got {seed!r}. A seed makes all members equal: "
            "omit the seed, or pass randomness='same'."
        )
    if is_computed(tensor):
        warn(_COMPUTED.format(shape=tuple(tensor.shape)))
    if name is None and part is None and type(seed) is int and isinstance(tensor, torch.nn.Parameter):
        twin = _unnamed.setdefault((seed, tensor.shape), tensor)
        if twin is not tensor and initializer.std(sizes, axes) > 0:
            warn(_TWINS.format(shape=sizes, seed=seed))
    key = as_key(_entropy(generator, observed) if seed is None else seed, name)
    request = DrawRequest(sizes, axes, DTYPES[tensor.dtype], key)
    if differ:
        for member, own_key in members(tensor, key):
            _fill(member, initializer, request._replace(shape=tuple(member.shape), key=own_key), None, observed=True)
    else:
        _fill(tensor, initializer, request, part, observed=observed)
    return tensor


def _fill(tensor: Tensor, initializer: Initializer, request: DrawRequest, part: Held | None, *, observed: bool) -> None:
    sharded = is_dtensor(tensor)
    if part is None and not sharded:
        fill_memory(tensor, initializer, request, observed=observed)
        return
    for view, box in local_views(tensor, part):
        fill_memory(view, initializer, request._replace(box=box), observed=observed)
    if sharded:
        increment_version(tensor)  # the shards have versions of their own
