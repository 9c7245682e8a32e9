"""Initialize: the plan of a model, and its weights in the memory of Keras's backend."""

from typing import Any

from initlib import Initializer, Parameter, Plan, PlanError
from initlib._public import public
from initlib.adapters.common.array_sources import read_from_model
from initlib.adapters.common.existing_plan import fit_plan, refuse_options
from initlib.adapters.common.running_statistics import refuse_drawn
from initlib.adapters.common.selection import Only, PlanOptions, keep_others, plan_selected, selected
from initlib.key import Seed, as_key
from initlib.plans.entry import Entry
from initlib.plans.types import Axes, Rename, Rule, Rules, Unmatched

from ..drawing.draw import BACKEND
from ..drawing.fill import fill
from .constructor_values import remember
from .parameters import parameters
from .tensors import ModelTensor, weights
from .types import Variable

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
    """Make the plan of a built model: one fill for each variable. Nothing is written.

    The name of a variable is its path, joined by dots, without the name of the model. Keras counts automatic names,
    such as dense_7, over the whole process. A plan counts automatic names within the enclosing layer or model, so
    dense_7 may become dense_1. Your own names that look like automatic names are also counted, unless the number begins
    with 0 (block_0). A variable at several paths is tied.

    The roles of the variables of Keras's layers are known. For your own layers, call `declare`. A variable that no rule
    matches gets the distribution of its layer's initializer, with the fans of its axes and one matrix for each gate. If
    `default` is given, `default` fills kernels, recurrent kernels and tables that no rule matches.

    Args:
        model: a built model or layer.
        rules: as for `initlib.plan`.
        default: the fill of kernels, recurrent kernels and tables that no rule matches.
        rename: as for `initlib.plan`.
        axes: as for `initlib.plan`.
        only: a pattern, or the names of the variables to fill. All other variables are kept.
        prefix: the name of the model in a larger model. The names of the variables then begin with this name.
        unmatched: "default", or "keep" to keep every variable that no rule matches.

    Returns:
        The plan.

    Raises:
        PlanError: the plan has problems; the error lists all problems. Examples are layers that are not built, frozen
            or quantized weights without a rule, and rules that would draw statistics.
        TypeError: an argument has a wrong type.

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
    options: PlanOptions = {"default": default, "rename": rename, "axes": axes, "unmatched": unmatched}
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

    The weights of a variable depend only on the seed, and on the name, shape, axes, dtype and initializer. The weights
    do not depend on the rest of the model, the backend, devices or shardings: `plan.draw(seed)` returns the same bits
    in NumPy. Without `rules` and `default`, each variable gets the distribution of its layer's initializer. Statistics
    are set to the initial values of their layers, except for an adapted `Normalization`. Optimizers, metrics and seed
    generators do not change. On JAX, each device draws its own shard of a variable of `keras.distribution`.

    Args:
        model: a built model or layer. Its variables are filled in place.
        rules: as for `initlib.plan`, or an existing plan from `plan` or `Plan.load`. The names, shapes and dtypes of an
            existing plan must be those of the model. With `prefix`, the plan may be that of the larger model. With an
            existing plan, `default`, `rename`, `axes` and `unmatched` are not allowed.
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
        PlanError: as for `plan`, or an existing plan does not fit the model. Nothing is written.
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
    tensors = weights(model, prefix)
    options: PlanOptions = {"default": default, "rename": rename, "axes": axes, "unmatched": unmatched}
    if isinstance(rules, Plan):
        refuse_options(**options)
        made, facts = _fitted(tensors, rules, only, prefix)
    else:
        made, facts = _plan(tensors, rules, only, options)
    filled = [(weight.variable, entry) for weight, entry in zip(tensors, made.entries, strict=True) if not entry.kept]
    _check_sources(filled)
    key = as_key(seed)
    for weight, parameter in zip(tensors, facts, strict=True):
        remember(weight.variable, parameter)
    fill(filled, key)
    return made


def _plan(
    tensors: list[ModelTensor], rules: Rules | None, only: Only, options: PlanOptions
) -> tuple[Plan, list[Parameter]]:
    """Return the plan of variables, and the facts that it is made of."""
    own = options["default"] is None and not isinstance(rules, Initializer)
    facts = parameters(tensors, own)
    is_selected, _ = selected(only, facts, ())
    made = plan_selected(facts, is_selected, rules, **options)
    refuse_drawn(filter(_is_statistic, made.entries))
    return made, facts


def _check_sources(filled: list[tuple[Variable, Entry]]) -> None:
    """Raise PlanError for fills that read variables of the model, which are being written to."""

    def is_written(array: object) -> bool:
        return any(array is variable or _share_memory(array, variable) for variable, _ in filled)

    if problems := read_from_model((entry for _, entry in filled), is_written):
        raise PlanError(problems)


def _share_memory(array: object, variable: Variable) -> bool:
    """Return whether a write to the variable changes the array. Arrays of JAX never change."""
    if BACKEND == "torch":
        read, written = addresses(array), addresses(variable.value)
        return read.start < written.stop and written.start < read.stop
    return BACKEND == "tensorflow" and array is variable.value


def _fitted(tensors: list[ModelTensor], existing: Plan, only: Only, prefix: str) -> tuple[Plan, list[Parameter]]:
    """Return an existing plan for variables, and the facts about the variables."""
    facts = parameters(tensors, True)
    made = fit_plan(existing, facts, prefix=prefix)
    is_selected, _ = selected(only, facts, ())
    return keep_others(made, is_selected), facts


def _is_statistic(entry: Entry) -> bool:
    return entry.parameter.kind == "buffer" and entry.parameter.owner != "SpectralNormalization"
