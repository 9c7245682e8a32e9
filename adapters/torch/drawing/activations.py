"""Activations of PyTorch as functions of NumPy arrays."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def numpy_function(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return a function of tensors, or a module, as a function of NumPy arrays; a module is copied in float64."""
    if isinstance(function, nn.Module):
        function = copy.deepcopy(function).double().eval()

    def call(values: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return function(torch.from_numpy(np.asarray(values))).numpy(force=True)

    return call
