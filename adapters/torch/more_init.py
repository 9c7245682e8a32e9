"""What `torch.nn.init` does not have: the exact schemes of the core, by their own names, and any initializer."""

from typing import Protocol, Unpack

import torch
from torch import Tensor

import initlib
from initlib._public import public

from .drawing.dispatch import DrawOptions, draw_into, overridable


@public("initlib.adapters.torch")
@overridable
def fill_(
    tensor: Tensor,
    initializer: initlib.Initializer,
    *,
    generator: torch.Generator | None = None,
    **how: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with the weights of any initializer, and return it.

    >>> weight = fill_(torch.empty(128, 784), initlib.he_normal, seed=0)
    >>> bool((weight.T.numpy() == initlib.he_normal((784, 128), seed=0)).all())
    True
    >>> half = fill_(torch.empty(64, 784), initlib.he_normal, seed=0, shape=(128, 784), index=slice(64, 128))
    >>> bool((half == weight[64:]).all())
    True

    A plain tensor may be a part of a weight of that `shape`, as a rank holds it that no DTensor tells: the box that
    `index` takes (ints and slices), or, in one axis, the row-major range that `flat` takes. A DTensor knows its part.
    """
    if not isinstance(initializer, initlib.Initializer):
        raise TypeError(f"initializer must be an initlib.Initializer, got {initializer!r}")
    return draw_into(tensor, initializer, generator, **how)


@public("initlib.adapters.torch")
@overridable
def variance_scaling_(
    tensor: Tensor,
    factor: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
    generator: torch.Generator | None = None,
    **how: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with weights of mean 0 and variance factor / fan: see `initlib.variance_scaling`.

    >>> variance_scaling_(torch.empty(3, 5), 2.0, "fan_avg", "uniform").shape
    torch.Size([3, 5])
    """
    return draw_into(tensor, initlib.variance_scaling(factor, mode, distribution), generator, **how)


@public("initlib.adapters.torch")
@overridable
def delta_orthogonal_(
    tensor: Tensor,
    gain: float = 1,
    generator: torch.Generator | None = None,
    **how: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with an orthogonal matrix at the centre of its receptive field, and 0 elsewhere.

    >>> int((delta_orthogonal_(torch.empty(16, 4, 3, 3), seed=0) != 0).sum())
    64

    The centre of k positions is (k - 1) // 2. Raises ValueError for more inputs than outputs.
    Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington 2018, arXiv 1806.05393.
    """
    return draw_into(tensor, initlib.delta_orthogonal(gain), generator, **how)


@public("initlib.adapters.torch")
@overridable
def truncated_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    low: float | None = None,
    high: float | None = None,
    generator: torch.Generator | None = None,
    **how: Unpack[DrawOptions],
) -> Tensor:
    """Fill the tensor with the normal distribution kept to [low, high], by default mean - 2 std to mean + 2 std.

    >>> float(truncated_normal_(torch.empty(100), std=0.02).abs().max()) <= 0.04
    True
    """
    return draw_into(tensor, initlib.truncated_normal(mean, std, low, high), generator, **how)


class Preset(Protocol):
    """What the functions without parameters of their own have in common."""

    __name__: str

    def __call__(
        self,
        tensor: Tensor,
        generator: torch.Generator | None = None,
        **how: Unpack[DrawOptions],
    ) -> Tensor:
        """Fill the tensor, and return it."""


def _preset(name_: str) -> Preset:
    """The function that fills with the initializer of that name."""
    initializer = getattr(initlib, name_)

    def fill(
        tensor: Tensor,
        generator: torch.Generator | None = None,
        **how: Unpack[DrawOptions],
    ) -> Tensor:
        return draw_into(tensor, initializer, generator, **how)

    fill.__name__ = fill.__qualname__ = f"{name_}_"
    fill.__doc__ = f"""Fill the tensor with the weights of `initlib.{name_}`, {initializer!r}, and return it.

    >>> {name_}_(torch.empty(128, 784), seed=0).shape
    torch.Size([128, 784])
    """
    return public("initlib.adapters.torch")(overridable(fill))


he_normal_ = _preset("he_normal")
he_uniform_ = _preset("he_uniform")
glorot_normal_ = _preset("glorot_normal")
glorot_uniform_ = _preset("glorot_uniform")
lecun_normal_ = _preset("lecun_normal")
lecun_uniform_ = _preset("lecun_uniform")
