"""Fillings: what a rule may say of a tensor, beside an initializer: keep it, these values, or several weights."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..schemes.initializer import Initializer
from .parameter import check_name

if TYPE_CHECKING:
    from .parameter import Parameter

__all__ = ["Filling", "Keep", "Rule", "Split", "Stack", "Values", "as_filling", "as_rule", "keep", "parts", "values"]

LIMIT = 2**26  # bytes of `values`: what a plan may hold itself
NESTED = 8  # how deep parts may lie in parts

Filling = Union[Initializer, "Keep", "Values", "Split", "Stack"]
Rule = Filling | Callable[["Parameter"], Filling]


class Keep:
    """What leaves a tensor as it is: `keep`."""

    def __repr__(self) -> str:
        return "keep"

    def __reduce__(self) -> str:
        return "keep"  # there is one: what unpickles or copies it finds it by its name


keep = Keep()


class Values:
    """A tensor's own values: what `values` makes. Immutable, comparable, hashable."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Values):
            return NotImplemented
        mine, its = self.array, other.array
        return mine.dtype == its.dtype and mine.shape == its.shape and mine.tobytes() == its.tobytes()

    def __hash__(self) -> int:
        return hash((self.array.shape, self.array.tobytes()))

    def __repr__(self) -> str:
        return f"values({self.array.dtype.name}{list(self.array.shape)})"


def values(array: ArrayLike) -> Values:
    """Make the filling of exact values, of the tensor's own shape: sinusoids, log(1..n), a mask.

    >>> import numpy as np
    >>> values(np.log(np.arange(1, 17)))  # one state vector of Mamba's A_log
    values(float64[16])

    The array is copied, in float32, float64 or float16 (another dtype of real numbers becomes float64). Raises
    TypeError for what is no array of real numbers; ValueError for one that holds NaN, or more than 64 MiB.
    """
    given = np.asarray(array)
    if given.dtype.kind not in "fiub" and given.dtype.name != "bfloat16":
        raise TypeError(f"values must be an array of real numbers, got dtype {given.dtype}")
    exact = given.dtype if given.dtype.name in ("float16", "float32") else np.dtype("float64")
    kept = np.array(given, exact, order="C", copy=True)
    if kept.nbytes > LIMIT:
        raise ValueError(
            f"values of shape {kept.shape} take {kept.nbytes} bytes, a plan holds at most {LIMIT}; keep the tensor "
            f"and load it, or write a function of its indices"
        )
    if np.isnan(kept).any():
        raise ValueError(f"values of shape {kept.shape} hold NaN")
    kept.flags.writeable = False
    return Values(kept)


@dataclass(frozen=True)
class Split:
    """Several weights side by side along an axis: what `parts` makes of a mapping."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    fillings: tuple[Any, ...]  # one each; None: what the rules say of its name
    axis: int = 0
    groups: int = 1
    replaces: int | None = None

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("parts must name at least one part")
        for name, size in zip(self.names, self.sizes, strict=True):
            check_name(name, "a part's name")
            _integer(size, f"the size of part {name!r}", 1)
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"parts must have names of their own, got {', '.join(self.names)}")
        _integer(self.groups, "groups", 1)
        _check_parts(self, len(self.names))

    def lengths(self, size: int) -> list[int]:
        """How long each part is, in one group, of an axis of that size. Raises ValueError where they do not fit."""
        common = math.gcd(*self.sizes)
        shares = [part // common for part in self.sizes]
        if size % (sum(shares) * self.groups):
            named = ", ".join(f"{name} {part}" for name, part in zip(self.names, self.sizes, strict=True))
            groups = f" in {self.groups} groups" if self.groups > 1 else ""
            raise ValueError(f"parts {named}{groups} do not divide an axis of size {size}")
        unit = size // self.groups // sum(shares)
        return [part * unit for part in shares]

    def __repr__(self) -> str:
        inner = ", ".join(
            f"{name!r}: {size if filling is None else (size, filling)!r}"
            for name, size, filling in zip(self.names, self.sizes, self.fillings, strict=True)
        )
        return f"parts({{{inner}}}{_options(self)})"


@dataclass(frozen=True)
class Stack:
    """Weights of their own at each index of an axis: what `parts` makes of a template."""

    template: str
    fillings: tuple[Any, ...]  # one for all, or one for each index
    axis: int = 0
    replaces: int | None = None

    def __post_init__(self) -> None:
        if "{i}" not in check_name(self.template, "parts' name"):
            raise ValueError(f"parts' name {self.template!r} has no {{i}}, the index along the axis")
        _check_parts(self, max(1, len(self.fillings)))

    def __repr__(self) -> str:
        inner = repr(self.fillings[0]) if len(self.fillings) == 1 else f"[{len(self.fillings)} fillings]"
        return f"parts({self.template!r}, {inner}{_options(self)})"


def _options(filling: Any) -> str:
    given = (("axis", 0), ("groups", 1), ("replaces", None))
    return "".join(f", {n}={getattr(filling, n)}" for n, default in given if getattr(filling, n, default) != default)


def _integer(value: Any, argument: str, least: int | None = None) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{argument} must be an int, got {value!r}")
    if least is not None and number < least:
        raise ValueError(f"{argument} must be at least {least}, got {number}")
    return number


def parts(
    names: str | Mapping[str, Any], filling: Any = None, *, axis: int = 0, groups: int = 1, replaces: int | None = None
) -> Split | Stack:
    """Make the filling of a stored tensor that is several named weights, each drawn as it would be alone.

    >>> from initlib import he_normal, zeros
    >>> heads = {"q.weight": 24, "k.weight": 8, "v.weight": 8}
    >>> parts(heads, he_normal).sizes  # rows 0 to 24 / 40 of axis 0 are q's
    (24, 8, 8)
    >>> parts(heads, he_normal, groups=8).groups  # in each of 8 groups 3 heads of q, then 1 of k and 1 of v
    8
    >>> parts({"up.weight": 1, "gate.weight": (1, zeros)}, he_normal).fillings[1]  # a filling of its own
    constant(value=0.0)
    >>> parts("layers.{i}.kernel", he_normal).axis  # index i of axis 0 is the kernel of layer i, without that axis
    0

    A mapping gives each part's share of the axis: the shares are scaled to its size. With `groups` the axis is that
    many groups, each of which holds the parts one after the other. A string with `{i}` gives the name of the weight at
    each index of the axis. `filling` is a rule's value: an initializer, `keep`, `values`, `parts`, a function of the
    `Parameter` that the part would be, or None for what the plan's rules say of the part's name.

    A part's name replaces as many components at the end of the stored name as it has, `{i}` not counted:
    "attn.qkv.weight" holds "attn.q.weight"; `replaces` is another number of them. Each part has the name's stream, its
    own shape and fans, and the stored axes without what packs the parts: so a fused model has the bits of a split one,
    and a stacked model those of an unrolled one. Raises TypeError or ValueError, naming the argument.
    """
    if isinstance(names, str):
        if groups != 1:
            raise ValueError(f"groups are of a mapping's parts, got groups={groups} with {names!r}")
        return Stack(names, (filling,), axis, replaces)
    if not isinstance(names, Mapping):
        raise TypeError(f"parts must be a mapping of names to sizes, or a name with {{i}}, got {names!r}")
    each = [size if isinstance(size, tuple) and len(size) == 2 else (size, filling) for size in names.values()]
    return Split(tuple(names), tuple(size for size, _ in each), tuple(own for _, own in each), axis, groups, replaces)


def _check_parts(filling: Any, count: int) -> None:
    """What the parts of a mapping and of a template have in common, checked."""
    _integer(filling.axis, "axis")
    if filling.replaces is not None:
        _integer(filling.replaces, "replaces", 0)
    if len(filling.fillings) != count:
        raise ValueError(f"parts must have {count} fillings, got {len(filling.fillings)}")
    for each in filling.fillings:
        if each is not None:
            as_rule(each, "what fills a part")
    if all(isinstance(each, Keep) for each in filling.fillings):
        raise ValueError("parts that are all kept are a tensor that is kept: write keep")
    if _depth(filling) > NESTED:
        raise ValueError(f"parts lie {_depth(filling)} deep in one another; at most {NESTED} are allowed")


def _depth(filling: Any) -> int:
    return 1 + max(map(_depth, filling.fillings)) if isinstance(filling, (Split, Stack)) else 0


def as_filling(value: Any, argument: str) -> Filling:
    """The argument as a filling, checked."""
    if isinstance(value, (Initializer, Keep, Values, Split, Stack)):
        return value
    if isinstance(value, (np.ndarray, float, int)):
        hint = "; write values(array)" if isinstance(value, np.ndarray) else f"; write constant({value!r})"
    elif isinstance(value, type) and issubclass(value, Initializer):
        hint = f"; call it: {getattr(value, 'factory', value.__name__)}(...)"
    else:
        hint = ""
    raise TypeError(f"{argument} must be an initializer, keep, values(...) or parts(...), got {value!r}{hint}")


def as_rule(value: Any, argument: str) -> Rule:
    """The argument as a rule's value, checked: a filling, or a function of the `Parameter`."""
    named = getattr(value, "__module__", None) or ""
    if callable(value) and not isinstance(value, (type, Initializer)) and not named.startswith("initlib.schemes."):
        return value  # type: ignore[no-any-return]
    if callable(value) and not isinstance(value, (type, Initializer)):
        raise TypeError(
            f"{argument} must be an initializer, got the function that makes one; call it: {value.__name__}(...)"
        )
    return as_filling(value, argument)
