"""Values that the constructors of layers gave to variables, if they are known."""

from dataclasses import replace

from initlib import Parameter, zeros
from initlib.adapters.common.roles import ParameterRole
from initlib.plans.rules.constructor_value import ConstructorValue
from initlib.plans.rules.regularity import constant_of

from ..drawing.draw import as_array
from .layer_initializers import draws
from .types import Variable

RECORD = "_initlib_constructor"  # an attribute of a variable: the value that its constructor set, before the first fill
DRAWN = ("kernel", "recurrent", "table")  # the kinds that `default=` fills


def constructor_value(variable: Variable, role: ParameterRole, own: bool, is_frozen: bool) -> ConstructorValue | None:
    """Return the value that a constructor gave a variable; None where the initializer that its layer states counts.

    `own`: initializers of layers fill kernels too, as there is no default. Memory of Keras is never fresh: zeros are
    set on purpose.
    """
    stated = role.default
    if stated is not None and not is_frozen and (own or role.kind not in DRAWN or not draws(stated)):
        is_zero = stated == zeros and len(variable.shape) > 1
        return ConstructorValue(constant=0.0, recorded=True, zeroed=True) if is_zero else None
    record: ConstructorValue | None = getattr(variable, RECORD, None)
    if record is not None:
        return replace(record, frozen=is_frozen)
    return ConstructorValue(
        read=lambda index: as_array(variable.value)[index],
        frozen=is_frozen,
        draws=True if role.kind in DRAWN else None,
        zeroed=True,
    )


def constant_value(variable: Variable) -> float | None:
    """Return the value that all weights of a variable had at first; None where they differed."""
    record = getattr(variable, RECORD, None)
    return constant_of(as_array(variable.value)) if record is None else record.constant


def remember(variable: Variable, parameter: Parameter) -> None:
    """Record on a variable the value that its constructor gave it, which training will change."""
    value = parameter.constructor
    if value is not None and value.read is not None:
        setattr(variable, RECORD, value.record(parameter))
