"""Values that a module's constructor gave its tensors, and the table of the fills of tensors without a rule."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...schemes._constant import constant, zeros
from ..fills.values import Fill, Keep, keep
from ..packing.overlaps import Overlap
from ..text.errors import PATTERN, RuleNeededError
from .regularity import Read, constant_of, has_set_edge, is_monotone, is_regular, is_smooth
from .usual_names import is_table_name

if TYPE_CHECKING:
    from ..parameter import Parameter  # whose file imports this file

SMALL = 2**16  # weights of a tensor that is read at once
CORNER = 16  # indices along each axis that are read before all of them
ROUNDING = 1.01  # of a bound, in bfloat16

FROZEN = "the parameter is frozen, and its values are not all equal"
UNREADABLE = "the value that the constructor set is unknown"
DIFFERING = "the constructor set values that are not all equal"
REGULAR = "the constructor set a matrix that no initializer draws"
TOKEN = "the default needs fans, and a token has no input and output axes"


@dataclass(frozen=True)
class ConstructorValue:
    """Facts about the value that a module's constructor gave a tensor.

    Attributes:
        read: returns the values of a box (index `...` for all), or None if the values cannot be read.
        recorded: True if a record replaces memory. All weights had the value `constant`; None: the values differed.
        unset: True if a skeleton has seen that the constructor set the tensor without a random call.
        zeroed: True if a skeleton has seen that the constructor set the tensor to zero.
        frozen: True if the tensor needs no gradient.
        draws: True if the constructor of the class draws the tensor, False if the constructor sets the tensor.
        bound: a bias within [-bound, bound] is in the range from which the constructor draws.
        start: the value that the class states, for a tensor without values.
        hint: a sentence of advice, for a tensor without values.
        draws_like: the class of `torch.nn` whose constructor draws the tensor.
    """

    read: Read | None = None
    constant: float | None = None
    recorded: bool = False
    frozen: bool = False
    draws: bool | None = None
    bound: float | None = None
    unset: bool = False
    zeroed: bool = False
    start: Fill | None = None
    hint: str | None = None
    draws_like: str | None = None

    def part(self, shape: tuple[int, ...], boxes: tuple[Overlap, ...]) -> "ConstructorValue":
        """Return the value of a part of that shape, which lies in these boxes of the tensor."""
        return self if self.read is None else replace(self, read=_part_reader(self.read, shape, boxes))

    def record(self, parameter: "Parameter") -> "ConstructorValue":
        """Return the record that later plans read in place of memory, which training changes."""
        look = _look(parameter, self)
        if self.recorded or look is None:
            return self
        if parameter.kind == "bias":
            was_set = look.constant is None and not _may_be_drawn_bias(look, self)
        else:
            was_set = look.is_regular
        return replace(self, read=None, recorded=True, constant=look.constant, unset=self.unset or was_set)


class Decision(NamedTuple):
    """A fill of a tensor that no rule matches (None: the default), notes, and a flag to warn of zeros."""

    fill: Fill | None
    notes: tuple[str, ...] = ()
    may_be_fresh: bool = False


class _Look(NamedTuple):
    """Facts about the values of a tensor."""

    constant: float | None = None  # of all weights
    is_regular: bool = False  # no initializer draws such values: equal rows, an identity, a monotone vector
    largest: float = math.inf  # the largest absolute value of a bias


def decide(parameter: "Parameter", value: ConstructorValue, *, default_needs_axes: bool) -> Decision:
    """Return the fill of a parameter that no rule matches. The first line of the table that applies counts.

    Raises RuleNeededError where the constructor's values cannot be kept reproducibly.
    """
    if isinstance(parameter.default, Keep) or parameter.kind == "buffer":
        return Decision(parameter.default or keep)
    if parameter.size == 0:
        return Decision(zeros, ("empty",))
    look = _look(parameter, value)
    number = None if look is None else look.constant
    if value.frozen and number is None:
        raise _keep(FROZEN, 'frozen; unmatched="keep" keeps every parameter without a rule')
    notes = ("frozen",) if value.frozen else ()
    if look is None:
        return _without_values(parameter, value)
    if number:
        return Decision(constant(number), (f"{_shown(number)} as constructed", *notes))
    if number == 0:
        return _zero(parameter, value, notes)
    if parameter.kind == "bias":
        if _may_be_drawn_bias(look, value):
            return Decision(zeros, ("replaces the constructor's draw",))
        raise _keep(DIFFERING)
    unset = value.unset or value.draws is False
    if parameter.is_vector and (unset or value.draws is None):
        if unset or len(parameter.shape) < 2 or look.is_regular:
            raise _keep(DIFFERING)
        if default_needs_axes:
            raise RuleNeededError(TOKEN, f"Add the rule {{{PATTERN}: normal(std=0.02)}} or {{{PATTERN}: keep}}")
        return Decision(None, ("drawn as a token",))
    if unset or look.is_regular:
        raise _keep(REGULAR)
    return Decision(None)


def _keep(reason: str, why: str = "differing values as constructed") -> RuleNeededError:
    return RuleNeededError(reason, f"Add the rule {{{PATTERN}: keep}}  # {why}")


def _without_values(parameter: "Parameter", value: ConstructorValue) -> Decision:
    start = parameter.default if value.start is None else value.start
    if start is None and parameter.kind == "bias":
        return Decision(zeros, ("zeros, without values in memory",))
    if not parameter.is_vector and value.start is None:
        return Decision(None)
    if start is None:
        usual = "normal(std=0.02)" if is_table_name(parameter.name) else "ones"
        advice = f"Add the rule {{{PATTERN}: {usual}}}, or another value that the constructor sets"
        raise RuleNeededError(UNREADABLE, f"{value.hint} {advice}" if value.hint else advice)
    return Decision(start, ("as its class states",))


def _zero(parameter: "Parameter", value: ConstructorValue, notes: tuple[str, ...]) -> Decision:
    if parameter.is_vector or value.draws is True or value.zeroed:
        return Decision(zeros, ("zeros as constructed", *notes))
    # A frozen tensor is never drawn without a rule.
    fill = zeros if value.frozen else None
    return Decision(fill, ("zeros as constructed (may be fresh memory)", *notes), may_be_fresh=True)


def _may_be_drawn_bias(look: _Look, value: ConstructorValue) -> bool:
    if value.unset or value.draws is False:
        return False
    if value.bound is None:
        return value.draws is True
    return value.recorded or look.largest <= value.bound * ROUNDING


def _look(parameter: "Parameter", value: ConstructorValue) -> _Look | None:
    """Return the facts about the values of a tensor; None where there are none to read."""
    if value.recorded:
        return _Look(value.constant)
    read = value.read
    if read is None:
        return None
    if parameter.size <= SMALL:
        values = read(...)
        if values is None:
            return None
        read = values.__getitem__
    if not parameter.is_vector:
        corner = read((slice(0, CORNER),) * len(parameter.shape))
        if corner is not None and is_smooth(corner):
            return _Look(is_regular=True)
        if corner is not None and corner.size > 1 and not is_regular(corner):
            return _Look(is_regular=has_set_edge(read, parameter.shape))
    values = read(...)
    if values is None:
        return None
    number = constant_of(values)
    if number is not None:
        drawn = values.size == 1 and number != 0 and value.draws is True
        return _Look(None if drawn else number, largest=abs(number))
    regular = is_monotone(values.ravel()) if parameter.is_vector else is_regular(values)
    return _Look(None, regular, float(np.abs(values).max(initial=0)) if parameter.kind == "bias" else math.inf)


def _shown(number: float) -> str:
    return {1.0: "ones"}.get(number, f"{number:.3g}")


def _part_reader(read: Read, shape: tuple[int, ...], boxes: tuple[Overlap, ...]) -> Read:
    """Return the reader of a part, which lies in boxes of the tensor that `read` reads."""

    def part(index: Any) -> NDArray[Any] | None:
        values = None
        for outer, inner in boxes:
            box = read(outer)
            if box is None:
                return None
            if values is None:
                values = np.empty(shape, np.asarray(box).dtype)
            values[inner] = box
        return None if values is None else values[index]

    return part
