"""One library draws the initial weights of a network, for every framework."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._public import publish
from .axes import Fans, fans
from .gains import gain
from .key import Key
from .schemes._constant import constant, ones, zeros
from .schemes._hadamard import zero_hadamard
from .schemes._icnr import icnr
from .schemes._identity import dirac, identity
from .schemes._normal import normal, truncated_normal
from .schemes._orthogonal import delta_orthogonal, orthogonal
from .schemes._scaled import scaled
from .schemes._siren import siren
from .schemes._sparse import sparse
from .schemes._spectral import spectral
from .schemes._transforms import inverse_softplus, log_uniform
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

if TYPE_CHECKING:
    from . import recipes
    from .diagnostics.audit.audit import audit
    from .diagnostics.signals import SignalReport
    from .plans.parameter import Parameter
    from .plans.plan import Plan
    from .plans.planning import plan
    from .plans.rules.parts import parts
    from .plans.rules.patterns import same_as
    from .plans.rules.values import keep, values
    from .plans.text.errors import PlanError
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
    "same_as",
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
    "Parameter": "plans.parameter",
    "Plan": "plans.plan",
    "PlanError": "plans.text.errors",
    "SignalReport": "diagnostics.signals",
    "audit": "diagnostics.audit.audit",
    "keep": "plans.rules.values",
    "parts": "plans.rules.parts",
    "plan": "plans.planning",
    "propagation": "theory.propagation",
    "recipes": "recipes",
    "same_as": "plans.rules.patterns",
    "values": "plans.rules.values",
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
