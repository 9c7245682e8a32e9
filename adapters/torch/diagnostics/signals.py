"""Signals: what one batch does in a model, forward and backward, and what its weights are. Nothing is left behind."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from initlib._arguments import positive
from initlib._public import public
from initlib.diagnostics.measurements import input_std, parameter
from initlib.diagnostics.signals import SignalReport

from ..models.layers import is_fsdp
from ..models.tensors import model_tensors, walk
from .inputs import array, inputs, scalar_loss
from .recorder import Recorder, restored


@public("initlib.adapters.torch")
def signals(
    model: nn.Module,
    batch: Any,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    learning_rate: float | None = None,
) -> SignalReport:
    """Measure every activation and parameter of a model on a batch, forward and backward.

    >>> from torch import nn
    >>> import initlib.adapters.torch as init
    >>> model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    >>> report = init.signals(model, (32, 8))  # standard normal inputs of that shape
    >>> [row.name for row in report.activations], [row.name for row in report.parameters]
    (['0', '1', '2'], ['0.weight', '0.bias', '2.weight', '2.bias'])

    `batch` is a tensor, a tuple or list of arguments, a dict of keyword arguments, or a shape: then it is standard
    normal, the same in every framework. `loss` takes the model's output; without it the loss is the output's mean
    square. With a `learning_rate` the report has the update:data ratio of a step of gradient descent.

    An activation is what a module gives, or an activation function (`torch.relu`, `F.gelu`, ...) that a module calls,
    named "block.relu()"; in the order of execution, those of modules or functions that run again as "relu#2", "relu#3".
    The model runs in the mode it is in. Hooks, gradients, buffers and the states of the random generators are, after
    it and after any exception, what they were. Names are those of plans: without the prefixes of wrappers. Of DTensors
    the whole is measured, by all ranks together. Raises ValueError for a model that has not made all its parameters,
    for one that FSDP has sharded, and where the loss is no scalar.
    """
    model = getattr(model, "_orig_mod", model)  # of a compiled one: what it was compiled from
    if learning_rate is not None:
        learning_rate = positive(learning_rate, "learning_rate")
    lazy = [name for name, p in model.named_parameters() if nn.parameter.is_lazy(p)]
    if lazy:
        raise ValueError(f"model has parameters that are made at its first call: {', '.join(lazy)}; call it once")
    held = model_tensors(walk(model))
    if any(weight.flat is not None for weight in held) or any(map(is_fsdp, model.modules())):
        raise ValueError("model is sharded by FSDP, which gathers weights only while it runs: measure it before that")
    given = inputs(model, batch)
    with ExitStack() as stack:
        stack.enter_context(restored(model))
        stack.enter_context(torch.enable_grad())
        recorder = stack.enter_context(Recorder(model))
        output = model(*given.positional, **given.named)
        recorder.stop()
        value = scalar_loss(output, loss)
        wanted = [weight.tensor for weight in held if weight.tensor.requires_grad]
        found: tuple[Tensor | None, ...] = ()
        if value.requires_grad:
            found = torch.autograd.grad(value, [*wanted, *given.floats], allow_unused=True)
    gradients = dict(zip(wanted, found, strict=False))
    parameters = [
        parameter(
            weight.names[0],
            array(weight.tensor),
            array(gradients.get(weight.tensor)),
            axes=weight.stored_axes,
            learning_rate=learning_rate,
        )
        for weight in held
    ]
    return SignalReport(
        recorder.rows(),
        parameters,
        input_std=input_std([array(x) for x in given.floats]),
        loss=float(value.detach()),
        mean_square_loss=loss is None,
    )
