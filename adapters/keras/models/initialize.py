"""Initialize: the plan of a model, and its weights in the memory of Keras's backend."""

from typing import Any

from initlib import Initializer, Parameter, Plan, PlanError
from initlib._public import public
from initlib.adapters.common.array_sources import read_from_model
from initlib.adapters.common.existing_plan import fit_plan, refuse_options
from initlib.adapters.common.running_statistics import refuse_drawn
from initlib.adapters.common.selection import Only, keep_others, plan_selected, selected
from initlib.key import Seed, as_key
from initlib.plans.entry import Entry
from initlib.plans.types import Axes, Rename, Rule, Rules, Unmatched

from ..drawing.draw import BACKEND
from ..drawing.fill import fill
from .constructor_values import remember
from .parameters import parameters
from .tensors import ModelTensor, weights

if BACKEND == "torch":
    from ...torch.drawing.memory import addresses


@public("initlib.adapters.keras")
def plan(
    model: Any,
    rules: Rules | None = None,
    *,
    default: Rule | None = None,
    rename: Rename | None = None,
    axes: Axes | None = None,
    only: Only = None,
    prefix: str = "",
    unmatched: Unmatched = "default",
) -> Plan:
    """Make the plan of a built model: the fill of each of its variables. Nothing is written.

    The names are the paths of the variables with dots, without the name of the model itself. Keras counts automatic
    names, such as dense_7, over the whole process. A plan counts automatic names within the layer or model around them,
    so dense_7 may become dense_1. Your own names that look like automatic names are counted too, unless the number
    begins with 0 (block_0). A variable in several places is tied.

    Keras's layers state the roles of their variables; `declare` states the roles for other classes. Without `default`,
    a variable that no rule matches has the distribution of its layer's initializer, with the fans of its axes and a
    matrix for each gate. With `default`, this holds for all variables except kernels, recurrent kernels and tables,
    which `default` fills.

    Args:
        model: a built model or layer.
        rules: as for `initlib.plan`.
        default: as for `initlib.plan`; fills kernels, recurrent kernels and tables.
        rename: as for `initlib.plan`.
        axes: as for `initlib.plan`.
        only: a pattern, or the names of the variables to fill; all others are kept.
        prefix: the name of the model in a larger model; the names of the variables begin with this name.
        unmatched: "default", or "keep" to keep everything that no rule matches.

    Returns:
        The plan.

    Raises:
        PlanError: the plan cannot be made: layers that are not built, frozen and quantized weights without a rule,
            statistics that a rule would draw. The error lists all problems.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(128), keras.layers.Dense(10)])
        >>> print(plan(model))
        name            shape    dtype    axes  fan_in  fan_out  initializer         std    bytes  notes
        dense.kernel    784x128  float32  IO       784      128  glorot_uniform  0.04683  401,408
        dense.bias      128      float32                         zeros                 0      512
        dense_1.kernel  128x10   float32  IO       128       10  glorot_uniform    0.1204    5,120
        dense_1.bias    10       float32                         zeros                 0       40
        4 parameters, 101,770 weights, 407,080 bytes
    """
    options = {"default": default, "rename": rename, "axes": axes, "unmatched": unmatched}
    made, _ = _plan(weights(model, prefix), rules, only, options)
    return made


@public("initlib.adapters.keras")
def initialize(
    model: Any,
    rules: Rules | Plan | None = None,
    seed: Seed = None,
    *,
    default: Rule | None = None,
    rename: Rename | None = None,
    axes: Axes | None = None,
    only: Only = None,
    prefix: str = "",
    unmatched: Unmatched = "default",
) -> Plan:
    """Fill every variable of a built model by rules and by variable name.

    A weight depends on the seed, and on its name, shape, axes and initializer. The weight does not depend on the rest
    of the model, the backend, devices or shardings: `plan.draw(seed)` returns the same bits in NumPy. Without `rules`
    and `default`, the initializer of each layer draws its variables, by name. Statistics are set to the initial values
    of their layers (those of an adapted `Normalization` are kept); optimizers, metrics and seed generators do not
    change. On JAX each device draws its own shard of a variable of `keras.distribution`.

    Args:
        model: a built model or layer. Its variables are filled in place.
        rules: as for `initlib.plan`; or an existing plan, as `plan` made or `Plan.load` read it. Its names, shapes and
            dtypes must be those of the model, or of the part under `prefix`. `default`, `rename`, `axes` and
            `unmatched` are not allowed with an existing plan.
        seed: an int, a `Key`, a `numpy.random.Generator`, or None for fresh entropy.
        default: as for `plan`.
        rename: as for `initlib.plan`.
        axes: as for `initlib.plan`.
        only: as for `plan`.
        prefix: as for `plan`.
        unmatched: as for `plan`.

    Returns:
        The plan, which prints as a report.

    Raises:
        PlanError: as for `plan`, before anything is written; or an existing plan does not fit the model.
        TypeError: an argument has a wrong type, or may not be given with an existing plan.

    Example:
        >>> import keras
        >>> from initlib import he_normal, normal
        >>> model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(128), keras.layers.Dense(10)])
        >>> report = initialize(model, {"dense_1.kernel": normal(std=0.01)}, seed=0, default=he_normal)
        >>> weight = keras.ops.convert_to_numpy(model.layers[0].kernel)
        >>> bool((weight == he_normal((784, 128), seed=0, name="dense.kernel")).all())
        True
    """
    found = weights(model, prefix)
    options = {"default": default, "rename": rename, "axes": axes, "unmatched": unmatched}
    if isinstance(rules, Plan):
        refuse_options(**options)
        made, facts = _fitted(found, rules, only, prefix)
    else:
        made, facts = _plan(found, rules, only, options)
    _check_sources(found, made)
    key = as_key(seed)
    for weight, parameter in zip(found, facts, strict=True):
        remember(weight.variable, parameter)
    fill([(weight.variable, entry) for weight, entry in zip(found, made.entries, strict=True) if not entry.kept], key)
    return made


def _plan(
    found: list[ModelTensor], rules: Rules | None, only: Only, options: dict[str, Any]
) -> tuple[Plan, list[Parameter]]:
    """Return the plan of variables, and the facts that it is made of."""
    own = options["default"] is None and not isinstance(rules, Initializer)
    facts = parameters(found, own)
    is_selected, _ = selected(only, facts, ())
    made = plan_selected(facts, is_selected, rules, **options)
    refuse_drawn(filter(_is_statistic, made.entries))
    return made, facts


def _check_sources(found: list[ModelTensor], made: Plan) -> None:
    """Raise PlanError for fills that read variables of the model, which are being written to."""
    filled = [weight.variable for weight, entry in zip(found, made.entries, strict=True) if not entry.kept]
    problems = read_from_model(
        made.entries, lambda array: any(array is each or _share_memory(array, each) for each in filled)
    )
    if problems:
        raise PlanError(problems)


def _share_memory(array: Any, variable: Any) -> bool:
    """Return whether a write to the variable changes the array. Arrays of JAX never change."""
    if BACKEND == "torch":
        read, written = addresses(array), addresses(variable.value)
        return read.start < written.stop and written.start < read.stop
    return BACKEND == "tensorflow" and array is variable.value


def _fitted(found: list[ModelTensor], existing: Plan, only: Only, prefix: str) -> tuple[Plan, list[Parameter]]:
    """Return an existing plan for variables, and the facts about the variables."""
    facts = parameters(found, True)
    made = fit_plan(existing, facts, prefix=prefix)
    is_selected, _ = selected(only, facts, ())
    return keep_others(made, is_selected), facts


def _is_statistic(entry: Entry) -> bool:
    return entry.parameter.kind == "buffer" and entry.parameter.owner != "SpectralNormalization"
