"""Public names about plans, loaded when one of them is first used."""

from .plans.parameter import Parameter as Parameter
from .plans.plan import Plan as Plan
from .plans.planning import plan as plan
from .plans.rules.loaded import loaded as loaded
from .plans.rules.parts import parts as parts
from .plans.rules.renaming import same_as as same_as
from .plans.rules.values import keep as keep
from .plans.rules.values import values as values
from .plans.text.errors import PlanError as PlanError
