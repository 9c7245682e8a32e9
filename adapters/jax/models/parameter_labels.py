"""Labels of parameters for an optimizer of optax, with a learning rate and a weight decay for each parameter's name."""

from collections.abc import Mapping

import jax

from initlib._public import public

from .stacks import Stack, Stacks
from .tensors import Tree, is_box, leaves


@public("initlib.adapters.jax")
def parameter_labels(
    params: Tree,
    multipliers: Mapping[str, Mapping[str, float]],
    *,
    stack: Stack | None = None,
) -> tuple[Tree, dict[str, Mapping[str, float]]]:
    """Return the labels of a pytree's parameters for `optax.multi_transform`, and the multipliers of each label.

    Parameters with equal multipliers share a label.

    Args:
        params: the pytree of the parameters that the optimizer updates, or of the shapes of these parameters. For
            `flax.nnx` pass `nnx.state(model, nnx.Param)`. For Equinox pass `eqx.filter(model, eqx.is_inexact_array)`.
        multipliers: for each parameter name, the multipliers "lr", "weight_decay" and "eps", as
            `initlib.mup_learning_rates` returns them.
        stack: the stacks of layers, as for `plan`.

    Returns:
        A pytree with a string in place of each array, and a dictionary from these strings to multipliers. Pass the
        pytree to optax. For Equinox, pass `lambda _: labels`, because optax calls labels that are callable.

    Raises:
        ValueError: a parameter has no multipliers, the layers of a stack have different multipliers, or `stack` does
            not fit the tree.

    Example:
        >>> import jax, optax
        >>> import initlib.adapters.jax as init
        >>> from initlib import mup_learning_rates, normal
        >>> def network(width):
        ...     return {"first": jax.numpy.ones((8, width)), "second": jax.numpy.ones((width, width))}
        >>> axes = {"first": "IO", "second": "IO"}
        >>> base, wide = (init.plan(network(width), normal(std=0.02), axes=axes) for width in (64, 256))
        >>> labels, groups = init.parameter_labels(network(256), mup_learning_rates(wide, base))
        >>> labels["second"]
        'lr=0.25, weight_decay=4.0, eps=1.0'
        >>> transforms = {label: optax.adam(0.01 * factors["lr"]) for label, factors in groups.items()}
        >>> state = optax.multi_transform(transforms, labels).init(network(256))

    Reference:
        Yang, Hu et al. Tensor Programs V: tuning large neural networks via zero-shot hyperparameter transfer. 2022.
        arXiv:2203.03466.
    """
    stacks = Stacks(stack)
    groups: dict[str, Mapping[str, float]] = {}
    labels = {}
    for leaf in leaves(params):
        names = [[layer.name for layer in stacks.unrolled(name, tuple(leaf.value.shape))] for name in leaf.names]
        layers = next((each for each in names if all(name in multipliers for name in each)), None)
        if layers is None:
            missing = next(name for name in names[0] if name not in multipliers)
            raise ValueError(f"multipliers must have every parameter of params, got none for {missing!r}")
        factors = multipliers[layers[0]]
        if different := next((name for name in layers if multipliers[name] != factors), None):
            raise ValueError(
                f"multipliers of the layers in {leaf.names[0]!r} must be equal, got {dict(factors)} for {layers[0]!r} "
                f"and {dict(multipliers[different])} for {different!r}"
            )
        label = ", ".join(f"{option}={factor!r}" for option, factor in factors.items())
        groups[label] = factors
        labels.update(dict.fromkeys(leaf.paths, label))
    if problems := stacks.problems():
        raise ValueError(problems[0])
    # A variable of Flax becomes a plain string, because optax sees variables at `init` and plain arrays at `update`.
    tree = jax.tree_util.tree_map_with_path(lambda path, node: labels.get(path, node), params, is_leaf=is_box)
    return tree, groups
