"""A library that draws the initial weights of neural networks, with the same bits in every framework."""

from typing import TYPE_CHECKING

from ._later import later
from ._version import __version__ as __version__
from .axes import Fans, fans
from .key import Key
from .schemes._constant import constant, ones, zeros
from .schemes._identity import dirac, identity
from .schemes._normal import normal, truncated_normal
from .schemes._orthogonal import delta_orthogonal, orthogonal
from .schemes._scaled import scaled
from .schemes._uniform import uniform
from .schemes._variance import (
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    variance_scaling,
    xavier_normal,
    xavier_uniform,
)
from .schemes.initializer import Initializer
from .stream.config import get_num_threads, set_num_threads, show_config


def _advice(name: str) -> str:
    from ._misplaced_names import advice

    return advice(name, __all__)


# Most programs only draw weights of common schemes, so all other names are loaded at their first use.
if TYPE_CHECKING:
    from ._later_plans import *
    from ._later_reports import *
    from .gains import gain as gain
    from .schemes.factories import *
else:
    __getattr__, __dir__ = later(globals(), ("gains", "schemes.factories", "_later_plans", "_later_reports"), _advice)

__all__ = [
    "Fans",
    "Initializer",
    "Key",
    "Parameter",
    "Plan",
    "PlanError",
    "SignalReport",
    "alibi_slopes",
    "audit",
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
    "inverse_softplus",
    "kaiming_normal",
    "kaiming_uniform",
    "keep",
    "lecun_normal",
    "lecun_uniform",
    "loaded",
    "log_uniform",
    "logarithm",
    "mup_learning_rates",
    "normal",
    "ones",
    "orthogonal",
    "parts",
    "plan",
    "propagation",
    "recipes",
    "rotary_frequencies",
    "same_as",
    "scaled",
    "set_num_threads",
    "show_config",
    "sinusoidal",
    "siren",
    "sparse",
    "spectral",
    "truncated_normal",
    "uniform",
    "values",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zero_hadamard",
    "zeros",
]
