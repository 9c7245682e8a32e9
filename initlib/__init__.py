"""One library draws the initial weights of a network, for every framework."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .axes import Fans, fans
from .config import get_num_threads, set_num_threads, show_config
from .key import Key
from .public import publish
from .schemes.constants import constant, ones, zeros
from .schemes.hadamard import zero_hadamard
from .schemes.initializer import Initializer
from .schemes.normal import normal, truncated_normal
from .schemes.orthogonality import delta_orthogonal, orthogonal
from .schemes.passthrough import dirac, identity
from .schemes.scaling import scaled
from .schemes.sines import siren
from .schemes.sparsity import sparse
from .schemes.spectra import spectral
from .schemes.transforms import inverse_softplus, log_uniform
from .schemes.uniform import uniform
from .schemes.upscaling import icnr
from .schemes.variance import (
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
from .theory.gains import gain

if TYPE_CHECKING:
    from . import recipes
    from .models.errors import PlanError
    from .models.fillings import keep, values
    from .models.parameter import Parameter
    from .models.parts import parts
    from .models.plan import Plan
    from .models.planning import plan
    from .reports.audit import audit
    from .reports.signals import SignalReport
    from .theory import propagation

__version__ = "0.1.0"

__all__ = [
    "Fans",
    "Initializer",
    "Key",
    "Parameter",
    "Plan",
    "PlanError",
    "SignalReport",
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
    "log_uniform",
    "normal",
    "ones",
    "orthogonal",
    "parts",
    "plan",
    "propagation",
    "recipes",
    "scaled",
    "set_num_threads",
    "show_config",
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

publish(__name__, globals())

# What whole models and reports need is loaded when it is first asked for: most programs draw weights alone.
_LATER = {
    "Parameter": "models.parameter",
    "Plan": "models.plan",
    "PlanError": "models.errors",
    "SignalReport": "reports.signals",
    "audit": "reports.audit",
    "keep": "models.fillings",
    "parts": "models.parts",
    "plan": "models.planning",
    "propagation": "theory.propagation",
    "recipes": "recipes",
    "values": "models.fillings",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'initlib' has no attribute {name!r}")
    module = import_module(f"{__name__}.{_LATER[name]}")
    globals()[name] = getattr(module, name, module)  # a member of it, or the module itself
    publish(__name__, globals())
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
