"""Arguments of a model's call, and the tensors in its arguments and results."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from initlib.adapters.common.batches import batch_errors_explained, batch_of
from initlib.adapters.common.signals import scalar_loss

from .._private import is_dtensor

ALLOWED = "a tensor, a tuple or list of arguments, a dict of keyword arguments, or a shape"


class Inputs(NamedTuple):
    """Arguments of a call, the floating-point tensors among them, and the batch from which they were made."""

    positional: list[Any]
    named: dict[str, Any]
    floats: list[Tensor]
    batch: Any

    def passed_to(self, model: nn.Module, *, argument: str = "batch") -> Any:
        """Return the output of the model. If the model fails on a batch without tensors, the error names `argument`."""
        with batch_errors_explained(self.batch, argument, ALLOWED):
            return model(*self.positional, **self.named)


def inputs(model: nn.Module, batch: Any) -> Inputs:
    """Return a batch, or standard normal inputs of a shape, as the arguments of a model.

    Floating-point tensors require gradients, so that gradients pass through frozen layers. The model gets copies, which
    it may change.
    """
    given, noise = batch, batch_of(batch)
    if noise is not batch:
        like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
        batch = torch.from_numpy(noise).to(like.device, like.dtype)
    floats: list[Tensor] = []

    def copied(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            raise TypeError("batch must hold tensors, got a numpy.ndarray. Write torch.from_numpy(batch)")
        if isinstance(value, Tensor) and value.is_floating_point():
            floats.append(value.detach().clone().requires_grad_())
            with torch.enable_grad():
                return floats[-1].clone()
        if isinstance(value, Mapping):
            return {name: copied(of) for name, of in value.items()}
        return type(value)(map(copied, value)) if type(value) in (tuple, list) else value

    arguments = copied(batch)
    if isinstance(arguments, dict):
        return Inputs([], arguments, floats, given)
    positional = list(arguments) if isinstance(arguments, (tuple, list)) else [arguments]
    return Inputs(positional, {}, floats, given)


def tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors in the arguments or the result of a model."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors(each)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from tensors(each)


def loss_of(output: object, loss: Callable[[Any], Tensor] | None) -> Tensor:
    """Return the loss of an output; without `loss`, the mean square of its first floating-point tensor."""
    floats = [x for x in tensors(output) if x.is_floating_point()]
    return scalar_loss(output, loss, floats, lambda x: x.float().square().mean())


def array(tensor: Tensor | None) -> Any:
    """Return a tensor as a NumPy array. A DTensor is gathered, so all ranks must call this function together."""
    if tensor is None:
        return None
    tensor = tensor.detach()
    if is_dtensor(tensor):
        tensor = tensor.full_tensor()  # type: ignore[attr-defined]
    tensor = tensor.to("cpu", torch.float64 if tensor.dtype == torch.float64 else torch.float32)
    return tensor.numpy()
