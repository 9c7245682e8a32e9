"""Signals: measurements of activations, gradients and weights of a model on one batch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from initlib._public import public
from initlib.adapters.common.signals import as_rate, check_gradients, check_loss
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
    calls. The name of such a function is "block.relu()". Activations are in the order of execution. If a module or
    function runs again, its name gets a number: "relu#2", "relu#3". The names are the names in plans, without the
    prefixes of wrappers. The model runs in its current mode, and compiled modules run eagerly. Hooks, gradients,
    buffers and random states are restored, also after an exception.

    Args:
        model: the model. A DTensor is gathered, so all ranks must call this function together.
        batch: a tensor, a tuple or list of arguments, a dict of keyword arguments, or a shape. A shape gives standard
            normal inputs, the same in every framework.
        loss: a function of the model's output that returns one number; None is the mean square of the output.
        learning_rate: if given, the report contains the update:data ratio: the std of one step of gradient descent,
            divided by the std of the weights.

    Returns:
        The report on activations and parameters, with a verdict on each.

    Raises:
        PlanError: the model has lazy parameters.
        ValueError: FSDP has sharded the model, all examples of the batch are the same, or the loss is not one number or
            has no gradient.
        TypeError: the loss needs more arguments than the output, the batch is an iterable of batches, or the batch
            holds no tensors and the model fails.

    Example:
        >>> from torch import nn
        >>> import initlib.adapters.torch as init
        >>> model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
        >>> report = init.signals(model, (32, 8))  # standard normal inputs of that shape
        >>> [row.name for row in report.activations], [row.name for row in report.parameters]
        (['0', '1', '2'], ['0.weight', '0.bias', '2.weight', '2.bias'])
    """
    model = getattr(model, "_orig_mod", model)  # the model that was compiled
    modules = walk(model, argument="model")
    learning_rate = as_rate(learning_rate)
    check_loss(loss)
    measured = model_tensors(modules)
    if any(weight.flat is not None for weight in measured) or any(map(is_fsdp, model.modules())):
        raise ValueError(
            "model must not be sharded by FSDP, which gathers weights only during a run. Call signals before sharding"
        )
    arguments = inputs(model, batch)
    with torch.enable_grad(), recorded(model) as recorder:
        output = arguments.passed_to(model)
        recorder.hooks.close()
        value = loss_of(output, loss)
        wanted = [weight.tensor for weight in measured if weight.tensor.requires_grad]
        leaves = [*wanted, *arguments.floats]
        results: Sequence[Tensor | None] = len(leaves) * [None]
        if value.requires_grad:
            results = torch.autograd.grad(value, leaves, allow_unused=True)
    if wanted:  # a frozen model may have no gradient
        check_gradients(loss, results)
    gradients = dict(zip(wanted, results, strict=False))
    weights = [
        (weight.names[0], array(weight.tensor), array(gradients.get(weight.tensor)), weight.stored_axes)
        for weight in measured
    ]
    batch_floats = [array(x) for x in arguments.floats]
    return signals_report(recorder.rows(), weights, batch_floats, float(value.detach()), loss, learning_rate)
