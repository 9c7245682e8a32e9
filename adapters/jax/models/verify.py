"""Comparison of a pytree of weights with the plan and the seed that initialized it."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from initlib import Plan
from initlib._public import public
from initlib.adapters.common.selection import Only
from initlib.adapters.common.verify import check_plan, compare_model
from initlib.checkpoints.compare import Differences
from initlib.checkpoints.held import HeldBox, HeldTensor
from initlib.key import Seed

from ..drawing.draw import known_key
from ..drawing.keys import words_of
from ..drawing.read import held_boxes
from .stacks import Stack, Stacks
from .tensors import Leaf, Tree, leaves
from .weight_norm import Norms, norms_of, set_by


@public("initlib.adapters.jax")
def verify(
    params: Tree,
    plan: Plan,
    seed: "Seed | jax.Array",
    *,
    whole: bool = False,
    only: Only = None,
    stack: Stack | None = None,
) -> Differences:
    """Compare the arrays of a pytree with the weights of a plan and a seed.

    Each process compares the shards that the process can address, with all copies. Processes exchange no data.
    Orthogonal matrices, logarithms, exponentials and weights with a nonzero mean must agree to 1e-6. All other weights
    must have the same bits. For kept arrays, only the shape and the dtype are compared. For weight norm, the kernel
    that the module computes is compared.

    By default, about 16 samples of each array are compared, each of at most 1024 numbers. These samples find another
    seed, an unfilled array or a swapped shard. Only `whole=True` finds single changed numbers. Orthogonal weights are
    always compared in full.

    Args:
        params: the pytree of arrays, from `initialize` or from a checkpoint.
        plan: a plan from `plan` or `Plan.load`.
        seed: the seed of `initialize`: an int, a `Key`, a key of JAX, or a `numpy.random.Generator` in the same state.
        whole: True compares all numbers of every array.
        only: a pattern or names; all other arrays are not compared.
        stack: the stacks of layers, as for `plan`.

    Returns:
        The differences as a tuple, empty if this process found no difference. A difference has the fields `name`,
        `what` (the property that differs), `index` and `holds`. `index` is the first different position in the full
        weight. `holds` names the slice of the plan whose bits are at that position, if a short search finds the slice.
        `print` begins with a summary.

    Raises:
        TypeError: `params` is not a pytree of named arrays, or `plan` is not a plan.
        ValueError: `only` names an array that neither the tree nor the plan has, or `stack` does not fit the tree.

    Example:
        >>> import jax
        >>> from initlib import he_normal
        >>> shapes = {"dense": {"kernel": jax.ShapeDtypeStruct((784, 128), "bfloat16")}}
        >>> weights = initialize(shapes, he_normal, seed=0)
        >>> print(verify(weights, plan(shapes, he_normal), seed=0))
        nothing differs: compared 1 tensor, 16,384 of 100,352 weights
        >>> swapped = {"dense": {"kernel": weights["dense"]["kernel"][::-1]}}
        >>> for difference in verify(swapped, plan(shapes, he_normal), seed=0):
        ...     print(difference)
        'dense.kernel' has other values from index (0, 0) on: holds row 783 of the same weight
    """
    check_plan(plan)
    if isinstance(seed, jax.Array):
        seed = known_key(words_of(seed, None, "verify"))
    tree_leaves = [leaf for leaf in leaves(params) if not leaf.is_key]
    stacks = Stacks(stack)
    kernels = {norms.kernel: norms for norms in set_by(plan, norms_of(tree_leaves))}
    tensors = [tensor for leaf in tree_leaves for tensor in _held_tensors(leaf, stacks, kernels.get(leaf))]
    problems = stacks.problems()
    if problems:
        raise ValueError("; ".join(problems))
    return compare_model(plan, seed, tensors, whole=whole, only=only)


def _held_tensors(leaf: Leaf, stacks: Stacks, norms: Norms | None) -> Iterator[HeldTensor]:
    """Yield the weights of an array: one, or those of the layers in a stack."""
    for layer, ties in stacks.weights(leaf.names, leaf.value.shape):
        boxes = partial(held_boxes, leaf.value, layer.at) if norms is None else partial(_computed, norms)
        yield HeldTensor((layer.name, *ties), layer.shape, leaf.value.dtype.name, boxes)


def _computed(norms: Norms) -> list[HeldBox]:
    """Return the weight that a module computes from a kernel and its scales, if this process has both in full."""
    kernel, scale = norms.kernel.value, norms.scale.value
    addressable = [each for each in (kernel, scale) if isinstance(each, jax.Array) and each.is_fully_addressable]
    if len(addressable) < 2 or len(kernel.devices() | scale.devices()) > 1:
        return held_boxes(kernel)
    lengths = norms.of(kernel)
    ratio = jnp.where(lengths == 0, 0, scale / lengths)
    shape = [size if axis in norms.axes else 1 for axis, size in enumerate(kernel.shape)]
    return [box._replace(computed=True) for box in held_boxes(np.asarray(kernel * ratio.reshape(shape)))]
