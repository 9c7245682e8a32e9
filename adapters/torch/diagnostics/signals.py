"""Signals: measurements of activations, gradients and weights of a model on one batch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from initlib._arguments import positive
from initlib._public import public
from initlib.adapters.common.signals import check_loss
from initlib.adapters.common.signals import report as signals_report
from initlib.diagnostics.signals import SignalReport

from ..models.layers import is_fsdp
from ..models.tensors import model_tensors, walk
from .inputs import array, inputs, loss_of
from .recorder import recorded


@public("initlib.adapters.torch")
def signals(
    model: nn.Module,
    batch: Any,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    learning_rate: float | None = None,
) -> SignalReport:
    """Measure every activation and parameter of a model on a batch, forward and backward.

    An activation is the output of a module, or of an activation function (`torch.relu`, `F.gelu`, …) that a module
    calls, named "block.relu()". Activations are in the order of execution. Modules and functions that run again are
    named "relu#2", "relu#3". Names are those of plans, without the prefixes of wrappers. The model runs in its current
    mode. Hooks, gradients, buffers and random states are restored, after an exception too.

    Args:
        model: the model. A DTensor is gathered, so all ranks must call this function together.
        batch: a tensor, a tuple or list of arguments, a dict of keyword arguments, or a shape for standard normal
            inputs, which are the same in every framework.
        loss: a function of the model's output that returns one number; None is the mean square of the output.
        learning_rate: if given, the report has the update:data ratio of a step of gradient descent.

    Returns:
        The report on activations and parameters, with a verdict on each.

    Raises:
        TypeError: the loss needs more arguments than the output, or the batch is an iterable of batches.
        ValueError: the model has lazy parameters, FSDP has sharded the model, all examples of the batch are the same,
            or the loss is not one number.

    Example:
        >>> from torch import nn
        >>> import initlib.adapters.torch as init
        >>> model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
        >>> report = init.signals(model, (32, 8))  # standard normal inputs of that shape
        >>> [row.name for row in report.activations], [row.name for row in report.parameters]
        (['0', '1', '2'], ['0.weight', '0.bias', '2.weight', '2.bias'])
    """
    model = getattr(model, "_orig_mod", model)  # the model that was compiled
    if learning_rate is not None:
        learning_rate = positive(learning_rate, "learning_rate")
    modules = walk(model, argument="model")
    check_loss(loss)
    lazy = [name for name, p in model.named_parameters() if nn.parameter.is_lazy(p)]
    if lazy:
        raise ValueError(f"model must have no lazy parameters, got {', '.join(lazy)}. Call the model once")
    measured = model_tensors(modules)
    if any(weight.flat is not None for weight in measured) or any(map(is_fsdp, model.modules())):
        raise ValueError(
            "model must not be sharded by FSDP, which gathers weights only during a run. Call signals before sharding"
        )
    given = inputs(model, batch)
    with torch.enable_grad(), recorded(model) as recorder:
        output = model(*given.positional, **given.named)
        recorder.hooks.close()
        value = loss_of(output, loss)
        wanted = [weight.tensor for weight in measured if weight.tensor.requires_grad]
        results: tuple[Tensor | None, ...] = ()
        if value.requires_grad:
            results = torch.autograd.grad(value, [*wanted, *given.floats], allow_unused=True)
    gradients = dict(zip(wanted, results, strict=False))
    weights = [
        (weight.names[0], array(weight.tensor), array(gradients.get(weight.tensor)), weight.stored_axes)
        for weight in measured
    ]
    batch_floats = [array(x) for x in given.floats]
    return signals_report(recorder.rows(), weights, batch_floats, float(value.detach()), loss, learning_rate)
