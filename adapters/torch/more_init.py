"""Functions that `torch.nn.init` lacks: the exact schemes of the core under their own names, and any initializer."""

from typing import Protocol, Unpack

import torch
from torch import Tensor

import initlib

from .drawing.dispatch import DrawOptions, draw_into
from .drawing.override import overridable


@overridable
def fill_(
    tensor: Tensor,
    initializer: initlib.Initializer,
    *,
    generator: torch.Generator | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with the weights of any initializer.

    Args:
        tensor: a tensor of any shape that the initializer allows. Filled in place.
        initializer: an initializer of `initlib`, such as `initlib.he_normal`.
        generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
        **options: the keyword arguments of all functions that draw. `axes` is the role of each axis, by default
            "OI...". `seed` is an int, a `Key` or a `numpy.random.Generator`; by default `generator` gives the seed.
            `name` is the name of the parameter, and each name has its own stream. `shape`, `index` and `flat` are for a
            plain tensor that holds only a slice of a weight. `shape` is the shape of the full weight. The slice is
            `index` (ints and slices) or `flat` (a slice in row-major order). A DTensor needs none of the three.

    Returns:
        The tensor.

    Raises:
        TypeError: the initializer is not an `initlib.Initializer`.
        ValueError: the tensor has fewer than two axes, `axes` is None, and the initializer depends on fans.

    Example:
        >>> weight = fill_(torch.empty(128, 784), initlib.he_normal, seed=0)
        >>> bool((weight.T.numpy() == initlib.he_normal((784, 128), seed=0)).all())
        True
        >>> half = fill_(torch.empty(64, 784), initlib.he_normal, seed=0, shape=(128, 784), index=slice(64, 128))
        >>> bool((half == weight[64:]).all())
        True
    """
    if not isinstance(initializer, initlib.Initializer):
        raise TypeError(f"initializer must be an initlib.Initializer, got {initializer!r}")
    return draw_into(tensor, initializer, generator, **options)


@overridable
def variance_scaling_(
    tensor: Tensor,
    factor: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    generator: torch.Generator | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with values of mean 0 and variance factor / fan.

    Args:
        tensor: a tensor of at least two axes, or any tensor if `axes` is given. Filled in place.
        factor: the variance times the fan, at least 0.
        mode: the fan in the variance: "fan_in", "fan_out", "fan_avg" (arithmetic mean) or "fan_geo_avg" (geometric
            mean).
        distribution: "truncated_normal", "normal" or "uniform".
        generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
        **options: `axes`, `seed`, `name`, `shape`, `index` and `flat`, as for `fill_`.

    Returns:
        The tensor.

    Raises:
        ValueError: an argument is not allowed, or the tensor has fewer than two axes and `axes` is None.

    Example:
        >>> variance_scaling_(torch.empty(3, 5), 2.0, "fan_avg", "uniform").shape
        torch.Size([3, 5])
    """
    return draw_into(tensor, initlib.variance_scaling(factor, mode, distribution), generator, **options)


@overridable
def delta_orthogonal_(
    tensor: Tensor,
    gain: float = 1,
    generator: torch.Generator | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with an orthogonal matrix at the centre of its receptive field, and with 0 elsewhere.

    The centre of k positions is (k - 1) // 2.

    Args:
        tensor: the kernel of a convolution, with at least as many outputs as inputs. Filled in place.
        gain: factor of the matrix.
        generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
        **options: `axes`, `seed`, `name`, `shape`, `index` and `flat`, as for `fill_`.

    Returns:
        The tensor.

    Raises:
        ValueError: the tensor has more inputs than outputs, or fewer than two axes.

    Example:
        >>> int((delta_orthogonal_(torch.empty(16, 4, 3, 3), seed=0) != 0).sum())
        64

    Reference:
        Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington. Dynamical isometry and a mean field theory of CNNs. 2018.
        arXiv:1806.05393.
    """
    return draw_into(tensor, initlib.delta_orthogonal(gain), generator, **options)


@overridable
def truncated_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    low: float | None = None,
    high: float | None = None,
    generator: torch.Generator | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with values from the normal distribution, truncated to [low, high].

    Args:
        tensor: a tensor of any shape. Filled in place.
        mean: mean before truncation.
        std: standard deviation before truncation, at least 0.
        low: lower bound, by default mean - 2 std.
        high: upper bound, by default mean + 2 std.
        generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
        **options: `axes`, `seed`, `name`, `shape`, `index` and `flat`, as for `fill_`.

    Returns:
        The tensor.

    Raises:
        ValueError: std < 0, or low > high.

    Example:
        >>> float(truncated_normal_(torch.empty(100), std=0.02).abs().max()) <= 0.04
        True
    """
    return draw_into(tensor, initlib.truncated_normal(mean, std, low, high), generator, **options)


class Preset(Protocol):
    """A function that fills a tensor with the weights of a preset of the core."""

    __name__: str

    def __call__(
        self,
        tensor: Tensor,
        generator: torch.Generator | None = None,
        **options: Unpack[DrawOptions],
    ) -> Tensor:
        """Fill the tensor, and return it."""


def _preset(name: str) -> Preset:
    """Return the function of a preset."""
    initializer = getattr(initlib, name)

    def fill(
        tensor: Tensor,
        generator: torch.Generator | None = None,
        **options: Unpack[DrawOptions],
    ) -> Tensor:
        """Fill the tensor with the weights of `initlib.{name}`, {initializer}.

        Args:
            tensor: a tensor of at least two axes, or any tensor if `axes` is given. Filled in place.
            generator: the `torch.Generator` that gives the seed; by default PyTorch's global CPU generator.
            **options: `axes`, `seed`, `name`, `shape`, `index` and `flat`, as for `fill_`.

        Returns:
            The tensor.

        Raises:
            ValueError: the tensor has fewer than two axes, and `axes` is None.

        Example:
            >>> {name}_(torch.empty(128, 784), seed=0).shape
            torch.Size([128, 784])
        """
        return draw_into(tensor, initializer, generator, **options)

    fill.__name__ = fill.__qualname__ = f"{name}_"
    fill.__doc__ = (fill.__doc__ or "").format(name=name, initializer=initializer)
    return overridable(fill)


he_normal_ = _preset("he_normal")
he_uniform_ = _preset("he_uniform")
glorot_normal_ = _preset("glorot_normal")
glorot_uniform_ = _preset("glorot_uniform")
lecun_normal_ = _preset("lecun_normal")
lecun_uniform_ = _preset("lecun_uniform")
