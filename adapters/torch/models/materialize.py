"""Materialize: memory for a model on the meta device, with what is tied kept together."""

import torch
from torch import Tensor, nn

from .._private import replace_tensors
from .tensors import ModelTensor


def materialize(module: nn.Module, found: list[ModelTensor], device: torch.device) -> None:
    """Give what is on the meta device memory, not filled, and move everything else to the device."""
    attributes = {place: vars(place.tensor) for weight in found for place in weight.places if weight.flat is None}

    def made(tensor: Tensor) -> Tensor:
        return torch.empty_like(tensor, device=device) if tensor.is_meta else tensor.to(device)

    replace_tensors(module, made)
    for place, kept in attributes.items():
        vars(place.tensor).update(kept)


def tie(found: list[ModelTensor]) -> None:
    """Let all places of a weight hold one tensor, the first place's."""
    for weight in found:
        first, *others = weight.places
        for place in others:
            if weight.flat is None and place.tensor is not first.tensor:
                setattr(place.module, place.attribute, first.tensor)
