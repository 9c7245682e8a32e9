"""Public names about measurements and comparisons of models, loaded when one of them is first used."""

from .diagnostics.audit import audit as audit
from .diagnostics.signals import signals as signals
from .models.verify import verify as verify
