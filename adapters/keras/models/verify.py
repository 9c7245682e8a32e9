"""Comparison of a model with the plan and the seed that initialized it."""

from functools import partial
from typing import Any

from initlib import Plan
from initlib._public import public
from initlib.adapters.common.selection import Only
from initlib.adapters.common.verify import compare_model
from initlib.checkpoints.compare import Differences
from initlib.checkpoints.held import HeldTensor
from initlib.key import Seed

from ..drawing.read import held_boxes
from .tensors import weights


@public("initlib.adapters.keras")
def verify(
    model: Any, plan: Plan, seed: Seed, *, whole: bool = False, only: Only = None, prefix: str = ""
) -> Differences:
    """Compare the variables of a model with the weights of a plan and a seed, on every backend.

    Orthogonal matrices, logarithms, exponentials and weights with a nonzero mean must agree to 1e-6. All other weights
    must have the same bits. For kept variables, only the shape and the dtype are compared. On JAX, each process
    compares the shards that the process can address, with all copies.

    By default, about 16 samples of each variable are compared, each of at most 1024 numbers. These samples find another
    seed, an unfilled variable or a swapped shard. Only `whole=True` finds single changed numbers. Orthogonal weights
    are always compared in full.

    Args:
        model: the built model or layer, after `initialize` or after a checkpoint was loaded.
        plan: a plan from `initialize`, `plan` or `Plan.load`.
        seed: the seed of `initialize`: an int, a `Key` or a `numpy.random.Generator` in the same state.
        whole: True compares all numbers of every variable.
        only: a pattern or names; all other variables are not compared.
        prefix: the name of the model in a larger model, as for `initialize`.

    Returns:
        The differences as a tuple, empty if this process found no difference. A difference has the fields `name`,
        `what` (the property that differs), `index` and `holds`. `index` is the first different position in the full
        weight. `holds` names the slice of the plan whose bits are at that position, if a short search finds the slice.
        `print` begins with a summary.

    Raises:
        TypeError: `model` is not a `keras.Layer`, or `plan` is not a plan.
        PlanError: the model is not built.
        ValueError: `only` names a variable that neither the model nor the plan has.

    Example:
        >>> import keras
        >>> from initlib import he_normal
        >>> model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(128), keras.layers.Dense(10)])
        >>> made = initialize(model, he_normal, seed=0)
        >>> print(verify(model, made, seed=0))
        nothing differs: compared 4 tensors, 17,802 of 101,770 weights
        >>> len(verify(model, made, seed=1))
        2
    """
    tensors = [
        HeldTensor(
            tuple(tensor.names),
            tuple(tensor.variable.shape),
            tensor.variable.dtype,
            partial(held_boxes, tensor.variable),
        )
        for tensor in weights(model, prefix)
    ]
    return compare_model(plan, seed, tensors, whole=whole, only=only)
