"""The names of `torch.nn.init`, with the core's draws."""

import warnings
from functools import lru_cache
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.nn import init as theirs

import initlib
from initlib._arguments import positive, real
from initlib._public import public
from initlib.schemes._complex import TwoParts

from ._private import calculate_correct_fan, calculate_fan_in_and_fan_out, make_deprecate
from .drawing.dispatch import DrawOptions, check_bounds, draw_into, overridable, unless_loaded
from .drawing.memory import is_weight
from .drawing.partial import whole
from .gains_ import calculate_gain

constant_ = unless_loaded(theirs.constant_)
ones_ = unless_loaded(theirs.ones_)
zeros_ = unless_loaded(theirs.zeros_)

# Making an initializer checks its arguments, which takes as long as drawing a small weight.
_uniform, _normal, _truncated = map(lru_cache(maxsize=256), (initlib.uniform, initlib.normal, initlib.truncated_normal))


@lru_cache(maxsize=256)
def _scaling(factor: float, mode: str, distribution: str) -> initlib.Initializer:
    """Variance scaling; of a complex weight PyTorch draws both parts uniformly, of that std each."""
    scheme = initlib.variance_scaling(factor, mode, distribution)
    return TwoParts(scheme) if distribution == "uniform" else scheme


@public("initlib.adapters.torch")
@overridable
def uniform_(
    tensor: Tensor,
    a: float = 0.0,
    b: float = 1.0,
    generator: torch.Generator | None = None,
    **how: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with the uniform distribution on [a, b].

    >>> uniform_(torch.empty(3, 5), -1.0, 1.0).shape
    torch.Size([3, 5])
    """
    a, b = real(a, "a"), real(b, "b")
    check_bounds(a, b)
    return draw_into(tensor, _uniform(a, b), generator, **how)


@public("initlib.adapters.torch")
@overridable
def normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: torch.Generator | None = None,
    **how: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with the normal distribution of that mean and standard deviation.

    >>> normal_(torch.empty(3, 5), std=0.02).shape
    torch.Size([3, 5])
    """
    mean, std = real(mean, "mean"), real(std, "std")
    if std < 0:  # PyTorch's own error
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    return draw_into(tensor, _normal(mean, std), generator, **how)


@public("initlib.adapters.torch")
@overridable
def xavier_uniform_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    **how: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with the uniform distribution of std gain * sqrt(2 / (fan_in + fan_out)).

    >>> xavier_uniform_(torch.empty(3, 5), gain=calculate_gain("relu")).shape
    torch.Size([3, 5])

    Glorot, Bengio 2010 (AISTATS).
    """
    return _xavier(tensor, gain, "uniform", generator, **how)


@public("initlib.adapters.torch")
@overridable
def xavier_normal_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    **how: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with the normal distribution of std gain * sqrt(2 / (fan_in + fan_out)), not truncated.

    >>> xavier_normal_(torch.empty(3, 5)).shape
    torch.Size([3, 5])

    Glorot, Bengio 2010 (AISTATS). `glorot_normal_` is truncated.
    """
    return _xavier(tensor, gain, "normal", generator, **how)


def _xavier(tensor: Tensor, gain: float, distribution: str, generator: Any, **how: Unpack[DrawOptions]) -> Tensor:
    weight = whole(tensor, how.get("shape"))
    if how.get("axes") is None and weight.dim() < 2:
        calculate_fan_in_and_fan_out(weight)  # PyTorch's own error
    scheme = _scaling(positive(gain, "gain", or_zero=True) ** 2, "fan_avg", distribution)
    return draw_into(tensor, scheme, generator, **how)


@public("initlib.adapters.torch")
@overridable
def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
    **how: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with the uniform distribution of std gain / sqrt(fan).

    >>> kaiming_uniform_(torch.empty(3, 5), mode="fan_out", nonlinearity="relu").shape
    torch.Size([3, 5])

    `a` is the negative slope of a leaky_relu. He, Zhang, Ren, Sun 2015, arXiv 1502.01852.
    """
    return _kaiming(tensor, a, mode, nonlinearity, "uniform", generator, **how)


@public("initlib.adapters.torch")
@overridable
def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
    **how: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with the normal distribution of std gain / sqrt(fan), not truncated.

    >>> kaiming_normal_(torch.empty(3, 5), mode="fan_out", nonlinearity="relu").shape
    torch.Size([3, 5])

    `a` is the negative slope of a leaky_relu. He, Zhang, Ren, Sun 2015, arXiv 1502.01852. `he_normal_` is truncated.
    """
    return _kaiming(tensor, a, mode, nonlinearity, "normal", generator, **how)


def _kaiming(
    tensor: Tensor, a: Any, mode: str, nonlinearity: Any, distribution: str, generator: Any, **how: Unpack[DrawOptions]
) -> Tensor:
    weight = whole(tensor, how.get("shape"))
    if weight.numel() == 0:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=4)
        return tensor
    if how.get("axes") is None and (weight.dim() < 2 or mode not in ("fan_in", "fan_out")):
        calculate_correct_fan(weight, mode)  # PyTorch's own errors
    slope = a if nonlinearity == "leaky_relu" else None
    known = isinstance(nonlinearity, str) and (slope is None or isinstance(slope, (int, float)))
    scheme = _kaiming_scheme if known else _kaiming_scheme.__wrapped__
    return draw_into(tensor, scheme(slope, mode, nonlinearity, distribution), generator, **how)


@lru_cache(maxsize=256, typed=True)  # for names and numbers: what else could be one may change
def _kaiming_scheme(slope: float | None, mode: str, nonlinearity: Any, distribution: str) -> initlib.Initializer:
    gain = calculate_gain(nonlinearity, slope)
    if nonlinearity == "relu" or (nonlinearity == "leaky_relu" and slope is not None):
        squared = 2 / (1 + (slope or 0) ** 2)  # the square of a rounded root is not: he_* has the same bits
    else:
        squared = gain * gain
    return _scaling(squared, mode, distribution)


@public("initlib.adapters.torch")
@overridable
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: torch.Generator | None = None,
    **how: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with the normal distribution of that mean and std, kept to the values [a, b].

    >>> float(trunc_normal_(torch.empty(100), std=0.02, a=-0.04, b=0.04).abs().max()) <= 0.04
    True

    `a` and `b` are values, not multiples of std, and std is the one before truncation, as in PyTorch;
    `truncated_normal_` keeps to 2 std.
    """
    mean, std, a, b = real(mean, "mean"), real(std, "std"), float(a), float(b)
    if not tensor.is_meta and (mean < a - 2 * std or mean > b + 2 * std):
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=3,
        )
    check_bounds(a, b)
    return draw_into(tensor, _truncated(mean, std, a, b), generator, **how)


@public("initlib.adapters.torch")
@overridable
def eye_(tensor: Tensor) -> Tensor:
    """Fill the 2-dimensional tensor with the identity: output c is input c, as far as there are both.

    >>> eye_(torch.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    if tensor.ndimension() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    if not is_weight(tensor):
        return theirs.eye_(tensor)
    return draw_into(tensor, initlib.identity(), None, seed=0)


@public("initlib.adapters.torch")
@overridable
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the 3, 4 or 5-dimensional tensor so that a convolution by it passes its input through, group by group.

    >>> dirac_(torch.empty(1, 1, 3))
    tensor([[[0., 1., 0.]]])

    Zagoruyko, Komodakis 2017, arXiv 1706.00388.
    """
    if tensor.ndimension() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if groups < 1 or tensor.size(0) % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    if not is_weight(tensor):
        return theirs.dirac_(tensor, groups)
    return draw_into(tensor, initlib.dirac(), None, axes=f"({int(groups)} O)I...", seed=0)


@public("initlib.adapters.torch")
@overridable
def orthogonal_(
    tensor: Tensor,
    gain: float = 1,
    generator: torch.Generator | None = None,
    **how: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor so that as a matrix of outputs to all else it is orthogonal, times the gain.

    >>> weight = orthogonal_(torch.empty(16, 4, 3, 3), seed=0).flatten(1)
    >>> torch.allclose(weight @ weight.T, torch.eye(16), atol=1e-6)
    True

    It is computed in float64, whatever the dtype. Saxe, McClelland, Ganguli 2013, arXiv 1312.6120.
    """
    if whole(tensor, how.get("shape")).ndimension() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    return draw_into(tensor, initlib.orthogonal(gain), generator, **how)


@public("initlib.adapters.torch")
@overridable
def sparse_(
    tensor: Tensor,
    sparsity: float,
    std: float = 0.01,
    generator: torch.Generator | None = None,
    **how: Unpack[DrawOptions],
) -> Tensor:
    """Fill the 2-dimensional tensor with normal weights, ceil(sparsity * rows) of each column 0.

    >>> (sparse_(torch.empty(10, 3), 0.25) == 0).sum(dim=0)
    tensor([3, 3, 3])

    Which weights are 0 follows from the seed or generator too. Martens 2010, Deep learning via Hessian-free
    optimization.
    """
    if whole(tensor, how.get("shape")).ndimension() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return draw_into(tensor, initlib.sparse(sparsity, std), generator, **how)


uniform = make_deprecate(uniform_)
normal = make_deprecate(normal_)
eye = make_deprecate(eye_)
dirac = make_deprecate(dirac_)
xavier_uniform = make_deprecate(xavier_uniform_)
xavier_normal = make_deprecate(xavier_normal_)
kaiming_uniform = make_deprecate(kaiming_uniform_)
kaiming_normal = make_deprecate(kaiming_normal_)
orthogonal = make_deprecate(orthogonal_)
sparse = make_deprecate(sparse_)
