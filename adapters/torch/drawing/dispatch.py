"""Draw: from the arguments that every function shares to one draw, put where the tensor keeps it."""

import functools
import inspect
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypedDict, TypeVar, cast

import numpy as np
import torch
import torch.nn.init as theirs
from torch import Generator, Tensor
from torch.compiler import is_compiling
from torch.overrides import handle_torch_function, has_torch_function_variadic

from initlib._arguments import Shape
from initlib.axes import match
from initlib.key import Key, as_key
from initlib.schemes.initializer import Initializer
from initlib.stream.engine import DrawRequest

from .._private import (
    calculate_fan_in_and_fan_out,
    in_jit_trace,
    is_observed,
    is_traced,
    outside_of_graphs,
    without_modes,
    without_transforms,
)
from .memory import DTYPES, check, check_reach, has_no_storage, write
from .partial import held
from .vmap import members, members_differ

Seed = int | Key | np.random.Generator | None
Name = str | None

Function = TypeVar("Function", bound=Callable[..., Tensor])


class DrawOptions(TypedDict, total=False):
    """The arguments, by name alone, that PyTorch's functions have not, and all that draw here have; None if not said.

    A plain tensor may be a part of a weight of that `shape`, as a rank holds it that no DTensor tells: the box that
    `index` takes (ints and slices), or, in one axis, the row-major range that `flat` takes.
    """

    axes: str | None
    seed: Seed
    name: Name
    shape: Shape | None
    index: Any
    flat: slice | None


def overridable(function: Function) -> Function:
    """Leave alone what was loaded, and hand the call to a subclass or a mode that overrides PyTorch's functions."""
    known = _Known(getattr(theirs, function.__name__, None))
    signature = _spelled_out(inspect.signature(function))

    @functools.wraps(function)
    def call(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if getattr(tensor, "_is_hf_initialized", False) is True and _is_loading():
            return tensor
        if has_torch_function_variadic(tensor):
            given = signature.bind(tensor, *args, **kwargs)
            given.apply_defaults()
            if known.theirs is None or any(
                given.arguments.get(argument) is not None for argument in DrawOptions.__annotations__
            ):
                return handle_torch_function(call, (tensor,), tensor, *args, **kwargs)
            arguments = {
                name: value for name, value in given.arguments.items() if name not in DrawOptions.__annotations__
            }
            return handle_torch_function(known, (tensor,), **arguments)
        if not isinstance(tensor, Tensor):
            raise TypeError(f"tensor must be a torch.Tensor, got {type(tensor).__name__}")
        if is_compiling():
            return outside(function, tensor, *args, **kwargs)
        if in_jit_trace():
            raise RuntimeError("initlib draws outside of the graph: fill the tensor before torch.jit.trace")
        return function(tensor, *args, **kwargs)

    known.ours = call
    call.__signature__ = signature  # type: ignore[attr-defined]
    return cast(Function, call)


def _spelled_out(signature: inspect.Signature) -> inspect.Signature:
    """A signature whose `**how` is the arguments that it stands for, for readers and for `bind`."""
    parameters = dict(signature.parameters)
    if parameters.pop("how", None) is not None:
        for name, annotation in DrawOptions.__annotations__.items():
            parameters[name] = inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
    return signature.replace(parameters=list(parameters.values()))


class _Known:
    """A function of ours in the guise of PyTorch's, for whoever overrides that one.

    Overrides know PyTorch's functions by themselves, as keys of a table, or by their module and name. This one is equal
    to the function that it takes the place of, and has its hash, module and name; called, as an override does that only
    looks on, it draws as ours.
    """

    ours: Callable[..., Tensor]

    def __init__(self, theirs: Any) -> None:
        self.theirs = theirs
        if theirs is not None:
            functools.update_wrapper(self, theirs)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.ours(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self.theirs

    def __hash__(self) -> int:
        return hash(self.theirs)


def _is_loading() -> bool:
    """Whether transformers is initializing what a checkpoint lacked.

    It marks the tensors that were loaded, and meanwhile puts functions that leave these alone in place of PyTorch's.
    Afterwards the marks stay, and mean nothing: PyTorch's functions fill such a tensor, and so do ours.
    """
    return theirs.normal_.__module__ == "transformers.initialization"


def unless_loaded(function: Function) -> Function:
    """PyTorch's function, but not for tensors that transformers has just loaded, nor for copies that nobody keeps."""

    @functools.wraps(function)
    def call(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if getattr(tensor, "_is_hf_initialized", False) is True and _is_loading():
            return tensor
        check_reach(tensor)
        return function(tensor, *args, **kwargs)

    return cast(Function, call)


def check_bounds(a: float, b: float) -> None:
    """Raise PyTorch's own error unless a <= b."""
    if a > b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")


@outside_of_graphs("initlib draws outside of the graph")
def outside(function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """Call a function outside of the graph that `torch.compile` is making."""
    untraced: Callable[..., Tensor] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return untraced(*args, **kwargs)


class _Scratch(threading.local):
    """A number's memory, one for each thread: making it anew would take longer than all else that a draw asks for."""

    def __init__(self) -> None:
        with torch.inference_mode(False):  # what is made in that mode can be written nowhere else
            self.word = torch.empty((), dtype=torch.int64, device="cpu")


_scratch = _Scratch()


def _entropy(generator: Generator | None, observed: bool) -> int:
    """64 bits of a generator; of PyTorch's default one, which `torch.manual_seed` governs."""
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(f"generator must be a torch.Generator or None, got {generator!r}")
    if observed:
        # A mode that traces or fakes would have no number for us, and vmap none that all members share.
        with without_modes(), without_transforms() if members_differ() else nullcontext():
            word = torch.empty((), dtype=torch.int64, device=generator.device if generator else "cpu")
            return int(word.random_(-(2**63), None, generator=generator).item()) % 2**64
    if generator is None:
        return int(_scratch.word.random_(-(2**63), None).item()) % 2**64
    word = torch.empty((), dtype=torch.int64, device=generator.device)
    return int(word.random_(-(2**63), None, generator=generator).item()) % 2**64


def key_of(seed: Seed) -> Key:
    """The key that a seed stands for."""
    return as_key(_entropy(None, is_observed()) if seed is None else seed)


def draw_into(
    tensor: Tensor,
    initializer: Initializer,
    generator: Generator | None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: Name = None,
    shape: Shape | None = None,
    index: Any = None,
    flat: slice | None = None,
) -> Tensor:
    """Fill the tensor, which may be a part of a weight: where all functions that draw end."""
    if seed is not None and generator is not None:
        raise ValueError(f"seed and generator both name a stream; give one, got seed {seed!r} and {generator!r}")
    check(tensor)
    part = held(tensor, shape, index, flat)
    sizes = tuple(tensor.shape) if part is None else part.shape
    if axes is None and len(sizes) >= 2:
        axes = "OI..."
    elif axes is None and initializer.uses_fans:
        calculate_fan_in_and_fan_out(torch.empty(sizes, device="meta"))  # raises: a bias has none, unless axes say so
    match(sizes, axes)
    if has_no_storage(tensor):
        return tensor
    observed = is_observed()
    if observed and is_traced() and (seed is None or isinstance(seed, np.random.Generator)):
        raise RuntimeError(
            "initlib draws outside of the graph, which would keep these weights for ever: give a seed, or fill the "
            "tensor before the function is traced"
        )
    key = as_key(_entropy(generator, observed) if seed is None else seed, name)
    weight = DrawRequest(sizes, axes, DTYPES[tensor.dtype], key)
    if observed and seed is None and members_differ():
        for member, own_key in members(tensor, key):
            write(member, initializer, weight._replace(shape=tuple(member.shape), key=own_key), observed=True)
    else:
        write(tensor, initializer, weight, part, observed=observed)
    return tensor
