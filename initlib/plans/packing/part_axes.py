"""Axes of a part: the axes of the stored tensor, without the axes that pack the parts."""

import math

from ...axes import Token, parse

ROW_MAJOR = "..."  # the axes of a weight whose axes are unknown: its positions are numbered as stored


def without(axes: str | None, ndim: int, axis: int) -> str | None:
    """Return the axes of the tensor at one index of an axis.

    >>> without("BIO", 3, 0), without("I(3 O)B", 3, 1), without("...IO", 4, 0)
    ('IO', 'IB', '...IO')
    """
    if axes is None:
        return None
    tokens = list(parse(axes))
    at = _token(tokens, ndim, axis)
    if at is not None:
        del tokens[at]
    return _text(tokens) or ROW_MAJOR


def unpacked(axes: str | None, shape: tuple[int, ...], axis: int, lengths: list[int], groups: int) -> list[str | None]:
    """Return the axes of each part along an axis: a part keeps the packing of the kernels that it holds.

    >>> unpacked("(4 O)I", (64, 8), 0, [16, 48], 1)
    ['OI', '(3 O)I']

    Parts that are not whole kernels have nothing to do with that packing, nor have parts in groups.
    """
    tokens = [] if axes is None else list(parse(axes))
    at = _token(tokens, len(shape), axis)
    if at is None or not tokens[at].packed:
        return [axes] * len(lengths)
    packed, letter = tokens[at]
    kernel = shape[axis] // packed[0]
    whole = groups == 1 and kernel > 0 and all(length % kernel == 0 for length in lengths)
    held = [((length // kernel,) * (length > kernel) + packed[1:]) if whole else () for length in lengths]
    return [_text([*tokens[:at], Token(each, letter), *tokens[at + 1 :]]) for each in held]


def _token(tokens: list[Token], ndim: int, axis: int) -> int | None:
    """Return the number of the token that names the axis; None if `...` or no token names the axis."""
    free = next((k for k, token in enumerate(tokens) if token.letter == "..."), math.inf)
    if axis < min(free, len(tokens)):
        return axis
    back = axis - ndim  # counted from the end
    return len(tokens) + back if len(tokens) + back > free else None


def _text(tokens: list[Token]) -> str:
    """Return the axes string of tokens."""
    return "".join(
        "".join(f"({count} " for count in token.packed) + token.letter + ")" * len(token.packed) for token in tokens
    )
