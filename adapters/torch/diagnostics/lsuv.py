"""LSUV: orthonormal weights, scaled until the output of each layer has variance 1 on a batch."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from initlib import orthogonal
from initlib._arguments import integer, positive
from initlib._public import public
from initlib.diagnostics.scaling import ScaledLayer, ScalingReport
from initlib.plans.types import Rules

from .._private import is_dtensor
from ..drawing.dispatch import Seed
from ..models.constructor_values import CONSTANTS
from ..models.initialize import initialize
from ..models.layers import is_fsdp, own_class
from ..models.tensors import ModelTensor, model_tensors, walk
from .inputs import inputs, tensors
from .recorder import restored, uncompiled

# The outputs of these layers are not proportional to one of their weights.
NOT_LINEAR = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)
SKIPPED = "the layer is not linear in one weight"
NOT_RUN = "the layer did not run on this batch"
SLOW = "not within the tolerance after max_iterations"


@public("initlib.adapters.torch")
def lsuv_(
    model: nn.Module,
    batch: Any,
    rules: Rules | None = None,
    seed: Seed = None,
    *,
    tolerance: float = 0.1,
    max_iterations: int = 10,
) -> ScalingReport:
    """Initialize a model with orthonormal weights, each scaled so that its layer's output has variance 1 on a batch.

    `initialize` fills the model first. Then the model runs once on the batch, without gradients, in its current mode.
    When a layer runs, the weight is divided by the std of the output, until the variance is 1 within the tolerance. A
    layer that runs several times is scaled only in its first run. Weights of attention and recurrent layers are not
    scaled, with a note in the report. Hooks, buffers and random states are restored.

    Args:
        model: the model; its parameters are filled in place.
        batch: as for `signals`.
        rules: as for `initialize`. None is orthogonal() for kernels. `{"*": keep}` scales the present weights.
        seed: as for `initialize`.
        tolerance: the largest distance of a variance from 1.
        max_iterations: the largest number of divisions for each layer.

    Returns:
        The report, with the variance of each output before and after scaling, and the factor of each weight.

    Raises:
        TypeError: as for `signals`.
        ValueError: the output of a layer is not finite, or is the same for every input; or weights are sharded. After
            an error the model is unchanged.

    Example:
        >>> from torch import nn
        >>> import initlib.adapters.torch as init
        >>> model = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 10))
        >>> report = init.lsuv_(model, (256, 64), seed=0)  # standard normal inputs of that shape
        >>> report.converged, [round(layer.after, 3) for layer in report.layers]
        (True, [1.0, 1.0])

    Reference:
        Mishkin, Matas. All you need is a good init. 2015. arXiv:1511.06422.
    """
    tolerance, most = positive(tolerance, "tolerance"), integer(max_iterations, "max_iterations", least=1)
    model = getattr(model, "_orig_mod", model)  # the model that was compiled
    model_weights = model_tensors(walk(model, argument="model"))
    if any(w.flat is not None or is_dtensor(w.tensor) for w in model_weights) or any(map(is_fsdp, model.modules())):
        raise ValueError(
            "model must not be sharded, because each rank would scale by its own batch. Call lsuv_ before sharding"
        )
    with ExitStack() as stack:
        stack.enter_context(_kept_on_error(model))
        initialize(model, orthogonal() if rules is None else rules, seed)
        stack.enter_context(uncompiled())
        stack.enter_context(restored(model))
        stack.enter_context(torch.no_grad())
        scaler = _Scaler(model_weights, tolerance, most)
        for owner in scaler.waiting:
            stack.enter_context(owner.register_forward_hook(scaler.scale, with_kwargs=True))
        arguments = inputs(model, batch)
        arguments.passed_to(model)
    return ScalingReport(scaler.rows(), tolerance=tolerance)


@contextmanager
def _kept_on_error(model: nn.Module) -> Iterator[None]:
    """Restore every weight, buffer and record of constructor values after an exception."""
    before = {tensor: tensor.detach().clone() for tensor in (*model.parameters(), *model.buffers())}
    records = {module: dict(vars(module)[CONSTANTS]) for module in model.modules() if CONSTANTS in vars(module)}
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for tensor, values in before.items():
                tensor.copy_(values)
        for module in model.modules():
            vars(module).pop(CONSTANTS, None)
            vars(module).update({CONSTANTS: records[module]} if module in records else {})
        raise


class _Scaler:
    """Hook that scales the weight of each layer at its first run."""

    def __init__(self, model_weights: list[ModelTensor], tolerance: float, most: int) -> None:
        self.tolerance, self.most = tolerance, most
        kernels = [weight for weight in model_weights if weight.role.kind in ("kernel", "recurrent")]
        owners = [weight.owner for weight in kernels]
        self.skipped: list[ModelTensor] = []
        self.waiting: dict[nn.Module, ModelTensor] = {}
        for weight in kernels:
            if isinstance(weight.owner, NOT_LINEAR) or owners.count(weight.owner) > 1:
                self.skipped.append(weight)
            else:
                holders = [module for module, _ in weight.places]
                self.waiting |= {weight.owner if isinstance(m, ParametrizationList) else m: weight for m in holders}
        self.done: dict[ModelTensor, ScaledLayer] = {}

    def scale(self, layer: nn.Module, positional: Any, named: Any, output: Any) -> Any:
        """Return the output of the layer after its weight is scaled."""
        weight = self.waiting[layer]
        if weight in self.done:
            return None
        stored = weight.tensor if weight.magnitude is None else weight.magnitude.tensor
        owner = own_class(layer).__name__
        self.done[weight] = ScaledLayer(weight.names[0], owner)  # now the layer may run again
        before = variance = self._variance(weight, output)
        factor, iterations = 1.0, 0
        while abs(variance - 1) > self.tolerance and iterations < self.most:
            step = 1 / math.sqrt(variance)
            stored.mul_(step)
            output = layer(*positional, **named)
            factor, iterations, variance = factor * step, iterations + 1, self._variance(weight, output)
        note = "" if abs(variance - 1) <= self.tolerance else SLOW
        self.done[weight] = ScaledLayer(weight.names[0], owner, before, variance, factor, iterations, note)
        return output

    def _variance(self, weight: ModelTensor, output: object) -> float:
        values = next(tensors(output), torch.empty(0)).double()
        variance = float(values.var(correction=0)) if values.numel() else math.nan
        same = values.ndim > 1 and len(values) > 1 and bool((values == values[:1]).all())
        if same or not 0 < variance < math.inf:
            output = "the same output for every input" if same or variance == 0 else "a value that is not finite"
            raise ValueError(
                f"the output of the layer of {weight.names[0]} must vary and be finite, got {output}. Check the batch, "
                "and the layers before this layer"
            )
        return variance

    def rows(self) -> list[ScaledLayer]:
        """Return the layers in the order of execution, then those that were not scaled."""
        notes = dict.fromkeys(self.waiting.values(), NOT_RUN) | dict.fromkeys(self.skipped, SKIPPED)
        others = [
            ScaledLayer(weight.names[0], own_class(weight.owner).__name__, note=note)
            for weight, note in notes.items()
            if weight not in self.done
        ]
        return [*self.done.values(), *others]
