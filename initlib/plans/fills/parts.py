"""Parts: several named weights in one stored tensor, side by side or one at each index."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..._arguments import integer
from ..._public import public
from ..parameter import check_name
from .values import Filling, Keep, as_rule

NESTED = 8  # how deep parts may lie in parts
_USUAL = {"axis": 0, "groups": 1, "replaces": None}


@dataclass(frozen=True)
class Parts(Filling):
    """Several weights along an axis of one tensor."""

    fillings: tuple[Any, ...]  # values of a rule; None: the fill that the rules give to the name of the part
    axis: int = 0
    replaces: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", integer(self.axis, "axis"))
        if self.replaces is not None:
            object.__setattr__(self, "replaces", integer(self.replaces, "replaces", least=0))
        for each in self.fillings:
            if each is not None:
                as_rule(each, "the filling of a part")
        if all(isinstance(each, Keep) for each in self.fillings):
            raise ValueError("parts must not all be kept. Use keep for the tensor")
        if _depth(self) > NESTED:
            raise ValueError(f"parts must be nested at most {NESTED} deep, got {_depth(self)}")

    def with_fillings(self, fillings: Sequence[Any]) -> "Parts":
        """Return the same parts with other fills."""
        return replace(self, fillings=tuple(fillings))


@dataclass(frozen=True)
class Split(Parts):
    """Weights side by side along an axis: a mapping given to `parts`."""

    names: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    groups: int = 1

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("parts must name at least one part")
        for name in self.names:
            check_name(name, "a part's name")
        sizes = zip(self.names, self.sizes, strict=True)
        object.__setattr__(
            self, "sizes", tuple(integer(size, f"the share of part {name!r}", least=1) for name, size in sizes)
        )
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"parts must have different names, got {', '.join(self.names)}")
        if len(self.fillings) != len(self.names):
            raise ValueError(
                f"parts must have one filling for each name, got {len(self.fillings)} for {len(self.names)} names"
            )
        object.__setattr__(self, "groups", integer(self.groups, "groups", least=1))
        super().__post_init__()

    def lengths(self, size: int) -> list[int]:
        """Return the length of each part in each group of an axis. Raises ValueError for sizes that do not divide."""
        common = math.gcd(*self.sizes)
        shares = [part // common for part in self.sizes]
        if size % (sum(shares) * self.groups):
            named = ", ".join(f"{name} {part}" for name, part in zip(self.names, self.sizes, strict=True))
            groups = f" in {self.groups} groups" if self.groups > 1 else ""
            total = sum(shares) * self.groups
            raise ValueError(f"the axis of parts {named}{groups} must have a size divisible by {total}, got {size}")
        return [share * (size // self.groups // sum(shares)) for share in shares]

    def __repr__(self) -> str:
        sizes = zip(self.names, self.sizes, self.fillings, strict=True)
        inner = ", ".join(f"{name!r}: {size if each is None else (size, each)!r}" for name, size, each in sizes)
        return f"parts({{{inner}}}{_options(self)})"


@dataclass(frozen=True)
class Stack(Parts):
    """A weight at each index of an axis: a name with `{i}` given to `parts`. It has one fill, or one for each index."""

    template: str = ""

    def __post_init__(self) -> None:
        if "{i}" not in check_name(self.template, "a part's name"):
            raise ValueError(f"a part's name must have {{i}}, the index along the axis, got {self.template!r}")
        if not self.fillings:
            raise ValueError("parts must have at least one filling")
        super().__post_init__()

    def with_fillings(self, fillings: Sequence[Any]) -> Parts:
        """Return the same stack with other fills, with one if all are equal. Without fills, return the stack itself."""
        if not fillings:
            return self
        are_equal = list(fillings).count(fillings[0]) == len(fillings)  # faster than `==` if the fills are one object
        return super().with_fillings(fillings[:1] if are_equal else fillings)

    def __repr__(self) -> str:
        inner = repr(self.fillings[0]) if len(self.fillings) == 1 else f"<{len(self.fillings)} fillings>"
        return f"parts({self.template!r}, {inner}{_options(self)})"


@public("initlib")
def parts(
    names: str | Mapping[str, Any], filling: Any = None, *, axis: int = 0, groups: int = 1, replaces: int | None = None
) -> Split | Stack:
    """Make the fill of a stored tensor that packs several named weights. Each weight is drawn as if stored alone.

    A part has its own name, stream, shape and fans. The axes of a part are the stored axes without the packing.
    So a fused model has the bits of the split model, and a stacked model has the bits of the unrolled model.

    Args:
        names: a mapping from the name of each part to its share of the axis, in the order of the parts. Shares are
            integers, scaled to the size of the axis. A value may be a pair (share, filling). For stacked layers or
            experts, `names` is a string with `{i}`: the name of the weight at index i of the axis.
        filling: the fill of the parts that have no fill in `names`: an initializer, `values`, `parts`, `keep`, or a
            function of the `Parameter` of the part. None applies the rules of the plan to each part.
        axis: the axis along which the parts lie.
        groups: the number of consecutive groups along the axis. Each group holds a piece of every part: in
            grouped-query attention some rows of q, then of k, then of v.
        replaces: the number of components (between dots) at the end of the stored name that the name of a part
            replaces. None is the number of components of the part's name, without `{i}`.

    Returns:
        A value for `rules=`.

    Raises:
        TypeError: `names` is neither a mapping nor a string, or a fill cannot be the value of a rule.
        ValueError: a share, a name or the number of groups is not allowed. `plan` raises PlanError if the parts do not
            fit a tensor.

    Example:
        >>> from initlib import Parameter, he_normal, normal, plan
        >>> fused = Parameter("attn.qkv.weight", (40, 16), axes="OI", kind="kernel")
        >>> qkv = parts({"q.weight": 3, "k.weight": 1, "v.weight": (1, normal(std=0.02))}, he_normal)
        >>> weight = plan([fused], {"*.qkv.weight": qkv}).draw(seed=0)["attn.qkv.weight"]
        >>> query = he_normal((24, 16), axes="OI", seed=0, name="attn.q.weight")
        >>> bool((weight[:24] == query).all())
        True
        >>> scanned = Parameter("layers.kernel", (12, 16, 64), axes="BIO", kind="kernel")
        >>> stack = {"layers.kernel": parts("layers.{i}.kernel", he_normal)}
        >>> weight = plan([scanned], stack).draw(seed=0)["layers.kernel"]
        >>> bool((weight[7] == he_normal((16, 64), seed=0, name="layers.7.kernel")).all())
        True
    """
    if isinstance(names, str):
        if groups != 1:
            raise ValueError(f"groups must be 1 if names is a string with {{i}}, got {groups!r}")
        return Stack((filling,), axis, replaces, names)
    if not isinstance(names, Mapping):
        raise TypeError(f"parts must be a mapping of names to shares, or a name with {{i}}, got {names!r}")
    each = [entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, filling) for entry in names.values()]
    sizes, fillings = zip(*each, strict=True) if each else ((), ())
    return Split(fillings, axis, replaces, tuple(names), sizes, groups)


def _options(given: Parts) -> str:
    options = {name: vars(given).get(name, usual) for name, usual in _USUAL.items()}
    return "".join(f", {name}={value}" for name, value in options.items() if value != _USUAL[name])


def _depth(filling: Any) -> int:
    return 1 + max(map(_depth, filling.fillings)) if isinstance(filling, Parts) else 0
