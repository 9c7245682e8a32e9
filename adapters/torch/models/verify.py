"""Comparison of a model with the plan and the seed that initialized it."""

from functools import partial

import torch
from torch import Tensor, nn

from initlib import Plan
from initlib._public import public
from initlib.adapters.common.selection import Only
from initlib.adapters.common.verify import compare_model
from initlib.checkpoints.compare import Differences
from initlib.checkpoints.held import HeldBox, HeldTensor
from initlib.stream.boxes import normalize_index

from .._private import is_dtensor, is_fake, local_tensor
from ..drawing.dispatch import Seed
from ..drawing.fill import local_boxes
from ..drawing.read import held_box
from .buffers import model_buffers
from .state_names import plan_names
from .tensors import Magnitude, ModelTensor, dtype_name, model_tensors, walk


@public("initlib.adapters.torch")
def verify(
    module: nn.Module, plan: Plan, seed: Seed, *, whole: bool = False, only: Only = None, prefix: str = ""
) -> Differences:
    """Compare the tensors of a model with the weights of a plan and a seed.

    Each rank compares its own memory: plain tensors on any device, DTensors and flat shards (FSDP1). Ranks exchange no
    data. Orthogonal matrices, logarithms, exponentials and weights with a nonzero mean must agree to 1e-6. All other
    weights must have the same bits. For kept tensors, only the shape and the dtype are compared. For weight norm, the
    weight that the module computes is compared.

    By default, about 16 samples of each tensor are compared, each of at most 1024 numbers. These samples find another
    seed, an unfilled tensor or a swapped shard. Only `whole=True` finds single changed numbers. Orthogonal weights are
    always compared in full.

    Args:
        module: the model, after `initialize` or after a checkpoint was loaded.
        plan: a plan from `initialize`, `plan` or `Plan.load`.
        seed: the seed of `initialize`: an int, a `Key` or a `numpy.random.Generator` in the same state.
        whole: True compares all numbers of every tensor.
        only: a pattern or names; all other tensors are not compared.
        prefix: the name of the module in a larger model, as for `initialize`.

    Returns:
        The differences as a tuple, empty if this rank found no difference. A difference has the fields `name`, `what`
        (the property that differs), `index` and `holds`. `index` is the first different position in the full weight.
        `holds` names the slice of the plan whose bits are at that position, if a short search finds the slice. `print`
        begins with a summary.

    Raises:
        TypeError: `module` is not a `torch.nn.Module`, or `plan` is not a plan.
        ValueError: `only` names a tensor that neither the model nor the plan has.

    Example:
        >>> from torch import nn
        >>> from initlib import he_normal
        >>> model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        >>> made = initialize(model, he_normal, seed=0)
        >>> print(verify(model, made, seed=0))
        nothing differs: compared 4 tensors, 13,962 of 101,770 weights
        >>> model[2].weight.data[3] = model[2].weight.data[5]
        >>> for difference in verify(model, made, seed=0, whole=True):
        ...     print(difference)
        '2.weight' has other values from index (3, 0) on: holds row 5 of the same weight
    """
    modules = walk(module, prefix)
    tensors = model_tensors(modules, skip_lazy=True)
    only = plan_names(module, modules, tensors, only)
    # A plan may name buffers if it was not made from the model.
    held, buffers = ([_held_tensor(tensor) for tensor in each] for each in (tensors, model_buffers(modules)))
    return compare_model(plan, seed, held, buffers, whole=whole, only=only)


def _held_tensor(tensor: ModelTensor) -> HeldTensor:
    return HeldTensor(tensor.names, tensor.shape, dtype_name(tensor.tensor), partial(_boxes, tensor))


def _boxes(tensor: ModelTensor) -> list[HeldBox]:
    """Return the boxes of a tensor that this rank holds. Raises TypeError or ValueError if they cannot be read."""
    memory = tensor.tensor
    if memory.is_meta or is_fake(memory):
        raise ValueError("the tensor has no values in memory")
    if memory.layout is not torch.strided or memory.is_nested:
        raise TypeError(f"the tensor has the layout {memory.layout}, which is not dense")
    local = local_boxes(memory) if tensor.flat is None else tensor.flat.boxes()
    views = [(view.detach(), normalize_index(index, tensor.shape)) for view, index in local]
    if tensor.magnitude is not None and tensor.flat is None and len(views) == 1:
        ((direction, box),) = views
        weight = _weight(direction, tensor.magnitude, tensor.shape)
        if weight is not None:
            return [held_box(weight, box)._replace(computed=True)]
    return [held_box(view, box) for view, box in views]


@torch.no_grad()
def _weight(direction: Tensor, magnitude: Magnitude, shape: tuple[int, ...]) -> Tensor | None:
    """Return the weight that a module computes from a direction and its magnitudes.

    None if this rank holds only slices of the rows, whose norms are unknown. The comparison then reads the direction,
    which `initialize` fills with the weight.
    """
    norms = magnitude.tensor
    norms = local_tensor(norms) if is_dtensor(norms) else norms
    kept = None if magnitude.axis == -1 else magnitude.axis % direction.ndim
    axes = [axis for axis in range(direction.ndim) if axis != kept]
    if any(direction.shape[axis] != shape[axis] for axis in axes):
        return None
    if norms.numel() != (1 if kept is None else direction.shape[kept]):
        return None
    wide = torch.promote_types(direction.dtype, torch.float32)
    direction = direction.to(wide)
    lengths = torch.linalg.vector_norm(direction, dim=axes, keepdim=True) if axes else direction.abs()
    return direction * (norms.to(wide).view(lengths.shape) / lengths)
