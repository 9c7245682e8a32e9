"""The schemes of whole matrices: what `torch.nn.init` has of them, and the delta-orthogonal."""

import torch
from torch import Tensor
from torch.nn.init import dirac_ as their_dirac
from torch.nn.init import eye_ as their_eye

import initlib

from .draw import Name, Seed, draw, overridable
from .memory import is_weight

__all__ = ["delta_orthogonal_", "dirac_", "eye_", "orthogonal_", "sparse_"]


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
        return their_eye(tensor)
    return draw(tensor, initlib.identity(), None, None, 0, None)


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
        return their_dirac(tensor, groups)
    return draw(tensor, initlib.dirac(), None, f"({int(groups)} O)I...", 0, None)


@overridable
def orthogonal_(
    tensor: Tensor,
    gain: float = 1,
    generator: torch.Generator | None = None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: Name = None,
) -> Tensor:
    """Fill the tensor so that as a matrix of outputs to all else it is orthogonal, times the gain.

    >>> weight = orthogonal_(torch.empty(16, 4, 3, 3), seed=0).flatten(1)
    >>> torch.allclose(weight @ weight.T, torch.eye(16), atol=1e-6)
    True

    It is computed in float64, whatever the dtype. Saxe, McClelland, Ganguli 2013, arXiv 1312.6120.
    """
    if tensor.ndimension() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    return draw(tensor, initlib.orthogonal(gain), generator, axes, seed, name)


@overridable
def delta_orthogonal_(
    tensor: Tensor,
    gain: float = 1,
    generator: torch.Generator | None = None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: Name = None,
) -> Tensor:
    """Fill the tensor with an orthogonal matrix at the centre of its receptive field, and 0 elsewhere.

    >>> int((delta_orthogonal_(torch.empty(16, 4, 3, 3), seed=0) != 0).sum())
    64

    The centre of k positions is (k - 1) // 2. Raises ValueError for more inputs than outputs.
    Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington 2018, arXiv 1806.05393.
    """
    return draw(tensor, initlib.delta_orthogonal(gain), generator, axes, seed, name)


@overridable
def sparse_(
    tensor: Tensor,
    sparsity: float,
    std: float = 0.01,
    generator: torch.Generator | None = None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: Name = None,
) -> Tensor:
    """Fill the 2-dimensional tensor with normal weights, ceil(sparsity * rows) of each column 0.

    >>> (sparse_(torch.empty(10, 3), 0.25) == 0).sum(dim=0)
    tensor([3, 3, 3])

    Which weights are 0 follows from the seed or generator too. Martens 2010, Deep learning via Hessian-free
    optimization.
    """
    if tensor.ndimension() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return draw(tensor, initlib.sparse(sparsity, std), generator, axes, seed, name)
