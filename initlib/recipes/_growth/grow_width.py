"""Recipe of a wider model that computes what the old model computes."""

import math
from collections.abc import Callable, Sequence
from functools import partial

from ...axes import INPUT
from ...axes import match as match_axes
from ...plans.fills.loaded import loaded
from ...plans.fills.values import Fill
from ...plans.parameter import Parameter
from ...plans.text.errors import RuleNeededError
from ..rules import Rules
from .old_model import OldModel, Source, side_by_side


def grow_width(source: Source) -> Rules:
    """Return the rules of a wider model that computes the same function as the old model.

    Each axis of a weight must be a multiple of the old axis. The old weight is repeated along each axis, and divided by
    the number of repetitions along the input axes. So each old unit has equal copies, and the next weight averages the
    copies. In a fused weight and its bias, each part is repeated separately, and `axes` must state the parts. For
    GPT-2, pass `axes={"*.c_attn.weight": "I(3 O)", "*.c_attn.bias": "(3 O)"}`.

    In a transformer, increase the number of attention heads, and keep the size of each head. The output head must not
    be tied to the table, because only the head is divided. A tied table that grows is an error.

    Args:
        source: the checkpoint of the old model (see `initlib.loaded`).

    Returns:
        A rule for every parameter.

    Raises:
        OSError: the source cannot be read.
        ValueError: the source is not a checkpoint. `plan` raises PlanError if the axes of a weight are unknown, or not
            multiples of the old axes, and for a tied table that grows.

    Example:
        >>> import numpy as np
        >>> from initlib import Parameter, plan
        >>> old = {"up.weight": np.eye(2, dtype="float32"), "down.weight": np.eye(2, dtype="float32")}
        >>> wide = [Parameter("up.weight", (4, 2), axes="OI"), Parameter("down.weight", (2, 4), axes="OI")]
        >>> weights = plan(wide, grow_width(old)).draw(seed=0)
        >>> (weights["down.weight"] @ weights["up.weight"]).tolist()
        [[1.0, 0.0], [0.0, 1.0]]

    Reference:
        Chen, Goodfellow, Shlens. Net2Net: accelerating learning via knowledge transfer. 2015. arXiv:1511.05641.
        Samragh et al. Scaling smart: accelerating large language model pre-training with small model initialization.
        2024. arXiv:2409.12903.
    """
    old = OldModel(source)

    def widened(parameter: Parameter) -> Fill:
        name = old.name(parameter)
        stored, shape = old.shape_of(name), parameter.shape
        if len(stored) != len(shape) or not all(map(_is_multiple, shape, stored)):
            raise ValueError(f"the shape must be a multiple of {stored} along each axis, got {shape}")
        copies = [new // size if size else 1 for new, size in zip(shape, stored, strict=True)]
        if parameter.kind == "table" and parameter.tied and max(copies) > 1:
            names = ", ".join(map(repr, parameter.names))
            raise ValueError(
                f"a tied table ({names}) must have the shape {stored} of the old table, got {shape}: a head must be "
                "divided by the number of copies, but a table must not. Untie the head. If none of the names is "
                "the name of a head, add one rule that matches all these names"
            )
        if parameter.axes is None and sum(size > 1 for size in shape) > 1 and max(copies) > 1:
            raise RuleNeededError(
                "the axes are unknown, and weights are divided by the number of copies of their inputs",
                f'Pass axes={{"{parameter.name}": ...}}, such as "OI"; "BO" for a table',
            )
        packed, inputs = _roles(parameter)
        if any(size % count for size, count in zip(stored, packed, strict=True)):
            raise ValueError(
                f"the old shape must be divisible by the numbers of packed weights in axes "
                f"{parameter.axes!r}, got {stored}"
            )
        if max(copies, default=1) == 1:
            return loaded(source, name)
        factor = 1 / math.prod(copies[axis] for axis in inputs)
        return _tiled(partial(loaded, source, name, scale=factor), stored, copies, packed)

    return {"*": widened}


def _is_multiple(new: int, old: int) -> bool:
    return new == old or (new > 0 and old > 0 and new % old == 0)


def _roles(parameter: Parameter) -> tuple[list[int], list[int]]:
    """Return the number of weights that each axis packs, and the input axes."""
    if parameter.axes is None:
        return [1] * len(parameter.shape), []
    parts = match_axes(parameter.shape, parameter.axes)
    packed = [math.prod(size for _, size in axis[:-1]) for axis in parts]
    return packed, [axis for axis, split in enumerate(parts) if split[-1][0] == INPUT]


def _tiled(old: Callable[..., Fill], stored: Sequence[int], copies: Sequence[int], packed: Sequence[int]) -> Fill:
    """Return the fill of a tensor that repeats an old tensor along its axes, inside each of the packed weights.

    `old` is a function that returns the fill with a box of the old tensor, by `index=`.
    """

    def tiled(axis: int, index: tuple[slice, ...]) -> Fill:
        if axis == len(stored):
            return old(index=index)
        if copies[axis] == 1:
            return tiled(axis + 1, (*index, slice(0, stored[axis])))
        size = stored[axis] // packed[axis]
        fills = [
            tiled(axis + 1, (*index, slice(part * size, (part + 1) * size)))
            for part in range(packed[axis])
            for _ in range(copies[axis])
        ]
        return side_by_side(fills, axis, [f"copy{number}" for number in range(len(fills))])

    return tiled(0, ())
