"""Variables of a model, by names that do not depend on other models of the process."""

# mypy: disable-error-code="import-untyped, misc"
# Keras comes without types, so its classes are Any.

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras import layers

from initlib import PlanError

from .._private import held, is_weight, sublayers, to_snake_case
from .types import Layer, Variable

UNBUILT = "{owner} is not built, and has no weights yet. Call model.build(input_shape), or call the model on a batch"


@dataclass(eq=False)
class ModelTensor:
    """A variable of the model: its layer, its names, and whether it is frozen."""

    variable: Variable
    layer: Layer
    names: list[str]
    frozen: bool

    @property
    def owner(self) -> str:
        return type(self.layer).__name__

    @property
    def is_quantized(self) -> bool:
        """Return whether quantization stores the variable in place of a weight."""
        mode = getattr(self.layer, "quantization_mode", None)
        return mode not in (None, "float8") and not is_weight(self.layer, self.variable)


def walk(layer: Layer, prefix: str = "", frozen: bool = False) -> Iterator[tuple[str, Layer, bool]]:
    """Yield every layer of the model with the prefix of its variables' names, and whether it is frozen."""
    frozen = frozen or not layer.trainable
    yield prefix, layer, frozen
    inner = sublayers(layer)
    for name, each in zip(_names(inner, isinstance(layer, layers.Bidirectional)), inner, strict=True):
        yield from walk(each, f"{prefix}{name}.", frozen)


def _names(beside: list[Any], in_pair: bool = False) -> list[str]:
    """Return the names of layers or variables beside one another, with automatic names numbered by place.

    An automatic name is that of the class, with a number from the second object of a process on: dense, dense_1. A
    number that begins with 0 is the user's, and so are then all names of that class.
    """
    side = "(?:forward_|backward_)?" if in_pair else ""
    split = [re.fullmatch(rf"({side}{to_snake_case(type(each).__name__)})(?:_(\d+))?", each.name) for each in beside]
    own = {match[1] for match in split if match and (match[2] or "1").startswith("0")}
    named = zip(split, beside, strict=True)
    return numbered([match[1] if match and match[1] not in own else each.name for match, each in named])


def numbered(stems: list[str]) -> list[str]:
    """Return the names, with numbers for those that appear twice: dense, dense_1.

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


def weights(model: Layer, prefix: str = "") -> list[ModelTensor]:
    """Return the variables of the model, each once, by names with a prefix. Raises PlanError for unbuilt layers."""
    if not isinstance(model, layers.Layer):
        raise TypeError(f"model must be a keras.Model or another keras.Layer, got {type(model).__name__}")
    if not model.built:
        raise PlanError([UNBUILT.format(owner="the model")])
    tensors: dict[int, ModelTensor] = {}
    problems = []
    for start, layer, frozen in walk(model, f"{prefix}." if prefix else ""):
        if not layer.built and type(layer).build is not layers.Layer.build:
            problems.append(f"{start[:-1]}: {UNBUILT.format(owner=type(layer).__name__)}")
        variables = held(layer)
        for name, variable in zip(_names(variables), variables, strict=True):
            fixed = frozen or (is_weight(layer, variable) and not variable.trainable)
            weight = ModelTensor(variable, layer, [start + name], fixed)
            first = tensors.setdefault(id(variable), weight)
            if first is not weight:
                _join(first, weight)
    if problems:
        raise PlanError(problems)
    return list(tensors.values())


def _join(first: ModelTensor, other: ModelTensor) -> None:
    """Join the names of one variable; the name in the layer that made it comes first."""
    first.names += other.names
    first.frozen = first.frozen or other.frozen
    if f"{other.layer.path}/{other.variable.name}" == other.variable.path:
        first.layer = other.layer
        first.names.remove(other.names[0])
        first.names.insert(0, other.names[0])
