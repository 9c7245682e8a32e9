"""Axes: what each stored axis of a weight means to its layer, hence its fans and its canonical numbering."""

import math
import re
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ._arguments import Shape, checked_shape
from ._public import public

ALLOWED = "I (input), O (output), B (stack), another capital letter (receptive field), (n X), and one ..."
ELLIPSIS = "..."
MOST_CHARACTERS = 250  # an array has 64 axes at most, and so many characters do not name more than 64 parts of them
_TOKEN = re.compile(r"\s*(?:(?P<word>[A-Z]|\.\.\.|\)|\(\s*(?P<count>\d+))|(?P<end>$)|(?P<bad>.))")

# The canonical order of the positions: stacks, then receptive field, inputs, outputs; row-major.
_ROLES = {"B": 0, "I": 2, "O": 3}
_RECEPTIVE_FIELD = 1


@public("initlib")
class Fans(NamedTuple):
    """How many numbers feed one output (fan_in) and how many outputs one input feeds (fan_out)."""

    fan_in: int
    fan_out: int


class Factor(NamedTuple):
    """A piece of a stored axis: index `(i // step) % size` of that axis moves the position by `stride`."""

    size: int
    step: int
    stride: int


class Token(NamedTuple):
    """One stored axis: the sizes of the stacks packed into it, outermost first, and its letter or '...'."""

    packed: tuple[int, ...]
    letter: str


@lru_cache(maxsize=1024)
def parse(axes: str) -> tuple[Token, ...]:
    """The tokens of an axes string."""
    if len(axes) > MOST_CHARACTERS:
        raise ValueError(f"axes of {len(axes)} characters are too long, at most {MOST_CHARACTERS}: {axes[:32]!r}…")
    tokens: list[Token] = []
    packed: list[int] = []  # the open parentheses
    filled = 0  # how many of them already hold their token: they only wait to be closed
    start = 0
    while True:
        match = _TOKEN.match(axes, start)
        assert match is not None  # the last branch takes any character
        word, start = match["word"], match.end()
        if match["end"] is not None:
            break
        if match["bad"] is not None:
            raise ValueError(f"axes {axes!r} has {match['bad']!r}; allowed are {ALLOWED}")
        if word == ")":
            if not filled:
                raise ValueError(f"axes {axes!r} closes a parenthesis that holds no axis; write (n X), such as (3 O)")
            packed.pop()
            filled -= 1
        elif filled:
            raise ValueError(f"axes {axes!r} packs more than one axis in a parenthesis; write (n X), such as (3 O)")
        elif match["count"] is not None:
            packed.append(int(match["count"]))
            if packed[-1] == 0:
                raise ValueError(f"axes {axes!r} packs 0 kernels; n in (n X) must be at least 1")
        else:
            if packed and word == ELLIPSIS:
                raise ValueError(f"axes {axes!r} packs '...', which may be any number of axes; write (n X)")
            tokens.append(Token(tuple(packed), word))
            filled = len(packed)
    if packed:
        raise ValueError(f"axes {axes!r} leaves a parenthesis open; write (n X), such as (3 O)")
    if not tokens:
        raise ValueError(f"axes {axes!r} is empty; allowed are {ALLOWED}")
    letters = [token.letter for token in tokens]
    for letter in letters:
        if letter not in _ROLES and letters.count(letter) > 1:
            raise ValueError(f"axes {axes!r} repeats {letter!r}; only I, O and B may repeat")
    return tuple(tokens)


def check(axes: str | None) -> None:
    """Raise TypeError or ValueError unless the axes are those of some shape, or None."""
    if axes is not None:
        if not isinstance(axes, str):
            raise TypeError(f"axes must be a string such as 'OIHW' or '(3 O)I', got {axes!r}")
        parse(axes)


def match(shape: tuple[int, ...], axes: str | None) -> tuple[tuple[tuple[int, int], ...], ...]:
    """The (role, size) factors of every stored axis; `axes=None` is "...IO", or "..." below two dimensions."""
    check(axes)
    return _match(shape, axes)


@lru_cache(maxsize=4096)
def _match(shape: tuple[int, ...], axes: str | None) -> tuple[tuple[tuple[int, int], ...], ...]:
    if axes is None:
        axes = "...IO" if len(shape) >= 2 else ELLIPSIS
    tokens = list(parse(axes))
    given, named = len(shape), len(tokens)
    free = [k for k, token in enumerate(tokens) if token.letter == ELLIPSIS]
    if free:
        if given < named - 1:
            raise ValueError(f"axes {axes!r} names at least {named - 1} axes, shape {shape} has {given}")
        tokens[free[0] : free[0] + 1] = [Token((), ELLIPSIS)] * (given - named + 1)
    elif given != named:
        raise ValueError(f"axes {axes!r} names {named} axes, shape {shape} has {given}")
    factors = []
    for token, size in zip(tokens, shape, strict=True):
        kernels = math.prod(token.packed)
        if size % kernels:
            raise ValueError(f"axes {axes!r} packs {kernels} kernels into an axis of size {size}, shape {shape}")
        role = _ROLES.get(token.letter, _RECEPTIVE_FIELD)
        factors.append((*((_ROLES["B"], n) for n in token.packed), (role, size // kernels)))
    return tuple(factors)


@public("initlib")
def fans(shape: Shape, axes: str | None = None) -> Fans:
    """Compute fan_in and fan_out of a weight from what its axes mean.

    >>> fans((784, 128))  # the default axes are "...IO": Keras, JAX, TensorFlow
    Fans(fan_in=784, fan_out=128)
    >>> fans((64, 32, 3, 3), "OIHW")  # a PyTorch convolution
    Fans(fan_in=288, fan_out=576)
    >>> fans((192, 64), "(3 O)I")  # packed query, key and value
    Fans(fan_in=64, fan_out=64)

    `shape` is an int or a sequence of ints. A weight of fewer than two axes, with no `axes` given, is all receptive
    field: its fans are its size, as in Keras. Raises ValueError where axes and shape do not fit.
    """
    sizes = [factor for axis in match(checked_shape(shape), axes) for factor in axis]
    field = math.prod(size for role, size in sizes if role == _RECEPTIVE_FIELD)
    return Fans(
        field * math.prod(size for role, size in sizes if role == _ROLES["I"]),
        field * math.prod(size for role, size in sizes if role == _ROLES["O"]),
    )


class Canonical(NamedTuple):
    """A weight taken apart: the parts of its stored axes, in canonical order, and the way there and back."""

    stored: tuple[int, ...]  # the shape in storage
    parts: tuple[int, ...]  # the sizes of the parts, in stored order: a packed axis has several
    order: tuple[int, ...]  # which of them comes first in canonical order, which next
    steps: tuple[tuple[int, int, int], ...]  # (axis, step, size) of each part, in canonical order
    factors: tuple[tuple[Factor, ...], ...]  # the parts of every stored axis, outermost first
    stacks: tuple[int, ...]
    field: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def matrices(self) -> tuple[int, int, int]:
        """The stacks, the rows (receptive field x inputs) and the columns (outputs) of the weight as matrices."""
        return math.prod(self.stacks), math.prod(self.field) * math.prod(self.inputs), math.prod(self.outputs)

    def arrange(self, weight: Any, xp: Any = np) -> Any:
        """From storage to (stacks..., field..., inputs..., outputs...), by the functions of an array library."""
        return xp.permute_dims(weight.reshape(self.parts), self.order)

    def store(self, arranged: Any, xp: Any = np) -> Any:
        """From canonical order, in any shape, to storage."""
        sizes = self.stacks + self.field + self.inputs + self.outputs
        back = tuple(sorted(range(len(self.order)), key=self.order.__getitem__))
        return xp.permute_dims(arranged.reshape(sizes), back).reshape(self.stored)

    def coordinates(self, indices: Any) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
        """The index inside each stack, field, input and output part, of the indices of the stored axes."""
        each = iter([indices[axis] // step % size for axis, step, size in self.steps])
        groups = (self.stacks, self.field, self.inputs, self.outputs)
        stacks, field, inputs, outputs = ([next(each) for _ in group] for group in groups)
        return stacks, field, inputs, outputs


@lru_cache(maxsize=4096)
def canonical(shape: tuple[int, ...], axes: str | None) -> Canonical:
    """The weight of that shape, taken apart into its parts in canonical order.

    With the index i_a of every stored axis a, and its factors f, a weight has the position
    sum over a and f of ((i_a // f.step) % f.size) * f.stride.
    """
    parts = [
        (role, axis, math.prod(inner for _, inner in split[part + 1 :]), size)
        for axis, split in enumerate(match(shape, axes))
        for part, (role, size) in enumerate(split)
    ]
    order = sorted(range(len(parts)), key=lambda part: parts[part][0])  # stable: stored order inside a role
    factors: list[Factor] = [Factor(0, 0, 0)] * len(parts)
    stride = 1
    for part in reversed(order):
        _, _, step, size = parts[part]
        factors[part] = Factor(size, step, stride)
        stride *= size
    return Canonical(
        shape,
        tuple(size for _, _, _, size in parts),
        tuple(order),
        tuple(parts[part][1:] for part in order),
        tuple(
            tuple(factor for factor, (_, of, _, _) in zip(factors, parts, strict=True) if of == axis)
            for axis in range(len(shape))
        ),
        *(tuple(size for role, _, _, size in parts if role == wanted) for wanted in range(4)),
    )
