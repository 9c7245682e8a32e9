"""One library draws the initial weights of a network, for every framework."""

from .axes import Fans, fans
from .config import get_num_threads, set_num_threads, show_config
from .key import Key
from .reports.signals import SignalReport
from .schemes.hadamard import zero_hadamard
from .schemes.initializer import Initializer
from .schemes.orthogonality import delta_orthogonal, orthogonal
from .schemes.passthrough import dirac, identity
from .schemes.scaling import scaled
from .schemes.sines import siren
from .schemes.sparsity import sparse
from .schemes.spectra import spectral
from .schemes.upscaling import icnr
from .schemes.variance import (
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
from .theory import propagation
from .theory.gains import gain

__version__ = "0.1.0"

__all__ = [
    "Fans",
    "Initializer",
    "Key",
    "SignalReport",
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
    "propagation",
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
