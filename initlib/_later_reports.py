"""Public names about recipes, theory and measurements, loaded when one of them is first used."""

from . import recipes as recipes
from .diagnostics.audit.audit import audit as audit
from .diagnostics.signals import SignalReport as SignalReport
from .recipes._mup.learning_rates import mup_learning_rates as mup_learning_rates
from .theory import propagation as propagation
