"""LSUV: weights that are orthonormal, then scaled until each layer gives a variance of 1 on a batch."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from initlib import orthogonal
from initlib._arguments import integer, positive
from initlib.diagnostics.scaling import ScaledLayer, ScalingReport

from .._private import is_dtensor
from ..drawing.dispatch import Seed
from ..models.initialize import initialize
from ..models.layers import is_fsdp, own_class
from ..models.tensors import ModelTensor, model_tensors, walk
from .inputs import inputs, tensors
from .recorder import restored

# What these give is not proportional to one weight of theirs.
NOT_LINEAR = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)
SKIPPED = "its layer is not linear in one weight"
NOT_RUN = "its layer did not run on this batch"
SLOW = "not within the tolerance after so many iterations"


def lsuv_(
    model: nn.Module,
    batch: Any,
    rules: Any = None,
    seed: Seed = None,
    *,
    tolerance: float = 0.1,
    max_iterations: int = 10,
) -> ScalingReport:
    """Initialize a model with orthonormal weights, each scaled so that its layer gives a variance of 1 on a batch.

    >>> from torch import nn
    >>> import initlib.adapters.torch as init
    >>> model = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 10))
    >>> report = init.lsuv_(model, (256, 64), seed=0)  # standard normal inputs of that shape
    >>> report.converged, [round(layer.after, 3) for layer in report.layers]
    (True, [1.0, 1.0])

    `batch` is as for `signals`. `rules` and `seed` are those of `initialize`, which fills the model first: by default
    kernels are orthogonal(), biases 0; `rules={"*": keep}` scales the weights that are there. Then, in the order of
    execution, the weight of each layer is divided by the std of all that the layer gives, until its variance is 1
    within the `tolerance`, `max_iterations` times at most. A layer that runs again is scaled by its first run. The
    model runs once, without gradients, in the mode it is in; hooks, buffers and random states are put back. Weights of
    attentions and recurrent layers stay as drawn, and the report says so.

    Raises ValueError where a layer gives the same for every input, or what is not finite, and for weights that are
    sharded; then the model is what it was. Mishkin, Matas 2015, arXiv 1511.06422.
    """
    tolerance, most = positive(tolerance, "tolerance"), integer(max_iterations, "max_iterations", least=1)
    model = getattr(model, "_orig_mod", model)  # of a compiled one: what it was compiled from
    found = model_tensors(walk(model))
    if any(w.flat is not None or is_dtensor(w.tensor) for w in found) or any(map(is_fsdp, model.modules())):
        raise ValueError("model is sharded: each rank would scale by a batch of its own; use lsuv_ before sharding it")
    with ExitStack() as stack:
        stack.enter_context(_kept_on_error(model))
        initialize(model, orthogonal() if rules is None else rules, seed)
        stack.enter_context(restored(model))
        stack.enter_context(torch.no_grad())
        scaler = stack.enter_context(_Scaler(found, tolerance, most))
        given = inputs(model, batch)
        model(*given.positional, **given.named)
    return ScalingReport(scaler.rows(), tolerance=tolerance)


@contextmanager
def _kept_on_error(model: nn.Module) -> Iterator[None]:
    """Put every weight and buffer back as it was if something is raised."""
    before = {tensor: tensor.detach().clone() for tensor in (*model.parameters(), *model.buffers())}
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for tensor, values in before.items():
                tensor.copy_(values)
        raise


class _Scaler:
    """Scales the weight of each layer when it first runs, while it is entered."""

    def __init__(self, found: list[ModelTensor], tolerance: float, most: int) -> None:
        self.tolerance, self.most = tolerance, most
        kernels = [weight for weight in found if weight.role.kind in ("kernel", "recurrent")]
        owners = [weight.owner for weight in kernels]
        self.skipped: list[ModelTensor] = []
        self.waiting: dict[nn.Module, ModelTensor] = {}
        for weight in kernels:
            if isinstance(weight.owner, NOT_LINEAR) or owners.count(weight.owner) > 1:
                self.skipped.append(weight)
            else:
                holders = [place.module for place in weight.places]
                self.waiting |= {weight.owner if isinstance(m, ParametrizationList) else m: weight for m in holders}
        self.done: dict[int, ScaledLayer] = {}  # by the identity of the weight
        self.handles: list[Any] = []

    def __enter__(self) -> "_Scaler":
        self.handles = [owner.register_forward_hook(self._scale, with_kwargs=True) for owner in self.waiting]
        return self

    def __exit__(self, *error: Any) -> None:
        for handle in self.handles:
            handle.remove()

    def _scale(self, layer: nn.Module, positional: Any, named: Any, output: Any) -> Any:
        """The output of the layer, once its weight is scaled."""
        weight = self.waiting[layer]
        if id(weight) in self.done:
            return None
        stored = weight.tensor if weight.magnitude is None else weight.magnitude.place.tensor
        owner = own_class(layer).__name__
        self.done[id(weight)] = ScaledLayer(weight.names[0], owner)  # now the layer may run again
        before = variance = self._variance(weight, output)
        factor, iterations = 1.0, 0
        while abs(variance - 1) > self.tolerance and iterations < self.most:
            step = 1 / math.sqrt(variance)
            stored.mul_(step)
            output = layer(*positional, **named)
            factor, iterations, variance = factor * step, iterations + 1, self._variance(weight, output)
        note = "" if abs(variance - 1) <= self.tolerance else SLOW
        self.done[id(weight)] = ScaledLayer(weight.names[0], owner, before, variance, factor, iterations, note)
        return output

    def _variance(self, weight: ModelTensor, output: Any) -> float:
        values = next(tensors(output), torch.empty(0)).double()
        variance = float(values.var(correction=0)) if values.numel() else math.nan
        same = values.ndim > 1 and len(values) > 1 and bool((values == values[:1]).all())
        if same or not 0 < variance < math.inf:
            gives = "the same for every input" if same or variance == 0 else "what is not finite"
            raise ValueError(f"the layer of {weight.names[0]} gives {gives} of this batch: no scale of it changes that")
        return variance

    def rows(self) -> list[ScaledLayer]:
        """The layers in the order of execution, then those that were not scaled."""
        rows = list(self.done.values())
        for weight in dict.fromkeys(self.waiting.values()):
            if id(weight) not in self.done:
                rows.append(ScaledLayer(weight.names[0], own_class(weight.owner).__name__, note=NOT_RUN))
        skipped = [ScaledLayer(w.names[0], own_class(w.owner).__name__, note=SKIPPED) for w in self.skipped]
        return [*rows, *skipped]
