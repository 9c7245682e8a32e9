"""Planning: the plan of a model's parameters by rules, or everything that keeps it from being one."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from .._public import public
from ..schemes.initializer import Initializer
from .checks import check
from .entry import Entry
from .parameter import Parameter, as_axes
from .plan import Plan
from .rules.hints import explain_unused
from .rules.patterns import Ordered, Rename, as_rename
from .rules.rules import Rules
from .rules.values import Fill
from .text.errors import PlanError, Problem


@public("initlib")
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
    all zeros as built have the default too, with a note. `rules` may be an initializer, which is then the default, or
    a function that makes rules of the tuple of all parameters.

    `rename` gives parameters the names of their streams: a mapping by pattern, whose `*` are filled in order, or a
    function of the name. Patterns and functions see the new names. `axes` is a mapping from patterns to what the axes
    mean, where the parameters do not say it. Raises PlanError, which lists all that is wrong: parameters without a
    rule, patterns of no use, axes that nobody knows, parts that do not fit, streams that would be shared.
    """
    if isinstance(rules, Initializer):
        if default is not None:
            raise TypeError(f"rules is an initializer, {rules!r}, which is a default; got default={default!r} too")
        rules, default = None, rules
    told, new_name = Ordered(axes, "axes", as_axes), as_rename(rename)
    problems: list[Problem] = []
    views: list[tuple[Parameter, Parameter]] = []  # each parameter, and what patterns and functions see of it
    for parameter in parameters:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"parameters must be made of initlib.Parameter, got {parameter!r}")
        view = parameter
        try:
            view = _renamed(view, [new_name(name) for name in parameter.names])
            view = _with_axes(view, told.first(view))
        except (TypeError, ValueError) as error:
            problems.append((parameter.name, str(error)))
        views.append((parameter, view))
    known = Rules(rules(tuple(view for _, view in views)) if callable(rules) else rules, default)
    unsound = {name for name, _ in problems}
    entries: list[Entry] = []
    for parameter, view in views:
        try:
            entry = _entry(parameter, view, *_said(view, known))
        except (TypeError, ValueError) as error:
            if parameter.name not in unsound:
                problems.append((parameter.name, str(error)))
        else:
            entries += [entry] * (parameter.name not in unsound)
    seen = [each for _, view in views for each in _each(view)]
    for said, what in ((known.rules, "rule"), (told, "axes")):
        for pattern, before in said.unused():
            problems.append(("", f"{what} {pattern.text!r} {explain_unused(pattern, before, seen)}"))
    if isinstance(new_name, Rename):
        problems += [("", f"rename {pattern!r} matches nothing") for pattern in new_name.unused()]
    if problems:
        raise PlanError.of(problems + check(entries))
    return Plan(tuple(entries))


def _renamed(parameter: Parameter, names: list[str]) -> Parameter:
    if names == list(parameter.names):
        return parameter
    return replace(parameter, name=names[0], tied=tuple(names[1:]))


def _with_axes(parameter: Parameter, axes: str | None) -> Parameter:
    return parameter if axes is None else replace(parameter, axes=axes)


def _each(view: Parameter) -> list[Parameter]:
    """The parameter under each of its names."""
    return [view, *(replace(view, name=name) for name in view.tied)]


def _said(view: Parameter, rules: Rules) -> tuple[Fill, tuple[str, ...]]:
    """What fills the parameter, and notes; what a rule says of another of its names must be the same."""
    fill, notes = rules.fill(view)
    for tie in _each(view)[1:]:
        said = rules.rules.first(tie)
        if said is not None and rules.made(said, tie) != fill:
            raise ValueError(f"it gets {fill!r}, but {tie.name}, which it is tied to, {said!r}: give both the same")
    return fill, notes


def _entry(parameter: Parameter, view: Parameter, fill: Fill, notes: tuple[str, ...]) -> Entry:
    if parameter.tied:
        notes = (*notes, f"tied: {', '.join(parameter.tied)}")
    if parameter.padding is not None and isinstance(fill, Initializer):
        notes = (*notes, f"row {parameter.padding} zero")
    return Entry(replace(parameter, axes=view.axes, default=None, needs=None), view.name, fill, notes)
