"""PyTorch: every name of `torch.nn.init`, exact on every device and shard, and what it does not have.

>>> import torch
>>> import initlib.adapters.torch as init
>>> layer = torch.nn.Linear(784, 128)
>>> init.he_normal_(layer.weight, seed=0, name="layer").std().item() > 0
True
"""

from .names import _calculate_correct_fan as _calculate_correct_fan
from .names import _calculate_fan_in_and_fan_out as _calculate_fan_in_and_fan_out
from .names import _no_grad_fill_ as _no_grad_fill_
from .names import _no_grad_normal_ as _no_grad_normal_
from .names import _no_grad_trunc_normal_ as _no_grad_trunc_normal_
from .names import _no_grad_uniform_ as _no_grad_uniform_
from .names import _no_grad_zero_ as _no_grad_zero_
from .names import (
    calculate_gain,
    constant,
    constant_,
    delta_orthogonal_,
    dirac,
    dirac_,
    eye,
    eye_,
    fill_,
    glorot_normal_,
    glorot_uniform_,
    he_normal_,
    he_uniform_,
    kaiming_normal,
    kaiming_normal_,
    kaiming_uniform,
    kaiming_uniform_,
    lecun_normal_,
    lecun_uniform_,
    normal,
    normal_,
    ones_,
    orthogonal,
    orthogonal_,
    sparse,
    sparse_,
    trunc_normal_,
    truncated_normal_,
    uniform,
    uniform_,
    variance_scaling_,
    xavier_normal,
    xavier_normal_,
    xavier_uniform,
    xavier_uniform_,
    zeros_,
)
from .signals import signals

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
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
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "lecun_normal_",
    "lecun_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "signals",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "truncated_normal_",
    "uniform",
    "uniform_",
    "variance_scaling_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]
