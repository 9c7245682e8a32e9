"""Tensors and variables of Keras, as measurements take them: with their axes, in NumPy."""

# mypy: disable-error-code="import-untyped"
# Keras comes without types.

from typing import Any

import keras
import numpy as np

from initlib.adapters.common.roles import UNKNOWN

from ..models.layers import layer_roles
from ..models.tensors import ModelTensor
from ..models.types import Tensor


def axes_of(weight: ModelTensor) -> str | None:
    """Return the roles of the axes of a variable, if its layer states them."""
    return layer_roles(weight.layer).get(weight.variable.name, UNKNOWN).axes


def array(x: Tensor) -> Any:
    """Return the numbers of a tensor or variable, for NumPy; None for None."""
    if x is None:
        return None
    numbers = np.asarray(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(x)))
    return numbers if numbers.dtype in (np.float32, np.float64) else numbers.astype(np.float32)


def is_float(x: Tensor) -> bool:
    """Return whether a value is a tensor of floats."""
    return keras.ops.is_tensor(x) and "float" in keras.backend.standardize_dtype(x.dtype)


def floats_in(tree: Any) -> list[Tensor]:
    """Return the tensors of floats in a structure."""
    return list(filter(is_float, keras.tree.flatten(tree)))
