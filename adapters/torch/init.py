"""`torch.nn.init`, name by name: the same arguments and defaults, with the core's draws.

All functions that draw also have the arguments of `DrawOptions`: `axes`, `seed`, `name`, `shape`, `index`, `flat`.
"""

from functools import lru_cache
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.nn import init
from torch.nn.init import calculate_gain as torch_gain
from torch.nn.init import dirac_ as torch_dirac_
from torch.nn.init import eye_ as torch_eye_

import initlib
from initlib._arguments import positive, real
from initlib._public import public
from initlib._user_warning import warn
from initlib.schemes._complex import TwoParts

from ._private import calculate_correct_fan, make_deprecate
from .drawing.dispatch import NO_SEED, DrawOptions, check_bounds, draw_into
from .drawing.memory import is_weight
from .drawing.override import overridable
from .drawing.partial import full_weight
from .drawing.transformers import unless_loaded

constant_ = unless_loaded(init.constant_)
ones_ = unless_loaded(init.ones_)
zeros_ = unless_loaded(init.zeros_)

# The name of `param`, for activations without a gain in PyTorch. Other activations ignore `param`, as in PyTorch.
PARAMETERS = {"celu": "alpha", "elu": "alpha", "prelu": "slope", "silu": "beta", "sin": "w0", "softplus": "beta"}

# Making an initializer checks its arguments, which takes as long as the draw of a small weight.
_uniform, _normal, _truncated = map(lru_cache(maxsize=256), (initlib.uniform, initlib.normal, initlib.truncated_normal))


@lru_cache(maxsize=256)
def _scaling(factor: float, mode: str, distribution: str) -> initlib.Initializer:
    """Return variance scaling; the parts of a complex weight are uniform, each of that std, as in PyTorch."""
    scheme = initlib.variance_scaling(factor, mode, distribution)
    return TwoParts(scheme) if distribution == "uniform" else scheme


@public("initlib.adapters.torch")
def calculate_gain(nonlinearity: Any, param: float | None = None) -> float:
    """Return the gain of an activation: PyTorch's value, or `initlib.gain` for activations that PyTorch lacks.

    Args:
        nonlinearity: the name of an activation, or a function of tensors or arrays.
        param: the parameter of the activation, such as the negative slope of "leaky_relu".

    Returns:
        The gain.

    Raises:
        ValueError: the activation is unknown, or its gain is infinite.

    Example:
        >>> calculate_gain("leaky_relu", 0.2)
        1.3867504905630728
        >>> round(calculate_gain("gelu"), 10)
        1.5335304412
    """
    try:
        return torch_gain(nonlinearity, param)
    except ValueError:
        if nonlinearity == "leaky_relu":
            raise
    parameters: dict[str, Any] = {}
    if param is not None and nonlinearity in PARAMETERS:
        parameters[PARAMETERS[nonlinearity]] = param
    try:
        return initlib.gain(nonlinearity, **parameters)
    except ValueError as error:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}: {error}") from None


@overridable
def uniform_(
    tensor: Tensor,
    a: float = 0.0,
    b: float = 1.0,
    generator: torch.Generator | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with values from the uniform distribution on [a, b].

    Args:
        tensor: a tensor of any shape. Filled in place.
        a: lower bound.
        b: upper bound.
        generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
        **options: `axes`, `seed`, `name`, `shape`, `index` and `flat`, as for `fill_`.

    Returns:
        The tensor.

    Raises:
        RuntimeError: a > b.

    Example:
        >>> uniform_(torch.empty(3, 5), -1.0, 1.0).shape
        torch.Size([3, 5])
    """
    a, b = real(a, "a"), real(b, "b")
    check_bounds(a, b)
    return draw_into(tensor, _uniform(a, b), generator, **options)


@overridable
def normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: torch.Generator | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with values from the normal distribution.

    Args:
        tensor: a tensor of any shape. Filled in place.
        mean: mean of the distribution.
        std: standard deviation, at least 0.
        generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
        **options: `axes`, `seed`, `name`, `shape`, `index` and `flat`, as for `fill_`.

    Returns:
        The tensor.

    Raises:
        RuntimeError: std < 0.

    Example:
        >>> normal_(torch.empty(3, 5), std=0.02).shape
        torch.Size([3, 5])
    """
    mean, std = real(mean, "mean"), real(std, "std")
    if std < 0:  # PyTorch's own error
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    return draw_into(tensor, _normal(mean, std), generator, **options)


@overridable
def xavier_uniform_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with values from the Xavier uniform distribution.

    Values lie in [-bound, bound], with bound = gain * sqrt(6 / (fan_in + fan_out)).

    Args:
        tensor: a tensor of at least two axes, or any tensor if `axes` is given. Filled in place.
        gain: factor of the standard deviation; see `calculate_gain`.
        generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
        **options: `axes`, `seed`, `name`, `shape`, `index` and `flat`, as for `fill_`.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor has fewer than two axes, and `axes` is None.

    Example:
        >>> xavier_uniform_(torch.empty(3, 5), gain=calculate_gain("relu")).shape
        torch.Size([3, 5])

    Reference:
        Glorot, Bengio. Understanding the difficulty of training deep feedforward neural networks. AISTATS 2010.
    """
    return draw_into(tensor, _xavier(gain, "uniform"), generator, **options)


@overridable
def xavier_normal_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with values from the Xavier normal distribution, not truncated.

    The standard deviation is gain * sqrt(2 / (fan_in + fan_out)). `glorot_normal_` is truncated.

    Args:
        tensor: a tensor of at least two axes, or any tensor if `axes` is given. Filled in place.
        gain: factor of the standard deviation; see `calculate_gain`.
        generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
        **options: `axes`, `seed`, `name`, `shape`, `index` and `flat`, as for `fill_`.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor has fewer than two axes, and `axes` is None.

    Example:
        >>> xavier_normal_(torch.empty(3, 5)).shape
        torch.Size([3, 5])

    Reference:
        See `xavier_uniform_`.
    """
    return draw_into(tensor, _xavier(gain, "normal"), generator, **options)


def _xavier(gain: float, distribution: str) -> initlib.Initializer:
    return _scaling(positive(gain, "gain", or_zero=True) ** 2, "fan_avg", distribution)


@overridable
def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with values from the Kaiming uniform distribution.

    Values lie in [-bound, bound], with bound = gain * sqrt(3 / fan).

    Args:
        tensor: a tensor of at least two axes, or any tensor if `axes` is given. Filled in place.
        a: negative slope of the leaky ReLU; used only with `nonlinearity="leaky_relu"`.
        mode: "fan_in" keeps the variance of activations, and "fan_out" keeps the variance of gradients.
        nonlinearity: the activation after the layer, as for `calculate_gain`.
        generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
        **options: `axes`, `seed`, `name`, `shape`, `index` and `flat`, as for `fill_`.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor has fewer than two axes, and `axes` is None; the mode or activation is unknown.

    Example:
        >>> kaiming_uniform_(torch.empty(3, 5), mode="fan_out", nonlinearity="relu").shape
        torch.Size([3, 5])

    Reference:
        He, Zhang, Ren, Sun. Delving deep into rectifiers. 2015. arXiv:1502.01852.
    """
    return draw_into(tensor, _kaiming(tensor, a, mode, nonlinearity, "uniform", options), generator, **options)


@overridable
def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with values from the Kaiming normal distribution, not truncated.

    The standard deviation is gain / sqrt(fan). `he_normal_` is truncated.

    Args:
        tensor: a tensor of at least two axes, or any tensor if `axes` is given. Filled in place.
        a: negative slope of the leaky ReLU; used only with `nonlinearity="leaky_relu"`.
        mode: "fan_in" keeps the variance of activations, and "fan_out" keeps the variance of gradients.
        nonlinearity: the activation after the layer, as for `calculate_gain`.
        generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
        **options: `axes`, `seed`, `name`, `shape`, `index` and `flat`, as for `fill_`.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor has fewer than two axes, and `axes` is None; the mode or activation is unknown.

    Example:
        >>> kaiming_normal_(torch.empty(3, 5), mode="fan_out", nonlinearity="relu").shape
        torch.Size([3, 5])

    Reference:
        See `kaiming_uniform_`.
    """
    return draw_into(tensor, _kaiming(tensor, a, mode, nonlinearity, "normal", options), generator, **options)


def _kaiming(
    tensor: Tensor, a: Any, mode: str, nonlinearity: Any, distribution: str, options: DrawOptions
) -> initlib.Initializer:
    weight = full_weight(tensor, options.get("shape"))
    if weight.numel() == 0:
        warn("Initializing zero-element tensors is a no-op")
        return initlib.zeros
    if options.get("axes") is None and mode not in ("fan_in", "fan_out"):
        calculate_correct_fan(weight, mode)  # PyTorch's own errors
    slope = a if nonlinearity == "leaky_relu" else None
    cacheable = isinstance(nonlinearity, str) and (slope is None or isinstance(slope, (int, float)))
    scheme = _kaiming_scheme if cacheable else _kaiming_scheme.__wrapped__
    return scheme(slope, mode, nonlinearity, distribution)


@lru_cache(maxsize=256, typed=True)  # for names and numbers: a function may change
def _kaiming_scheme(slope: float | None, mode: str, nonlinearity: Any, distribution: str) -> initlib.Initializer:
    gain = calculate_gain(nonlinearity, slope)
    if nonlinearity == "relu" or (nonlinearity == "leaky_relu" and slope is not None):
        squared = 2 / (1 + (slope or 0) ** 2)  # exact, as in he_*; the square of a rounded root is not
    else:
        squared = gain * gain
    return _scaling(squared, mode, distribution)


@overridable
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: torch.Generator | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with values from the normal distribution, truncated to [a, b].

    The bounds are values, not multiples of std, as in PyTorch. By default, `truncated_normal_` truncates at 2 std.

    Args:
        tensor: a tensor of any shape. Filled in place.
        mean: mean before truncation.
        std: standard deviation before truncation, at least 0.
        a: lower bound.
        b: upper bound.
        generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
        **options: `axes`, `seed`, `name`, `shape`, `index` and `flat`, as for `fill_`.

    Returns:
        The tensor.

    Raises:
        RuntimeError: a > b.
        ValueError: std < 0.

    Example:
        >>> float(trunc_normal_(torch.empty(100), std=0.02, a=-0.04, b=0.04).abs().max()) <= 0.04
        True
    """
    mean, std, a, b = real(mean, "mean"), real(std, "std"), float(a), float(b)
    if not tensor.is_meta and (mean < a - 2 * std or mean > b + 2 * std):
        warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be incorrect."
        )
    check_bounds(a, b)
    return draw_into(tensor, _truncated(mean, std, a, b), generator, **options)


@overridable
def eye_(tensor: Tensor) -> Tensor:
    """Fill the tensor with the identity matrix: 1 on the diagonal, and 0 elsewhere.

    Args:
        tensor: a tensor of two axes. Filled in place.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor does not have two axes.

    Example:
        >>> eye_(torch.empty(2, 3))
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """
    if tensor.ndimension() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    if not is_weight(tensor):
        return torch_eye_(tensor)
    return draw_into(tensor, initlib.identity(), None, seed=NO_SEED)


@overridable
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the kernel of a convolution so that the convolution returns its input, in each group.

    Args:
        tensor: a tensor of three to five axes. Filled in place.
        groups: number of groups, a divisor of the first size.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor has fewer than three or more than five axes, or `groups` does not divide its first size.

    Example:
        >>> dirac_(torch.empty(1, 1, 3))
        tensor([[[0., 1., 0.]]])

    Reference:
        Zagoruyko, Komodakis. DiracNets. 2017. arXiv:1706.00388.
    """
    if tensor.ndimension() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if groups < 1 or tensor.size(0) % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    if not is_weight(tensor):
        return torch_dirac_(tensor, groups)
    return draw_into(tensor, initlib.dirac(), None, axes=f"({int(groups)} O)I...", seed=NO_SEED)


@overridable
def orthogonal_(
    tensor: Tensor,
    gain: float = 1,
    generator: torch.Generator | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with an orthogonal matrix, times the gain.

    The matrix maps all axes but the first to the first axis. For every dtype, the matrix is computed in float64.

    Args:
        tensor: a tensor of at least two axes. Filled in place.
        gain: factor of the matrix.
        generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
        **options: `axes`, `seed`, `name`, `shape`, `index` and `flat`, as for `fill_`.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor has fewer than two axes, or the gain is not finite.

    Example:
        >>> weight = orthogonal_(torch.empty(16, 4, 3, 3), seed=0).flatten(1)
        >>> torch.allclose(weight @ weight.T, torch.eye(16), atol=1e-6)
        True

    Reference:
        Saxe, McClelland, Ganguli. Exact solutions to the nonlinear dynamics of learning in deep linear neural
        networks. 2013. arXiv:1312.6120.
    """
    if full_weight(tensor, options.get("shape")).ndimension() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    return draw_into(tensor, initlib.orthogonal(gain), generator, **options)


@overridable
def sparse_(
    tensor: Tensor,
    sparsity: float,
    std: float = 0.01,
    generator: torch.Generator | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with normal values; ceil(sparsity * rows) values of each column are 0.

    The places of the zeros also depend on the seed or the generator.

    Args:
        tensor: a tensor of two axes. Filled in place.
        sparsity: fraction of zeros in each column, from 0 to 1.
        std: standard deviation of the other values, at least 0.
        generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
        **options: `axes`, `seed`, `name`, `shape`, `index` and `flat`, as for `fill_`.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor does not have two axes, sparsity is not in [0, 1], or std is negative.

    Example:
        >>> (sparse_(torch.empty(10, 3), 0.25) == 0).sum(dim=0)
        tensor([3, 3, 3])

    Reference:
        Martens. Deep learning via Hessian-free optimization. ICML 2010.
    """
    if full_weight(tensor, options.get("shape")).ndimension() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return draw_into(tensor, initlib.sparse(sparsity, std), generator, **options)


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
