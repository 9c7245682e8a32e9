"""Recipe of a vision model with another number of input channels."""

from collections.abc import Sequence
from typing import Literal

from ..._arguments import choice, integer
from ...plans.fills.loaded import Loaded, loaded
from ...plans.fills.values import Fill
from ...plans.parameter import Parameter
from ..rules import Rules, required
from .old_model import OldModel, Source, as_patterns, side_by_side


def input_channels(
    source: Source, patterns: str | Sequence[str], *, mode: Literal["sum", "mean"] = "sum", axis: int = 1
) -> Rules:
    """Return the rules of a vision model with another number of input channels.

    A new model with one channel gets the sum or the mean of the old channels. A new model with n > 1 channels repeats
    the old channels in order. With "sum", repeated channels are multiplied by the number of old channels divided by n.
    So the output for equal input channels stays the same. With "mean", repeated channels are not changed. Put a rule
    for the other parameters, `{"*": loaded(source)}`, after these rules.

    Args:
        source: the checkpoint of the old model (see `initlib.loaded`).
        patterns: the pattern of the kernel of the first convolution, such as "conv1.weight", or a list of patterns.
        mode: "sum" as in timm, or "mean".
        axis: the axis of the channels as stored: 1 in PyTorch, -2 in Keras and Flax.

    Returns:
        Rules for these kernels.

    Raises:
        OSError: the source cannot be read.
        ValueError: mode is not allowed, or the source is not a checkpoint.

    Example:
        >>> import numpy as np
        >>> from initlib import Parameter, plan
        >>> old = {"conv.weight": np.array([[[[1.0]], [[2.0]], [[4.0]]]], "float32")}
        >>> gray = plan([Parameter("conv.weight", (1, 1, 1, 1))], input_channels(old, "conv.weight"))
        >>> gray.draw(seed=0)["conv.weight"].item()
        7.0

    Reference:
        Wightman. PyTorch image models (timm), `adapt_input_conv`. 2019.
    """
    is_sum, axis = choice(mode, "mode", ("sum", "mean")) == "sum", integer(axis, "axis")
    every = as_patterns(patterns, "patterns")
    old = OldModel(source)

    def adapted(parameter: Parameter) -> Fill:
        name = old.name(parameter)
        stored, shape = old.shape_of(name), parameter.shape
        at = axis + len(shape) if axis < 0 else axis
        if len(stored) != len(shape) or not 0 <= at < len(shape):
            raise ValueError(f"axis must be the axis of the channels in shape {stored}, got {axis} for shape {shape}")
        count, channels = stored[at], shape[at]
        if count == channels:
            return loaded(source, name)
        if not count or not channels:
            raise ValueError(f"the kernel must have input channels, got {channels} for the {count} of the old kernel")
        before = (slice(None),) * at

        def channel(number: int, factor: float) -> Loaded:
            return loaded(source, name, index=(*before, slice(number, number + 1)), scale=factor)

        if channels == 1:
            factor = 1.0 if is_sum else 1 / count
            return sum((channel(number, factor) for number in range(1, count)), start=channel(0, factor))
        factor = count / channels if is_sum else 1.0
        fills = [channel(number % count, factor) for number in range(channels)]
        return side_by_side(fills, at, [f"channel{number}" for number in range(channels)])

    return {required(pattern, "input_channels", "kernels", "patterns"): adapted for pattern in every}
