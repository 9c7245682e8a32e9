"""Recipe of sparse upcycling: experts that start as a dense MLP."""

from collections.abc import Callable, Mapping, Sequence

from ..._arguments import integer, real
from ...plans.fills.loaded import loaded
from ...plans.fills.new_weights import Redrawn
from ...plans.fills.parts import Stack
from ...plans.fills.values import Fill
from ...plans.parameter import Parameter
from ...plans.rules.patterns import as_pattern, starred
from ...schemes._normal import normal
from ...schemes.initializer import Initializer
from ..rules import Rules, required
from .old_model import OldModel, Source, side_by_side


def upcycle(
    source: Source,
    up: Mapping[str, str | Sequence[str]],
    down: Mapping[str, str],
    *,
    noise: Initializer | None = None,
    redrawn: float = 0.0,
    seed: int = 0,
    axis: int = 0,
) -> Rules:
    """Return the rules of sparse upcycling: every expert of a mixture of experts starts as a copy of the dense MLP.

    With `redrawn`, a share of the hidden units of each expert is drawn again (drop-upcycling). The new weights are
    normal, with the mean and the std of the dense weights of these units. The choice of units depends on `seed`, on the
    text that each `*` of the pattern matches, and on the index of the expert. So all weights of one expert have the
    same new units.

    The dense model has no router, so add a rule for the router. Put a rule for the other parameters,
    `{"*": loaded(source)}`, after these rules.

    Args:
        source: the checkpoint of the dense model (see `initlib.loaded`).
        up: a mapping from patterns of expert weights that compute the hidden units to the names of the dense weights.
            If an expert weight fuses several dense weights along the hidden units, give a list of their names. A `*` in
            a name becomes the text that a `*` in the pattern matches.
        down: a mapping from patterns of expert weights that read the hidden units to the names of the dense weights.
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
    old = OldModel(source)
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

    def rule(pattern: str, names: tuple[str, ...], hidden: int) -> Callable[[Parameter], Fill]:
        matcher = as_pattern(pattern, "experts")
        part_names = [name.replace("*", "_") for name in names]

        def fused(dense: list[str], expert: str) -> Fill:
            return side_by_side([one(name, hidden, expert) for name in dense], hidden, part_names)

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
                return fused(filled, expert)
            every = tuple(fused(filled, f"{expert}.{i}") for i in range(parameter.shape[0]))
            return Stack(every, 0, 1, f"{{i}}.{parameter.name.rpartition('.')[2]}")

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
