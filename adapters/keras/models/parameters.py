"""Parameters of a plan for the variables of a model, with the facts about their constructor values."""

from initlib import Parameter, PlanError, keep
from initlib.adapters.common.roles import UNKNOWN

from .._private import is_weight
from .constructor_values import DRAWN, constant_value, constructor_value
from .layer_initializers import draws
from .layers import layer_roles
from .tensors import ModelTensor

QUANTIZED = "quantized weights cannot be drawn. Keep these weights, or initialize the model before quantization"
UNSTATED = "{owner} states no initializer in an attribute such as kernel_initializer. Add a rule, or pass default="
FLOATS = ("float16", "bfloat16", "float32", "float64")


def parameters(tensors: list[ModelTensor], own: bool) -> list[Parameter]:
    """Return the facts that a plan is made of; `own`: the initializers of layers fill variables that no rule matches.

    Raises PlanError for axes that do not fit their variables.
    """
    trained = any(is_weight(weight.layer, weight.variable) and not weight.frozen for weight in tensors)
    made, problems = [], []
    for weight in tensors:
        try:
            made.append(_parameter(weight, own, is_frozen=weight.frozen and trained))
        except ValueError as error:
            problems.append(f"{weight.names[0]}: {error}")
    if problems:
        raise PlanError(problems)
    return made


def _parameter(weight: ModelTensor, own: bool, is_frozen: bool) -> Parameter:
    variable = weight.variable
    role = layer_roles(weight.layer).get(variable.name, UNKNOWN)
    if not is_weight(weight.layer, variable) and role.kind == "other":
        role = role._replace(kind="buffer")  # its layer does not train it
    needs, constructor = None, None
    if weight.is_quantized:
        needs, role = QUANTIZED, role._replace(axes=None)  # its shape may be that of a packed matrix
    elif variable.dtype not in FLOATS or (role.kind == "buffer" and (role.default is None or is_frozen)):
        role = role._replace(default=keep)
    else:
        constructor = constructor_value(variable, role, own, is_frozen)
        is_matrix = sum(size > 1 for size in variable.shape) > 1
        if own and role.default is None and not is_frozen and is_matrix and constant_value(variable) is None:
            needs = UNSTATED.format(owner=weight.owner)
    if role.kind in DRAWN and not own and draws(role.default):
        role = role._replace(default=None)
    names = tuple(weight.names)
    return Parameter(
        names[0],
        tuple(variable.shape),
        variable.dtype,
        role.axes,
        role.kind,
        weight.owner,
        role.default,
        names[1:],
        needs=needs,
        constructor=constructor,
    )
