"""Public names about plans, loaded when one of them is first used."""

from .plans.fills.loaded import loaded as loaded
from .plans.fills.parts import parts as parts
from .plans.fills.values import keep as keep
from .plans.fills.values import values as values
from .plans.parameter import Parameter as Parameter
from .plans.plan import Plan as Plan
from .plans.planning import plan as plan
from .plans.rules.renaming import same_as as same_as
from .plans.text.errors import PlanError as PlanError
