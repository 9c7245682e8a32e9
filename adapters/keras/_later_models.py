"""Public names about models, loaded when one of them is first used."""

from .models.initialize import initialize as initialize
from .models.initialize import plan as plan
from .models.layers import declare as declare
