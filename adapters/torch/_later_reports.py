"""Public names about measurements and comparisons of models, loaded when one of them is first used."""

from .diagnostics.audit import audit as audit
from .diagnostics.coordinates import coordinate_check as coordinate_check
from .diagnostics.lsuv import lsuv_ as lsuv_
from .diagnostics.signals import signals as signals
from .models.verify import verify as verify
