"""Initialize: a plan for a model, and its weights put where Keras's backend keeps them."""

from typing import Any

import numpy as np

from initlib import Initializer, Parameter, Plan
from initlib._public import public
from initlib.adapters.common.running_statistics import refuse_drawn
from initlib.adapters.common.selection import Only, plan_selected, selected
from initlib.key import Key, as_key
from initlib.plans.entry import Entry
from initlib.plans.rules.values import Fill

from ..drawing.draw import BACKEND, as_tensor
from .tensors import ModelTensor, parameters, remember, weights

if BACKEND == "jax":
    from ...jax.drawing.fill import filled
elif BACKEND == "torch":
    from ...torch.drawing.fill import fill_box


@public("initlib.adapters.keras")
def plan(
    model: Any,
    rules: Any = None,
    *,
    default: Any = None,
    rename: Any = None,
    axes: Any = None,
    only: Only = None,
    prefix: str = "",
) -> Plan:
    """Make the plan of a built model: what fills each of its variables. Nothing is written.

    >>> import keras
    >>> model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(128), keras.layers.Dense(10)])
    >>> print(plan(model))
    name            shape    dtype    axes  fan_in  fan_out  initializer         std    bytes  notes
    dense.kernel    784x128  float32  IO       784      128  glorot_uniform  0.04683  401,408
    dense.bias      128      float32                         zeros                 0      512
    dense_1.kernel  128x10   float32  IO       128       10  glorot_uniform    0.1204    5,120
    dense_1.bias    10       float32                         zeros                 0       40
    4 parameters, 101,770 weights, 407,080 bytes

    The arguments are those of `initlib.plan`, and `only` and `prefix` as for `initialize`. The names are the variables'
    paths, with dots: the names of the layers from the model on, which is not in them itself. Automatic names, such as
    dense_7, are counted by Keras in the whole process: here they are counted in the layer or model around them, so that
    dense_7 may be dense_1. Nobody can tell them from yours that look alike, a class and a number: begin at 0 (block_0),
    which none of Keras's does, or use words, and your names stay. What is held in more than one place is tied.

    Keras's layers say themselves what their weights' axes mean; `declare` says it of others. Without `default`, what no
    rule matches has the law of its own layer's initializer, with the fans that the axes mean and a matrix a gate.
    Raises `PlanError`, with all problems that there are: layers that are not built, frozen and quantized weights of
    which no rule says something, statistics that a rule would draw.
    """
    return _plan(weights(model, prefix), (rules, default, rename, axes), only)


def _plan(found: list[ModelTensor], said: Any, only: Only) -> Plan:
    rules, default, rename, axes = said
    own = default is None and not isinstance(rules, Initializer)
    told = parameters(found, own)
    meant, _ = selected(only, told, ())
    made = plan_selected(told, meant, rules, default=_own_start if own else default, rename=rename, axes=axes)
    refuse_drawn(filter(_is_statistic, made.entries))
    return made


def _own_start(parameter: Parameter) -> Fill:
    """What a layer starts its variable with, which is known of every one that comes here, but not of a part of one."""
    if parameter.default is None:
        raise ValueError(f"nothing says what fills the part {parameter.name}; give the parts a filling, or a default")
    return parameter.default


def _is_statistic(entry: Entry) -> bool:
    return entry.parameter.kind == "buffer" and entry.parameter.owner != "SpectralNormalization"


@public("initlib.adapters.keras")
def initialize(
    model: Any,
    rules: Any = None,
    seed: Any = None,
    *,
    default: Any = None,
    rename: Any = None,
    axes: Any = None,
    only: Only = None,
    prefix: str = "",
) -> Plan:
    """Fill every weight of a built model by rules and by its name, and return the plan, which prints as a report.

    >>> import keras
    >>> from initlib import he_normal, normal
    >>> model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(128), keras.layers.Dense(10)])
    >>> report = initialize(model, {"dense_1.kernel": normal(std=0.01)}, seed=0, default=he_normal)
    >>> weight = keras.ops.convert_to_numpy(model.layers[0].kernel)
    >>> bool((weight == he_normal((784, 128), seed=0, name="dense.kernel")).all())
    True

    The arguments are those of `plan`, and `seed`: an int, a `Key`, a `numpy.random.Generator`, or None for fresh
    entropy. What a weight gets depends on the seed and on its name, not on the backend, on devices, on shards or on
    what else is in the model: `report.draw(seed)` are the same bits in NumPy. With a seed alone it is the model's own
    recipe, drawn by name. Statistics are set to what their layers start them with (`Normalization`'s, of adapted data,
    are kept); optimizers, metrics and seed generators are left alone. On JAX each device draws its own part of a
    variable of `keras.distribution`.

    `only`, a pattern or names, leaves everything else as it is. `prefix` is the name of the model in a bigger one,
    whose names its variables then have. Raises `PlanError` as `plan` does, before anything is written.
    """
    found = weights(model, prefix)
    made = _plan(found, (rules, default, rename, axes), only)
    key = as_key(seed)
    for weight, entry in zip(found, made.entries, strict=True):
        if not entry.kept:
            _write(weight.variable, entry, key)
    remember(found)
    return made


def _write(variable: Any, entry: Entry, key: Key) -> None:
    """Put what an entry says into a variable of the backend."""
    if BACKEND == "jax":
        value = variable.value
        variable.assign(filled(entry, key, value.sharding if value.committed else None, value))
    elif BACKEND == "torch":
        fill_box(variable.value.detach(), entry, ..., key)
    elif entry.filled:
        variable.assign(as_tensor(entry.draw(key), entry.parameter.dtype))
    else:
        variable.assign(entry.draw(key, out=np.array(variable.value)))
