"""Variables: the weights of a model, by names that do not depend on what the process made before."""

# mypy: disable-error-code="import-untyped, misc"
# Keras comes without types, so its classes are Any.

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras import layers, ops

from initlib import Parameter, PlanError, constant, keep, zeros
from initlib.plans.rules.constructor_value import constant_of
from initlib.plans.rules.values import Fill
from initlib.plans.text.describe import described

from .._private import held, is_weight, sublayers, to_snake_case
from .layers import FIXED, UNKNOWN, meanings

UNBUILT = "{owner} is not built, and has no weights yet; call model.build(input_shape), or the model on a batch"
FROZEN = "it is frozen (trainable=False): a rule must say keep, or what fills it"
QUANTIZED = "it is quantized, and nothing draws that: keep it, or initialize the model before it is quantized"
UNSAID = "what {owner} starts it with, it does not say (by an attribute such as kernel_initializer)"
OWN_START = "it starts with {start}, whatever the default is; a rule must say so"

BUILT = "_initlib_built"  # of a variable: the value that all its weights had before they were first filled
FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(eq=False)
class ModelTensor:
    """A variable of the model: its layer, its names, and whether it is not to be trained now."""

    variable: Any
    layer: Any
    names: list[str]
    frozen: bool
    built: float | None = None  # the value of all its weights, where nothing else says what they start with

    @property
    def owner(self) -> str:
        return type(self.layer).__name__

    @property
    def is_quantized(self) -> bool:
        """Whether it is of what quantization stores in place of a weight."""
        mode = getattr(self.layer, "quantization_mode", None)
        return mode not in (None, "float8") and not is_weight(self.layer, self.variable)


def walk(layer: Any, prefix: str = "", frozen: bool = False) -> Iterator[tuple[str, Any, bool]]:
    """Every layer of the model with what its variables' names begin with, and whether it is frozen."""
    frozen = frozen or not layer.trainable
    yield prefix, layer, frozen
    inner = sublayers(layer)
    for name, each in zip(_names(inner, isinstance(layer, layers.Bidirectional)), inner, strict=True):
        yield from walk(each, f"{prefix}{name}.", frozen)


def _names(beside: list[Any], in_pair: bool = False) -> list[str]:
    """The names of layers or variables beside one another, the automatic ones numbered by their place.

    An automatic name is that of the class, and from the second of a process on a number: dense, dense_1. A number 0,
    or one that begins with 0, is somebody's own, and so are then all of its kind.
    """
    side = "(?:forward_|backward_)?" if in_pair else ""
    split = [re.fullmatch(rf"({side}{to_snake_case(type(each).__name__)})(?:_(\d+))?", each.name) for each in beside]
    own = {match[1] for match in split if match and (match[2] or "1").startswith("0")}
    named = zip(split, beside, strict=True)
    return numbered([match[1] if match and match[1] not in own else each.name for match, each in named])


def numbered(stems: list[str]) -> list[str]:
    """The names, those that are there twice with the number of their place: dense, dense_1.

    >>> numbered(["dense", "conv", "dense"])
    ['dense', 'conv', 'dense_1']
    """
    taken, seen, names = set(stems), Counter[str](), []
    for stem in stems:
        name = stem
        while seen[stem] and name in taken:
            name = f"{stem}_{seen[stem]}"
            seen[stem] += 1
        seen[stem] = max(1, seen[stem])
        taken.add(name)
        names.append(name)
    return names


def weights(model: Any, prefix: str = "") -> list[ModelTensor]:
    """The variables of the model, each once, by names with a prefix. Raises PlanError where layers have none yet."""
    if not isinstance(model, layers.Layer):
        raise TypeError(f"model must be a keras.Model or another keras.Layer, got {model!r}")
    if not model.built:
        raise PlanError([UNBUILT.format(owner="the model")])
    found: dict[int, ModelTensor] = {}
    problems = []
    for start, layer, frozen in walk(model, f"{prefix}." if prefix else ""):
        if not layer.built and type(layer).build is not layers.Layer.build:
            problems.append(f"{start[:-1]}: {UNBUILT.format(owner=type(layer).__name__)}")
        variables = held(layer)
        for name, variable in zip(_names(variables), variables, strict=True):
            still = frozen or (is_weight(layer, variable) and not variable.trainable)
            weight = ModelTensor(variable, layer, [start + name], still)
            first = found.setdefault(id(variable), weight)
            if first is not weight:
                _join(first, weight)
    if problems:
        raise PlanError(problems)
    return list(found.values())


def _join(first: ModelTensor, other: ModelTensor) -> None:
    """One variable is in more places: it is known by its place in the layer that made it."""
    first.names += other.names
    first.frozen = first.frozen or other.frozen
    if f"{other.layer.path}/{other.variable.name}" == other.variable.path:
        first.layer = other.layer
        first.names.remove(other.names[0])
        first.names.insert(0, other.names[0])


def parameters(found: list[ModelTensor], own: bool) -> list[Parameter]:
    """What a plan is made of; `own`: what layers start weights with is what fills them where no rule matches.

    Raises PlanError where axes do not fit their variables.
    """
    made, problems = [], []
    for weight in found:
        try:
            made.append(_parameter(weight, own))
        except ValueError as error:
            problems.append(f"{weight.names[0]}: {error}")
    if problems:
        raise PlanError(problems)
    return made


def _parameter(weight: ModelTensor, own: bool) -> Parameter:
    variable, name = weight.variable, weight.variable.name
    shape, dtype = tuple(variable.shape), variable.dtype
    meaning = meanings(weight.layer).get(name, UNKNOWN)
    default, needs, kind, axes = meaning.default, None, meaning.kind, meaning.axes
    if not is_weight(weight.layer, variable) and kind == "other":
        kind = "buffer"  # its layer made it to be none that is trained
    if weight.is_quantized:
        needs, axes = QUANTIZED, None  # its shape may be that of a packed matrix
    elif weight.frozen:
        needs = FROZEN
    elif dtype not in FLOATS or (kind == "buffer" and default is None):
        default = keep
    elif default is None:
        default, needs = _unsaid(weight, len(shape), own)
    elif kind in ("kernel", "recurrent", "table") and not own:
        default = zeros if default == zeros else None
    elif name in FIXED and not own:
        needs = OWN_START.format(start=described(default))
    return Parameter(
        weight.names[0], shape, dtype, axes, kind, weight.owner, default, tuple(weight.names[1:]), needs=needs
    )


def _unsaid(weight: ModelTensor, ndim: int, own: bool) -> tuple[Fill | None, str | None]:
    """What a variable starts with whose layer does not say it, and why nobody knows."""
    if ndim < 2:
        if not hasattr(weight.variable, BUILT):
            weight.built = constant_of(ops.convert_to_numpy(weight.variable.value))
        value = getattr(weight.variable, BUILT, weight.built)
        if value is not None:
            return constant(value), None
    return None, UNSAID.format(owner=weight.owner) if own or ndim < 2 else None


def remember(found: list[ModelTensor]) -> None:
    """Let variables keep what they were built with: training will change it."""
    for weight in found:
        if weight.built is not None:
            setattr(weight.variable, BUILT, weight.built)
