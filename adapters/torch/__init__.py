"""PyTorch adapter: `torch.nn.init` with the same bits on every device and shard, and initialization of whole models.

Only orthogonal matrices, logarithms and exponentials (`log_uniform`) may differ between devices, by about 1e-6.

>>> import torch
>>> import initlib.adapters.torch as init
>>> layer = torch.nn.Linear(784, 128)
>>> init.he_normal_(layer.weight, seed=0, name="layer").std().item() > 0
True
"""

from typing import TYPE_CHECKING

from initlib._later import later

from ..common.requirements import not_installed

try:
    from torch.nn.init import constant
except ModuleNotFoundError as error:
    raise not_installed(error, "torch") from None

from ._private import calculate_correct_fan, calculate_fan_in_and_fan_out, no_grad_fill_, no_grad_zero_
from .init import (
    calculate_gain,
    constant_,
    dirac,
    dirac_,
    eye,
    eye_,
    kaiming_normal,
    kaiming_normal_,
    kaiming_uniform,
    kaiming_uniform_,
    normal,
    normal_,
    ones_,
    orthogonal,
    orthogonal_,
    sparse,
    sparse_,
    trunc_normal_,
    uniform,
    uniform_,
    xavier_normal,
    xavier_normal_,
    xavier_uniform,
    xavier_uniform_,
    zeros_,
)
from .more_init import (
    delta_orthogonal_,
    fill_,
    glorot_normal_,
    glorot_uniform_,
    he_normal_,
    he_uniform_,
    lecun_normal_,
    lecun_uniform_,
    truncated_normal_,
    variance_scaling_,
)

if TYPE_CHECKING:
    from ._later_models import *
    from ._later_naming import *
    from ._later_reports import *
else:
    __getattr__, __dir__ = later(globals(), ("_later_models", "_later_naming", "_later_reports"))

# Names that are private in `torch.nn.init`, and that code bases import all the same.
_calculate_correct_fan, _calculate_fan_in_and_fan_out = calculate_correct_fan, calculate_fan_in_and_fan_out
_no_grad_fill_, _no_grad_zero_ = no_grad_fill_, no_grad_zero_
_no_grad_normal_, _no_grad_trunc_normal_, _no_grad_uniform_ = normal_, trunc_normal_, uniform_

__all__ = [
    "audit",
    "calculate_gain",
    "constant",
    "constant_",
    "coordinate_check",
    "declare",
    "delta_orthogonal_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "fill_",
    "glorot_normal_",
    "glorot_uniform_",
    "he_normal_",
    "he_uniform_",
    "initialize",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "lecun_normal_",
    "lecun_uniform_",
    "lsuv_",
    "named",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "parameter_groups",
    "plan",
    "signals",
    "skeleton",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "truncated_normal_",
    "uniform",
    "uniform_",
    "variance_scaling_",
    "verify",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]
