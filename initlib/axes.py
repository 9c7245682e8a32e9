"""Axes: the role of each stored axis of a weight in its layer, from which fans and positions follow."""

import math
import re
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ._arguments import Shape, check_one_shape, checked_shape
from ._public import public

ALLOWED = "I (input), O (output), B (stack), another capital letter (receptive field), (n X), and one ..."
ELLIPSIS = "..."
MOST_CHARACTERS = 250  # an array has at most 64 axes, and 250 characters name at most 64 parts of them
_TOKEN = re.compile(r"\s*(?:(?P<word>[A-Z]|\.\.\.|\)|\(\s*(?P<count>\d+))|(?P<end>$)|(?P<bad>.))")

# Roles in canonical order: stacks, receptive field, inputs, outputs.
_ROLES = {"B": 0, "I": 2, "O": 3}
_RECEPTIVE_FIELD = 1
INPUT = _ROLES["I"]


@public("initlib")
class Fans(NamedTuple):
    """Fans of a weight: fan_in inputs feed one output, and one input feeds fan_out outputs.

    Attributes:
        fan_in: receptive field size times the number of inputs.
        fan_out: receptive field size times the number of outputs.

    Example:
        >>> fans((784, 128)).fan_in
        784
    """

    fan_in: int
    fan_out: int


class Factor(NamedTuple):
    """A part of a stored axis: index `(i // step) % size` of the axis moves the position by `stride`."""

    size: int
    step: int
    stride: int


class Token(NamedTuple):
    """A stored axis: the sizes of the stacks packed into it, outermost first, and its letter or '...'."""

    packed: tuple[int, ...]
    letter: str


@lru_cache(maxsize=1024)
def parse(axes: str) -> tuple[Token, ...]:
    """Return the tokens of an axes string."""
    if len(axes) > MOST_CHARACTERS:
        raise ValueError(f"axes must have at most {MOST_CHARACTERS} characters, got {len(axes)}: {axes[:32]!r}…")
    tokens: list[Token] = []
    packed: list[int] = []  # the counts of the open parentheses
    filled = 0  # the number of open parentheses that already hold a token
    for match in _TOKEN.finditer(axes):
        word = match["word"]
        if match["end"] is not None:
            break
        if match["bad"] is not None:
            raise ValueError(f"axes must consist of {ALLOWED}, got {match['bad']!r} in {axes!r}")
        if word == ")":
            if not filled:
                raise ValueError(
                    f"axes must hold an axis in each parenthesis, got {axes!r}. Write (n X), such as (3 O)"
                )
            packed.pop()
            filled -= 1
        elif filled:
            raise ValueError(f"axes must hold one axis in each parenthesis, got {axes!r}. Write (n X), such as (3 O)")
        elif match["count"] is not None:
            packed.append(int(match["count"]))
            if packed[-1] == 0:
                raise ValueError(f"axes must pack at least 1 kernel in (n X), got 0 in {axes!r}")
        else:
            if packed and word == ELLIPSIS:
                raise ValueError(f"axes must not pack '...', got {axes!r}. Write (n X), such as (3 O)")
            tokens.append(Token(tuple(packed), word))
            filled = len(packed)
    if packed:
        raise ValueError(f"axes must close each parenthesis, got {axes!r}. Write (n X), such as (3 O)")
    if not tokens:
        raise ValueError(f"axes must consist of {ALLOWED}, got {axes!r}")
    letters = [token.letter for token in tokens]
    for letter in letters:
        if letter not in _ROLES and letters.count(letter) > 1:
            raise ValueError(f"axes must repeat only I, O and B, got {letter!r} twice in {axes!r}")
    return tuple(tokens)


def check(axes: str | None) -> None:
    """Raise TypeError or ValueError unless the axes are None or a valid axes string."""
    if axes is not None:
        if not isinstance(axes, str):
            raise TypeError(f"axes must be a string such as 'OIHW' or '(3 O)I', got {axes!r}")
        parse(axes)


def match(shape: tuple[int, ...], axes: str | None) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Return the (role, size) parts of every stored axis; `axes=None` is "...IO", or "..." below two axes."""
    if isinstance(axes, int) and len(shape) == 1:
        check_one_shape(*shape, axes)
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
            raise ValueError(
                f"axes must name at most {given} axes for shape {shape}, got {axes!r} with at least {named - 1}"
            )
        tokens[free[0] : free[0] + 1] = [Token((), ELLIPSIS)] * (given - named + 1)
    elif given != named:
        raise ValueError(f"axes must name {given} axes for shape {shape}, got {axes!r} with {named}")
    factors = []
    for token, size in zip(tokens, shape, strict=True):
        kernels = math.prod(token.packed)
        if size % kernels:
            raise ValueError(
                f"axes must pack a number of kernels that divides the axis size {size} of shape {shape}, got {kernels} "
                f"in {axes!r}"
            )
        role = _ROLES.get(token.letter, _RECEPTIVE_FIELD)
        factors.append((*((_ROLES["B"], n) for n in token.packed), (role, size // kernels)))
    return tuple(factors)


def has_fans(axes: str | None) -> bool:
    """Return whether the axes name inputs, outputs or a stack; a single axis or "..." may be all receptive field.

    >>> has_fans("OIHW"), has_fans("BK"), has_fans("..."), has_fans("XY")
    (True, True, True, False)
    """
    if axes is None:
        return True
    tokens = parse(axes)
    return len(tokens) == 1 or any(token.packed or token.letter in (*_ROLES, ELLIPSIS) for token in tokens)


@public("initlib")
def fans(shape: Shape, axes: str | None = None) -> Fans:
    """Compute fan_in and fan_out of a weight.

    fan_in = field * inputs and fan_out = field * outputs. The field is the product of the receptive-field axes. Inputs
    and outputs are the products of the I and O axes. Stacks of kernels (B, and n in `(n X)`) do not count.

    Args:
        shape: shape of the weight, as stored.
        axes: role of each stored axis, such as "OIHW": I (input), O (output), B (stack), or another capital letter
            (receptive field). `(n X)` is an axis that packs n kernels. One `...` is any number of receptive-field axes.
            None is "...IO", the order of Keras, JAX and TensorFlow. If `axes` is None and the shape has fewer than two
            axes, all axes are receptive field, as in Keras.

    Returns:
        The two fans.

    Raises:
        TypeError: shape or axes has another type.
        ValueError: axes is not valid, does not fit the shape, or names two or more axes that are all receptive field.

    Example:
        >>> fans((784, 128))
        Fans(fan_in=784, fan_out=128)
        >>> fans((64, 32, 3, 3), "OIHW")  # a PyTorch convolution
        Fans(fan_in=288, fan_out=576)
        >>> fans((192, 64), "(3 O)I")  # packed query, key and value
        Fans(fan_in=64, fan_out=64)
    """
    parts = match(checked_shape(shape), axes)
    if not has_fans(axes):
        raise ValueError(
            f"axes must name the inputs (I) or the outputs (O), got {axes!r}, a receptive field alone. "
            'Write "IO" or "OI", or "..." if there is one input and one output'
        )
    sizes = [part for axis in parts for part in axis]
    field = math.prod(size for role, size in sizes if role == _RECEPTIVE_FIELD)
    return Fans(
        field * math.prod(size for role, size in sizes if role == _ROLES["I"]),
        field * math.prod(size for role, size in sizes if role == _ROLES["O"]),
    )


class Canonical(NamedTuple):
    """Parts of the stored axes of a weight, and the conversions between storage and canonical order."""

    stored: tuple[int, ...]  # the shape in storage
    parts: tuple[int, ...]  # the sizes of the parts in stored order; a packed axis has several
    order: tuple[int, ...]  # the indices of the parts in canonical order
    steps: tuple[tuple[int, int, int], ...]  # (axis, step, size) of each part, in canonical order
    factors: tuple[tuple[Factor, ...], ...]  # the parts of every stored axis, outermost first
    stacks: tuple[int, ...]
    field: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def matrices(self) -> tuple[int, int, int]:
        """Return the numbers of stacks, of rows (receptive field x inputs) and of columns (outputs), as matrices."""
        return math.prod(self.stacks), math.prod(self.field) * math.prod(self.inputs), math.prod(self.outputs)

    def arrange(self, weight: Any) -> Any:
        """Return the stored weight as (stacks..., field..., inputs..., outputs...)."""
        return np.permute_dims(weight.reshape(self.parts), self.order)

    def store(self, arranged: Any, xp: Any = np) -> Any:
        """Return the weight in storage order from canonical order in any shape, by the functions of `xp`."""
        sizes = self.stacks + self.field + self.inputs + self.outputs
        back = tuple(sorted(range(len(self.order)), key=self.order.__getitem__))
        return xp.permute_dims(arranged.reshape(sizes), back).reshape(self.stored)

    def coordinates(self, indices: Any) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
        """Return the indices inside each stack, field, input and output part from the indices of the stored axes."""
        each = iter([indices[axis] // step % size for axis, step, size in self.steps])
        groups = (self.stacks, self.field, self.inputs, self.outputs)
        stacks, field, inputs, outputs = ([next(each) for _ in group] for group in groups)
        return stacks, field, inputs, outputs


@lru_cache(maxsize=4096)
def canonical(shape: tuple[int, ...], axes: str | None) -> Canonical:
    """Return the parts of a weight of that shape, in canonical order.

    A weight at index i_a of every stored axis a has the position: sum over the axes a, and the factors f of each, of
    ((i_a // f.step) % f.size) * f.stride.
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
            tuple(factor for factor, (_, stored, _, _) in zip(factors, parts, strict=True) if stored == axis)
            for axis in range(len(shape))
        ),
        *(tuple(size for role, _, _, size in parts if role == wanted) for wanted in range(4)),
    )
