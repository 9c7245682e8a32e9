"""Draw: from the arguments that every function shares to one draw, put where the tensor keeps it."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Generator, Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from initlib.axes import match
from initlib.key import Key, as_key
from initlib.schemes.initializer import Initializer

from .held import Held
from .internals import calculate_fan_in_and_fan_out, outside_of_graphs, without_modes
from .memory import check, untouchable, write

__all__ = ["Name", "Seed", "check_bounds", "draw", "key_of", "overridable"]

Seed = int | Key | np.random.Generator | None
Name = str | None

Function = TypeVar("Function", bound=Callable[..., Tensor])


def overridable(function: Function) -> Function:
    """Hand the call to a tensor subclass or a mode that overrides PyTorch's functions."""

    @functools.wraps(function)
    def call(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if has_torch_function_variadic(tensor):
            return handle_torch_function(call, (tensor,), tensor, *args, **kwargs)
        if not isinstance(tensor, Tensor):
            raise TypeError(f"tensor must be a torch.Tensor, got {type(tensor).__name__}")
        if torch.compiler.is_compiling():
            return _outside(function, tensor, *args, **kwargs)
        return function(tensor, *args, **kwargs)

    return cast(Function, call)


def check_bounds(a: float, b: float) -> None:
    """Raise PyTorch's own error unless a <= b."""
    if a > b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")


@outside_of_graphs("initlib draws outside of the graph")
def _outside(function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """Call a function outside of the graph that `torch.compile` is making."""
    outside: Callable[..., Tensor] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return outside(*args, **kwargs)


def _entropy(generator: Generator | None) -> int:
    """64 bits of a generator; of PyTorch's default one, which `torch.manual_seed` governs."""
    if generator is None:
        device: Any = "cpu"
    elif isinstance(generator, Generator):
        device = generator.device
    else:
        raise TypeError(f"generator must be a torch.Generator or None, got {generator!r}")
    # A mode that traces or fakes would have no number for us.
    with without_modes():
        word = torch.empty((), dtype=torch.int64, device=device).random_(-(2**63), None, generator=generator)
        return int(word.item()) % 2**64


def key_of(seed: Seed, name: Name = None, generator: Generator | None = None) -> Key:
    """The key that the arguments stand for."""
    return as_key(_entropy(generator) if seed is None else seed, name)


def draw(
    tensor: Tensor,
    initializer: Initializer,
    generator: Generator | None,
    axes: str | None,
    seed: Seed,
    name: Name,
    part: Held | None = None,
) -> Tensor:
    """Fill the tensor, which may be a part of a weight: where all functions that draw end."""
    if seed is not None and generator is not None:
        raise ValueError(f"seed and generator both name a stream; give one, got seed {seed!r} and {generator!r}")
    check(tensor)
    shape = tuple(tensor.shape) if part is None else part.shape
    if axes is None and len(shape) >= 2:
        axes = "OI..."
    elif axes is None and initializer.uses_fans:
        calculate_fan_in_and_fan_out(
            torch.empty(shape, device="meta")
        )  # raises: a bias has no fans, unless axes say so
    match(shape, axes)
    if not untouchable(tensor):
        write(tensor, initializer, axes, key_of(seed, name, generator), part)
    return tensor
