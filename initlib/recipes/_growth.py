"""Recipes that start a larger model from the weights of a smaller one."""

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from numpy.typing import ArrayLike

from .._arguments import choice, integer, positive, real
from ..axes import INPUT
from ..axes import match as match_axes
from ..plans.parameter import Parameter, check_name
from ..plans.rules.hints import nearest
from ..plans.rules.loaded import FileSource, Loaded, array_in, loaded
from ..plans.rules.new_weights import NewRows, Redrawn
from ..plans.rules.parts import Split, Stack
from ..plans.rules.patterns import as_pattern, glob, starred
from ..plans.rules.values import Fill
from ..plans.text.errors import RuleNeededError
from ..schemes._constant import zeros
from ..schemes._normal import normal
from ..schemes.initializer import Initializer
from .rules import Rules, required

Source = str | os.PathLike[str] | Mapping[str, ArrayLike]
Pattern = str
SCHEMES = ("stack", "expand", "overlap")


def grow_vocabulary(
    source: Source,
    tables: Pattern | Sequence[Pattern],
    *,
    rows: int | None = None,
    covariance: bool = False,
    spread: float = 1.0,
) -> Rules:
    """Return the rules of a model with a larger vocabulary: old rows stay, new rows are like them.

    New rows are normal, with the mean of the old rows and their std in each column. With `covariance=True` the columns
    are also correlated as in the old rows, which are read once when the first weights are drawn. Correlated rows agree
    to 1e-6 between machines. A new padding row is zero. A rule for the other parameters, `{"*": loaded(source)}`,
    belongs after these rules.

    Args:
        source: the checkpoint of the old model (see `initlib.loaded`).
        tables: the patterns of the tables, of the head, and of its bias.
        rows: the number of old rows to keep, if the old tables are padded; None keeps all rows.
        covariance: whether new rows have the covariance of the old rows.
        spread: factor of the std of new rows. The default of transformers' `resize_token_embeddings` is
            `covariance=True, spread=1e-9**0.5`; `spread=0` gives each new row the mean.

    Returns:
        Rules for the tables.

    Raises:
        OSError: the source cannot be read.
        ValueError: the source is no checkpoint. The plan raises for a table with fewer rows than the old one.

    Example:
        >>> import numpy as np
        >>> from initlib import Parameter, plan
        >>> old = {"wte.weight": np.arange(12, dtype="float32").reshape(6, 2)}
        >>> grown = plan([Parameter("wte.weight", (8, 2), kind="table")], grow_vocabulary(old, "wte.weight"))
        >>> table = grown.draw(seed=0)["wte.weight"]
        >>> bool((table[:6] == old["wte.weight"]).all())
        True

    Reference:
        Hewitt. Initializing new word embeddings for pretrained language models. 2021.
    """
    old = _Old(source)
    patterns = _patterns(tables, "tables")
    kept = None if rows is None else integer(rows, "rows", least=1)
    noise = normal(std=positive(spread, "spread", or_zero=True))

    def grown(parameter: Parameter) -> Fill:
        name = old.name(parameter)
        if not parameter.shape or not old.shape_of(name):
            raise ValueError(f"the table must have rows, got shape {old.shape_of(name)} and {parameter.shape}")
        stored = old.shape_of(name)[0]
        if not stored or (kept is not None and kept > stored):
            raise ValueError(f"rows must be from 1 to the {stored} rows of the old table, got {kept}")
        count = stored if kept is None else kept
        added = parameter.shape[0] - count
        if added < 0:
            raise ValueError(f"the table must have at least the {count} rows of the old table, got {parameter.shape}")
        known = loaded(source, name, index=None if count == stored else slice(0, count))
        if not added:
            return known
        like_old = NewRows((known,), noise, covariance)
        padding = parameter.padding
        if padding is None or padding < count:
            return Split((known, like_old), 0, 0, ("old", "added"), (count, added))
        rows_of = (("old", known, count), ("added", like_old, padding - count), ("padding", zeros, 1))
        every = [*rows_of, ("last", like_old, parameter.shape[0] - padding - 1)]
        names, fills, sizes = zip(*[part for part in every if part[2]], strict=True)
        return Split(fills, 0, 0, names, sizes)

    return {required(pattern, "grow_vocabulary", "tables", "tables"): grown for pattern in patterns}


def upcycle(
    source: Source,
    up: Mapping[Pattern, str | Sequence[str]],
    down: Mapping[Pattern, str],
    *,
    noise: Initializer | None = None,
    redrawn: float = 0.0,
    seed: int = 0,
    axis: int = 0,
) -> Rules:
    """Return the rules of sparse upcycling: every expert of a mixture starts as the dense MLP.

    With `redrawn`, a share of the hidden units of each expert is drawn anew (drop-upcycling): normal, with the mean and
    the std of the dense weights at these units. The choice of units depends on `seed`, on the texts that the `*` of the
    pattern match, and on the number of the expert. So all weights of an expert have the same new units.

    The router is not in the dense model, and needs a rule of its own. A rule for the other parameters,
    `{"*": loaded(source)}`, belongs after these rules.

    Args:
        source: the checkpoint of the dense model (see `initlib.loaded`).
        up: patterns of expert weights that compute the hidden units, each with the name of the dense weight. If an
            expert weight fuses several dense weights along the hidden units, give all their names. A `*` in a name
            becomes the text that a `*` in the pattern matches.
        down: patterns of expert weights that read the hidden units, each with the name of the dense weight.
        noise: an initializer whose weights are added to each copy, or None.
        redrawn: the share of hidden units that are new, from 0 to 1.
        seed: the seed of the choice of hidden units.
        axis: the axis of the hidden units in `up` weights of one expert: 0 in PyTorch, 1 in Keras and Flax.

    Returns:
        Rules for the experts.

    Raises:
        OSError: the source cannot be read.
        TypeError: noise is not an initializer.
        ValueError: redrawn is not from 0 to 1, or both `noise` and `redrawn` are given.

    Example:
        >>> import numpy as np
        >>> from initlib import Parameter, normal, plan
        >>> dense = {"mlp.up.weight": np.eye(4, dtype="float32"), "mlp.down.weight": np.eye(4, dtype="float32")}
        >>> experts = [Parameter("mlp.experts.up", (8, 4, 4)), Parameter("mlp.experts.down", (8, 4, 4))]
        >>> router = [Parameter("mlp.router", (8, 4))]
        >>> copies = upcycle(dense, {"*.experts.up": "*.up.weight"}, {"*.experts.down": "*.down.weight"})
        >>> weights = plan(experts + router, {"*.router": normal(std=0.02), **copies}).draw(seed=0)
        >>> bool((weights["mlp.experts.up"] == np.eye(4)).all())
        True

    Reference:
        Komatsuzaki et al. Sparse upcycling: training mixture-of-experts from dense checkpoints. 2022. arXiv:2212.05055.
        Nakamura et al. Drop-Upcycling: training sparse mixture of experts with partial re-initialization. 2025.
        arXiv:2502.19261.
    """
    old = _Old(source)
    if not 0 <= real(redrawn, "redrawn") <= 1:
        raise ValueError(f"redrawn must be from 0 to 1, got {redrawn!r}")
    if noise is not None and redrawn:
        raise ValueError(f"noise must be None if hidden units are redrawn, got {noise!r} and redrawn={redrawn!r}")
    if noise is not None and not isinstance(noise, Initializer):
        raise TypeError(f"noise must be an initializer or None, got {noise!r}")
    seed, axis = integer(seed, "seed", least=0, below=2**64), integer(axis, "axis", least=0, below=2)

    def one(name: str, hidden: int, expert: str) -> Fill:
        copy = loaded(source, name)
        if noise is not None:
            return copy + noise
        if not redrawn or hidden >= len(old.shape_of(name)):
            return copy
        return Redrawn((copy,), normal(), hidden, redrawn, expert, seed)

    def rule(pattern: Pattern, names: tuple[str, ...], hidden: int) -> Callable[[Parameter], Fill]:
        matcher = as_pattern(pattern, "experts")

        def copied(parameter: Parameter) -> Fill:
            match = matcher.name.fullmatch(parameter.name)
            assert match is not None  # the pattern of the rule
            expert = ".".join(text or "" for text in match.groups())
            filled = [starred(name, matcher, parameter.name) for name in names]
            stored = old.shape_of(filled[0])
            axes = len(parameter.shape) - len(stored)
            if axes not in (0, 1) or 0 in parameter.shape:
                raise ValueError(
                    f"experts must have the {len(stored)} axes of {filled[0]!r}, or one additional first axis, got "
                    f"shape {parameter.shape} for {stored}"
                )
            if not axes:  # one expert
                return _fused([one(name, hidden, expert) for name in filled], names, hidden)
            every = (
                _fused([one(name, hidden, f"{expert}.{i}") for name in filled], names, hidden)
                for i in range(parameter.shape[0])
            )
            return Stack(tuple(every), 0, 1, f"{{i}}.{parameter.name.rpartition('.')[2]}")

        return copied

    rules: Rules = {}
    for argument, mapping, hidden in (("up", up, axis), ("down", down, 1 - axis)):
        if not isinstance(mapping, Mapping):
            raise TypeError(f"{argument} must be a mapping from patterns to names of dense weights, got {mapping!r}")
        for pattern, dense in mapping.items():
            names = (dense,) if isinstance(dense, str) else dense
            if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
                raise TypeError(f"{argument} must have names of dense weights as values, got {dense!r}")
            rules[required(pattern, "upcycle", "experts", argument)] = rule(pattern, tuple(names), hidden)
    return rules


def _patterns(patterns: Pattern | Sequence[Pattern], argument: str) -> list[Pattern]:
    """Return one pattern or several as a list. Raises TypeError, and ValueError for an empty list."""
    if not isinstance(patterns, (str, Sequence)):
        raise TypeError(f"{argument} must be a pattern or a list of patterns, got {patterns!r}")
    every = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in every:
        as_pattern(pattern, argument)
    if not every:
        raise ValueError(f"{argument} must have at least one pattern, got {patterns!r}")
    return every


def _fused(fills: list[Fill], names: Sequence[str], axis: int) -> Fill:
    """Return one fill for weights of equal size that are fused along an axis."""
    if len(fills) == 1:
        return fills[0]
    return Split(tuple(fills), axis, 0, tuple(name.replace("*", "_") for name in names), (1,) * len(fills))


def grow_depth(
    source: Source,
    layers: int,
    *,
    module: str = "layers",
    scheme: Literal["stack", "expand", "overlap"] = "stack",
    outputs: Sequence[Pattern] = ("*.o_proj.weight", "*.down_proj.weight"),
) -> Rules:
    """Return the rules of a deeper model: each layer is loaded from a layer of the old model.

    For L old layers and `layers` new ones, by scheme:

    - "stack": layer i is a copy of layer i mod L (progressive stacking);
    - "expand": after each group of L / (layers - L) layers, a copy of the last layer of the group, whose `outputs` are
      zero. The new model computes what the old model computes (LLaMA-Pro);
    - "overlap": the old layers without the last m, then the old layers without the first m, where layers is 2 (L - m)
      (depth up-scaling of SOLAR).

    A rule for the other parameters, `{"*": loaded(source)}`, belongs after this rule.

    Args:
        source: the checkpoint of the old model (see `initlib.loaded`).
        layers: the number of layers of the new model.
        module: the name of the module that holds the layers: "layers" for LLaMA, "h" for GPT-2.
        scheme: the name of a scheme.
        outputs: for "expand", the patterns of the parameters of a layer that end its residual branches: weights and
            biases.

    Returns:
        A rule for the parameters of layers.

    Raises:
        OSError: the source cannot be read.
        ValueError: the source has no such layers, or the scheme does not give this number of layers.

    Example:
        >>> import numpy as np
        >>> from initlib import Parameter, plan
        >>> old = {f"m.layers.{i}.o_proj.weight": np.full((2, 2), i + 1.0, "float32") for i in range(2)}
        >>> deep = [Parameter(f"m.layers.{i}.o_proj.weight", (2, 2)) for i in range(4)]
        >>> weights = plan(deep, grow_depth(old, 4, scheme="expand", outputs=["*.o_proj.*"])).draw(seed=0)
        >>> [float(weight[0, 0]) for weight in weights.values()]
        [1.0, 0.0, 2.0, 0.0]

    Reference:
        Gong et al. Efficient training of BERT by progressively stacking. ICML 2019.
        Wu et al. LLaMA Pro: progressive LLaMA with block expansion. 2024. arXiv:2401.02415.
        Kim et al. SOLAR 10.7B: scaling large language models with simple yet effective depth up-scaling. 2023.
        arXiv:2312.15166.
    """
    name_of_scheme = choice(scheme, "scheme", SCHEMES)
    old = _Old(source)
    numbered = re.compile(rf"((?:.*?\.)?{re.escape(check_name(module, 'module'))}\.)([0-9]{{1,9}})(\..+)")
    names = [match for name in old.tensors if (match := numbered.fullmatch(str(name)))]
    if not names:
        raise ValueError(f"module must be the module that holds the layers in {old}, got {module!r}")
    old_layers = 1 + max(int(match[2]) for match in names)
    layers = integer(layers, "layers", least=1)
    _check_layers(old_layers, layers, name_of_scheme)
    every = _patterns(outputs, "outputs") if name_of_scheme == "expand" else []
    ends = [glob(output) for output in every]
    for output, end in zip(every, ends, strict=True):
        if not any(end.fullmatch(match[0]) for match in names):
            raise ValueError(f"each pattern of outputs must match a parameter of a layer in {old}, got {output!r}")

    def copied(parameter: Parameter) -> Fill:
        match = numbered.fullmatch(parameter.name)
        assert match is not None  # the pattern of the rule
        if int(match[2]) >= layers:
            raise ValueError(f"layers must be the number of layers of the model, got {layers}")
        origin, is_new = _origin(int(match[2]), old_layers, layers, name_of_scheme)
        if is_new and any(end.fullmatch(parameter.name) for end in ends):
            return zeros
        return loaded(source, f"{match[1]}{origin}{match[3]}")

    return {required(numbered, "grow_depth", "layers", "module"): copied}


def _check_layers(old: int, new: int, scheme: str) -> None:
    """Raise ValueError if the scheme does not make that number of new layers from the old ones."""
    if new < old:
        raise ValueError(f"layers must be at least {old}, as in the source, got {new}")
    if scheme == "expand" and new > old and old % (new - old):
        raise ValueError(f"layers must be {old} plus a divisor of {old} for scheme='expand', got {new}")
    if scheme == "overlap" and new > old and (new % 2 or new > 2 * old):
        raise ValueError(f"layers must be even and at most {2 * old} for scheme='overlap', got {new}")


def _origin(layer: int, old: int, new: int, scheme: str) -> tuple[int, bool]:
    """Return the old layer of a new layer, and whether the new layer is one that `expand` inserts."""
    if scheme == "expand" and new > old:
        group = old // (new - old)
        number, at = divmod(layer, group + 1)
        return number * group + min(at, group - 1), at == group
    if scheme == "overlap":
        return layer if layer < new // 2 else layer - (new - old), False
    return layer % old, False


def grow_width(source: Source) -> Rules:
    """Return the rules of a wider model that computes what the old model computes.

    Each axis of a weight must be a multiple of the old axis. The old weight is repeated along each axis, and divided by
    the number of repetitions along its input axes. So each old unit has equal copies, and the next weight averages the
    copies. In a fused weight and its bias, each part is repeated by itself. Their axes must state the parts:
    `axes={"*.c_attn.weight": "I(3 O)", "*.c_attn.bias": "(3 O)"}` for GPT-2.

    In a transformer the number of attention heads grows, and their size stays. The output head must not be tied to the
    table: both are repeated, but only the head is divided.

    Args:
        source: the checkpoint of the old model (see `initlib.loaded`).

    Returns:
        A rule for every parameter.

    Raises:
        OSError: the source cannot be read.
        ValueError: the source is no checkpoint. The plan raises for a weight whose axes are no multiples, or whose
            axes are unknown.

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
    old = _Old(source)

    def widened(parameter: Parameter) -> Fill:
        name = old.name(parameter)
        stored, shape = old.shape_of(name), parameter.shape
        if len(stored) != len(shape) or not all(map(_is_multiple, shape, stored)):
            raise ValueError(f"the shape must be a multiple of {stored} along each axis, got {shape}")
        copies = [new // size if size else 1 for new, size in zip(shape, stored, strict=True)]
        if parameter.axes is None and sum(size > 1 for size in shape) > 1 and max(copies) > 1:
            raise RuleNeededError(
                "the axes are unknown, and weights are divided by the number of copies of their inputs",
                f'Pass axes={{"{parameter.name}": ...}}, such as "OI"; "BO" for a table',
            )
        packed, inputs = _roles(parameter)
        if any(size % count for size, count in zip(stored, packed, strict=True)):
            raise ValueError(f"the old shape must be divisible by the packed weights of {parameter.axes}, got {stored}")
        factor = 1 / math.prod(copies[axis] for axis in inputs)
        return _tiled(loaded(source, name), stored, copies, packed, factor)

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


def _tiled(old: Loaded, stored: Sequence[int], copies: Sequence[int], packed: Sequence[int], factor: float) -> Fill:
    """Return the fill of a tensor that repeats an old tensor along its axes, inside each of the packed weights."""

    def tiled(axis: int, index: tuple[slice, ...]) -> Fill:
        if axis == len(stored):
            whole = all(part == slice(0, size) for part, size in zip(index, stored, strict=True))
            return replace(old, index=None if whole else loaded({}, index=index).index) * factor
        if copies[axis] == 1:
            return tiled(axis + 1, (*index, slice(0, stored[axis])))
        size = stored[axis] // packed[axis]
        fills = [
            tiled(axis + 1, (*index, slice(part * size, (part + 1) * size)))
            for part in range(packed[axis])
            for _ in range(copies[axis])
        ]
        names = tuple(f"copy{number}" for number in range(len(fills)))
        return Split(tuple(fills), axis, 0, names, (1,) * len(fills))

    return tiled(0, ())


def input_channels(
    source: Source, patterns: Pattern | Sequence[Pattern], *, mode: Literal["sum", "mean"] = "sum", axis: int = 1
) -> Rules:
    """Return the rules of a vision model with another number of input channels.

    A model with one channel gets the sum of the old channels, or their mean. A model with n > 1 channels repeats the
    old channels in order. "mean" leaves them unchanged. "sum" multiplies them by the number of old channels over n, so
    that the output for equal input channels stays the same. A rule for the other parameters, `{"*": loaded(source)}`,
    belongs after these rules.

    Args:
        source: the checkpoint of the old model (see `initlib.loaded`).
        patterns: the patterns of the first convolution's kernel: "conv1.weight", "patch_embed.proj.weight".
        mode: "sum" as in timm, or "mean".
        axis: the axis of the channels as stored: 1 in PyTorch, -2 in Keras and Flax.

    Returns:
        Rules for these kernels.

    Raises:
        OSError: the source cannot be read.
        ValueError: mode has another value, or the source is no checkpoint.

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
    every = _patterns(patterns, "patterns")
    old = _Old(source)

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
            total: Any = channel(0, factor)
            for number in range(1, count):
                total = total + channel(number, factor)
            return total  # type: ignore[no-any-return]
        factor = count / channels if is_sum else 1.0
        fills = tuple(channel(number % count, factor) for number in range(channels))
        return Split(fills, at, 0, tuple(f"channel{number}" for number in range(channels)), (1,) * channels)

    return {required(pattern, "input_channels", "kernels", "patterns"): adapted for pattern in every}


class _Old:
    """The shapes of the old weights. Only headers are read."""

    def __init__(self, source: Source) -> None:
        self.source = loaded(source).source
        self.tensors = self.source.open().tensors() if isinstance(self.source, FileSource) else self.source.tensors()

    def __str__(self) -> str:
        return str(self.source)

    def name(self, parameter: Parameter) -> str:
        """Return the first name of a parameter, in alphabetical order, that the source holds."""
        for name in sorted(parameter.names):  # so that a rule's function gives each of the names the same fill
            if name in self.tensors:
                return name
        raise ValueError(
            f"the source must hold {parameter.name!r}{nearest(parameter.name, map(str, self.tensors), 'names')}"
        )

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor of the source."""
        if name not in self.tensors:
            raise ValueError(f"the source must hold {name!r}{nearest(name, map(str, self.tensors), 'names')}")
        return tuple(array_in(self.tensors, name).shape)
