"""Plan: what fills every stored tensor of a model."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..key import as_key
from ..schemes.initializer import Initializer
from .checks import Problem, check
from .entry import Entry
from .errors import PlanError
from .folding import fold as fold_names
from .hints import nearest, useless
from .parameter import Parameter, as_axes
from .patterns import Ordered, Rename, as_rename
from .rules import NoRuleError, Rules

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, repr=False)
class Plan:
    """What fills every stored tensor of a model: immutable, comparable, and with a seed its initial state.

    >>> from initlib import Parameter, he_normal, plan
    >>> mlp = [
    ...     Parameter(f"layers.{i}.{name}", shape, axes=axes, kind=kind, owner="Linear")
    ...     for i in range(3)
    ...     for name, shape, axes, kind in (("weight", (64, 64), "OI", "kernel"), ("bias", (64,), None, "bias"))
    ... ]
    >>> print(plan(mlp, he_normal))
    name                   shape  dtype    axes  fan_in  fan_out  initializer     std   bytes  notes
    layers.{0..2}.weight   64x64  float32  OI        64       64  he_normal    0.1768  16,384
    layers.{0..2}.bias     64     float32                         zeros             0     256
    6 parameters, 12,480 weights, 49,920 bytes

    `entries` has an `Entry` for each tensor, and `plan[name]` is the one of that name. `plan` makes it of parameters
    and rules. Raises PlanError for entries that cannot be drawn.
    """

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(self.entries))
        problems = check(self.entries)
        if problems:
            raise PlanError(_gathered(problems))

    @cached_property
    def _by_name(self) -> dict[str, Entry]:
        return {name: entry for entry in self.entries for name in entry.parameter.names}

    def __getitem__(self, name: str) -> Entry:
        """The entry of a tensor, by any of its names."""
        try:
            return self._by_name[name]
        except KeyError:
            hint = nearest(str(name), self._by_name, "names")
            raise ValueError(f"name must be that of a parameter of the plan, got {name!r}{hint}") from None

    def draw(self, seed: Any) -> dict[str, NDArray[Any]]:
        """Draw every tensor that is not kept: names and arrays.

        >>> from initlib import Parameter, plan, zeros
        >>> plan([Parameter("a", (2,)), Parameter("b", ())], zeros).draw(seed=0)
        {'a': array([0., 0.], dtype=float32), 'b': array(0., dtype=float32)}

        `seed` is an int, a `Key`, a `numpy.random.Generator`, or None for fresh entropy. Each weight is
        `initializer(shape, dtype, axes=axes, seed=seed, name=stream)`. Raises ValueError for a tensor that is kept in
        part.
        """
        key = as_key(seed)
        return {entry.parameter.name: entry.draw(key) for entry in self.entries if not entry.kept}

    def draw_one(self, name: str, seed: Any, index: Any = None, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Draw one tensor, or a box of it, alone.

        >>> from initlib import Parameter, normal, plan
        >>> table = plan([Parameter("table", (1000, 8), kind="table")], normal(std=0.02))
        >>> bool((table.draw_one("table", 0, index=slice(10, 20)) == table.draw(0)["table"][10:20]).all())
        True

        `index` is made of ints and slices, as for an array; `out` is filled and returned, and what is kept stays as it
        is there. Raises ValueError for an unknown name, an `out` that does not fit, and what is kept without `out`.
        """
        return self[name].draw(as_key(seed), index, out)

    def to_dicts(self) -> list[dict[str, Any]]:
        """A row for each tensor: name, shape, dtype, axes, fan_in, fan_out, initializer, std, bytes, notes and more.

        >>> from initlib import Parameter, he_normal, plan
        >>> (row,) = plan([Parameter("w", (8, 2), axes="OI", kind="kernel")], he_normal).to_dicts()
        >>> row["fan_in"], row["initializer"], row["std"]
        (2, 'he_normal', 1.0)

        The rows under `parts` are those of the weights in a tensor that is several.
        """
        from .table import rows

        return rows(self.entries)

    def table(self, *, fold: bool = True) -> str:
        """The plan as a table for people, which `print` prints; `fold=False` gives each tensor a line of its own."""
        from .table import table

        return table(self.entries, fold)

    def to_json(self) -> str:
        """The plan as JSON text. Raises ValueError for an initializer that is not initlib's own."""
        from .encoding import encode

        return encode(self.entries)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The plan of a JSON text, of which nothing is run.

        >>> from initlib import Parameter, he_normal, plan
        >>> kernel = plan([Parameter("w", (8, 2), axes="OI", kind="kernel")], he_normal)
        >>> Plan.from_json(kernel.to_json()) == kernel
        True

        Raises ValueError for a text that this version of initlib does not write.
        """
        from .encoding import decode

        return cls(tuple(decode(text)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan to a file, as JSON text. Raises as `to_json` does, before anything is written."""
        text = self.to_json()
        Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Plan":
        """Read the plan that `save` wrote. Raises as `from_json` does."""
        from .encoding import read

        return cls.from_json(read(path))

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        weights = sum(entry.parameter.size for entry in self.entries)
        return f"Plan({len(self.entries):,} parameters, {weights:,} weights)"


def plan(
    parameters: Iterable[Parameter],
    rules: Any = None,
    *,
    default: Any = None,
    rename: Any = None,
    axes: Mapping[Any, str] | None = None,
) -> Plan:
    """Make the plan of a model: what the rules say of each of its parameters.

    >>> from initlib import Parameter, he_normal, keep, normal
    >>> model = [
    ...     Parameter("embed.weight", (100, 8), kind="table", owner="Embedding", tied=("head",)),
    ...     *(Parameter(f"h.{i}.up.weight", (8, 8), axes="OI", kind="kernel", owner="Linear") for i in range(4)),
    ...     *(Parameter(f"h.{i}.norm.weight", (8,), kind="scale", owner="LayerNorm") for i in range(4)),
    ...     Parameter("mask", (8, 8), kind="buffer"),
    ... ]
    >>> rules = {
    ...     "h.0.up.weight": keep,
    ...     "*.up.weight": lambda parameter: normal(std=0.1) * (1 + parameter.indices[0]) ** -1,
    ... }
    >>> print(plan(model, rules, default=he_normal))
    name                  shape  dtype    axes  fan_in  fan_out  initializer                     std  bytes  notes
    embed.weight          100x8  float32                         normal(std=0.02)               0.02  3,200  tied: head
    h.0.up.weight         8x8    float32  OI                     keep                                   256
    h.1.up.weight         8x8    float32  OI         8        8  normal(std=0.1) * 0.5          0.05    256
    h.2.up.weight         8x8    float32  OI         8        8  normal(std=0.1) * 0.333333  0.03333    256
    h.3.up.weight         8x8    float32  OI         8        8  normal(std=0.1) * 0.25        0.025    256
    h.{0..3}.norm.weight  8      float32                         ones                              0     32
    mask                  8x8    float32                         keep                                   256
    10 parameters, 1,152 weights, 4,608 bytes

    `rules` is a mapping (or pairs) from patterns to what fills the parameters that match; the first pattern that
    matches counts. A pattern is a glob on the whole dotted name, whose `*` crosses dots, then optionally `:kind` or
    `:Owner` (`*:LayerNorm`); or a compiled regular expression of the whole name. What fills a parameter is an
    initializer, `keep`, `values(...)`, `parts(...)`, or a function of the `Parameter` that returns one of these.

    Where no rule matches, a parameter has what its module would have: biases and other parameters of fewer than two
    axes the constant that they were built with, else biases 0 and scales 1; buffers are kept. What is left has
    `default`; one that goes by fans or as a matrix (he_normal, orthogonal()) is for kernels, and leaves tables
    normal(std=0.02) and recurrent kernels orthogonal(), a matrix for each gate. Weights of two axes or more that are
    all zeros as built have the default too, with a note. `rules` may be an initializer, which is then the default.

    `rename` gives parameters the names of their streams: a mapping by pattern, whose `*` are filled in order, or a
    function of the name. Patterns and functions see the new names. `axes` is a mapping from patterns to what the axes
    mean, where the parameters do not say it. Raises PlanError, which lists all that is wrong: parameters without a
    rule, patterns of no use, axes that nobody knows, parts that do not fit, streams that would be shared.
    """
    if isinstance(rules, Initializer):
        if default is not None:
            raise TypeError(f"rules is an initializer, {rules!r}, which is a default; got default={default!r} too")
        rules, default = None, rules
    known, told, new_name = Rules(rules, default), Ordered(axes, "axes", as_axes), as_rename(rename)
    problems: list[Problem] = []
    entries: list[Entry] = []
    seen: list[Parameter] = []  # under their new names, as the patterns see them
    for parameter in parameters:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"parameters must be made of initlib.Parameter, got {parameter!r}")
        try:
            renamed = [_renamed(parameter, new_name(name)) for name in parameter.names]
            seen += renamed
            entries.append(_entry(parameter, renamed, known, told))
        except NoRuleError as error:
            hint = nearest(renamed[0].name, [pattern.text for pattern in known.rules.patterns], "patterns")
            problems.append((parameter.name, f"{error}{hint}"))
        except (TypeError, ValueError) as error:
            problems.append((parameter.name, str(error)))
    for said, what in ((known.rules, "rule"), (told, "axes")):
        for pattern, before in said.unused():
            problems.append(("", f"{what} {pattern.text!r} {useless(pattern, before, seen)}"))
    if isinstance(new_name, Rename):
        problems += [("", f"rename {pattern!r} matches nothing") for pattern in new_name.unused()]
    if problems:
        raise PlanError(_gathered(problems + check(entries)))
    return Plan(tuple(entries))


def _renamed(parameter: Parameter, name: str) -> Parameter:
    return parameter if name == parameter.name else replace(parameter, name=name)


def _entry(parameter: Parameter, renamed: list[Parameter], rules: Rules, told: Ordered) -> Entry:
    """The entry of a parameter; `renamed` is the parameter under the new name of each of its names."""
    axes = told.first(renamed[0])
    if axes is not None:
        renamed = [replace(each, axes=axes) for each in renamed]
    first, *ties = renamed
    fill, notes = rules.fill(first)
    for tie in ties:
        said = rules.rules.first(tie)
        if said is not None and rules.made(said, tie) != fill:
            raise ValueError(f"it gets {fill!r}, but {tie.name}, which it is tied to, {said!r}: give both the same")
    if parameter.tied:
        notes = (*notes, f"tied: {', '.join(parameter.tied)}")
    if parameter.padding is not None and isinstance(fill, Initializer):
        notes = (*notes, f"row {parameter.padding} zero")
    return Entry(replace(first, name=parameter.name, default=None, needs=None), first.name, fill, notes)


def _gathered(problems: Iterable[Problem]) -> list[str]:
    """The problems as lines: the names that have the same one are folded."""
    names: dict[str, list[str]] = {}
    for name, text in problems:
        names.setdefault(text, []).append(name)
    return [
        f"{folded}: {text}" if folded else text
        for text, alike in names.items()
        for folded, _ in fold_names((name, None) for name in alike)
    ]
