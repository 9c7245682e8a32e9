"""One library draws the initial weights of a network, for every framework."""

from .axes import Fans, fans
from .base import Initializer
from .config import get_num_threads, set_num_threads, show_config
from .gain import gain
from .hadamard import zero_hadamard
from .icnr import icnr
from .identity import dirac, identity
from .initializers import (
    constant,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    ones,
    truncated_normal,
    uniform,
    variance_scaling,
    xavier_normal,
    xavier_uniform,
    zeros,
)
from .key import Key
from .orthogonal import delta_orthogonal, orthogonal
from .scaled import scaled
from .siren import siren
from .sparse import sparse
from .spectral import spectral

__version__ = "0.1.0"

__all__ = [
    "Fans",
    "Initializer",
    "Key",
    "constant",
    "delta_orthogonal",
    "dirac",
    "fans",
    "gain",
    "get_num_threads",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "icnr",
    "identity",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "scaled",
    "set_num_threads",
    "show_config",
    "siren",
    "sparse",
    "spectral",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zero_hadamard",
    "zeros",
]
