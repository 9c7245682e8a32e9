"""Planning: the plan of a model's parameters by rules, or all the errors that prevent the plan."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from .._collector import collector_paused
from .._public import public
from .._user_warning import warn
from ..axes import parse
from ..schemes.initializer import Initializer
from .checks import check
from .entry import Entry
from .fills.opened_sources import OpenedSources
from .fills.sums import Addend
from .fills.values import Fill, Filling, as_rule
from .parameter import Parameter, as_axes, planned, renamed
from .plan import Plan
from .rules.hints import explain_unused, without_kernels
from .rules.patterns import Ordered, RecipeRules
from .rules.renaming import Renamer, as_rename
from .rules.rule_resolver import RuleResolver
from .text.describe import described
from .text.errors import PlanError, Problem, RuleNeededError
from .types import Axes, Rename, Rule, Rules, Unmatched

FOR_A_MODEL = "For a model, call initlib.adapters.torch.plan(model, ...), or plan of another framework's adapter"


@public("initlib")
def plan(
    parameters: Iterable[Parameter],
    rules: Rules | None = None,
    *,
    default: Rule | None = None,
    rename: Rename | None = None,
    axes: Axes | None = None,
    unmatched: Unmatched = "default",
) -> Plan:
    """Make the plan of a model: one fill for each parameter.

    A parameter that no rule matches gets its constructor value or `default`. A constant that the constructor set is
    kept. Biases that the constructor draws become 0. Some constructor values cannot be reproduced: differing values of
    a frozen parameter, and a vector or matrix that the constructor computes. These values are errors, and each error
    proposes a rule. Notes in the plan list every choice that is not `default`.

    For a `Parameter` that you make, the field `default` is the fill if no rule matches. If the field is None, biases
    are 0, scales are 1, and buffers are kept. A `default` that needs axes (he_normal, orthogonal()) fills only kernels.
    Then normal(std=0.02) fills tables, and orthogonal() fills each gate of a recurrent kernel.

    Args:
        parameters: a `Parameter` for each stored tensor of the model.
        rules: a mapping, or pairs, from patterns to fills. The first pattern that matches decides. A pattern is a glob
            on the full dotted name, in which `*` also matches dots. A pattern may end with `:kind` or `:Owner`, as in
            `*:LayerNorm`. A pattern may also be a compiled regular expression of the full name. A value is an
            initializer, `keep`, `values(...)`, `parts(...)`, `loaded(...)`, or a function of the `Parameter` that
            returns one of these. `rules` may also be an initializer, which is then the default. A function may make the
            rules from the tuple of all parameters. A list may hold mappings and such functions. The first rule that
            matches decides.
        default: the fill of the parameters that no rule matches, with the exceptions above.
        rename: new names of the parameters, which select the streams of random numbers. A mapping from patterns to new
            names, or a function of the name. Each `*` of a new name becomes the text that a `*` of the pattern matches.
            Patterns and functions of `rules` receive the new names. `same_as` shares the stream of another parameter.
        axes: a mapping from patterns to axes strings. A parameter of the kind "other" becomes a kernel if its axes
            contain inputs and outputs. Such axes do not apply to parameters of fewer than two axes.
        unmatched: "default", or "keep" to keep every parameter that no rule matches, for fine-tuning.

    Returns:
        The plan.

    Raises:
        PlanError: the plan has problems; the error lists all of them. Examples are parameters without a rule, patterns
            that match nothing, unknown axes, parts that do not fit, and two parameters with the same stream.
        TypeError: an argument is of the wrong type.
        ValueError: `unmatched` or a pattern is not allowed.

    Warns:
        UserWarning: a parameter is all zeros, which the constructor may have set, or which may be unfilled memory.
        UserWarning: a rule is never used, because wider patterns of an earlier mapping in a list match first.

    Example:
        >>> from initlib import Parameter, he_normal, keep, normal
        >>> model = [
        ...     Parameter("embed.weight", (100, 8), kind="table", owner="Embedding"),
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
        embed.weight          100x8  float32                         normal(std=0.02)               0.02  3,200
        h.0.up.weight         8x8    float32  OI                     keep                                   256
        h.1.up.weight         8x8    float32  OI         8        8  normal(std=0.1) * 0.5          0.05    256
        h.2.up.weight         8x8    float32  OI         8        8  normal(std=0.1) * 0.333333  0.03333    256
        h.3.up.weight         8x8    float32  OI         8        8  normal(std=0.1) * 0.25        0.025    256
        h.{0..3}.norm.weight  8      float32                         ones                              0    128
        mask                  8x8    float32                         keep                                   256
        10 parameters, 1,152 weights, 4,608 bytes
    """
    if isinstance(rules, Initializer):
        if default is not None:
            raise TypeError(
                f"default must be None if rules is an initializer, got {described(default)} and {described(rules)}. "
                "Pass one of the two"
            )
        rules, default = None, rules
    if isinstance(rules, Plan):
        raise TypeError(
            f"rules must be a mapping from patterns to fills, an initializer or a recipe, got {rules!r}. For an "
            "existing plan, call initialize(model, plan, seed) of an adapter"
        )
    if not isinstance(parameters, Iterable) or isinstance(parameters, Plan):
        raise TypeError(
            f"parameters must be an iterable of initlib.Parameter, got {type(parameters).__name__}. {FOR_A_MODEL}"
        )
    if unmatched not in ("default", "keep"):
        raise ValueError(f'unmatched must be "default" or "keep", got {unmatched!r}')
    if unmatched == "keep" and default is not None:
        raise TypeError(
            f"default must be None with unmatched='keep', got {described(default)}. Pass the default as the rule "
            "{'*': ...}"
        )
    stated, new_name = Ordered(axes, "axes", as_axes), as_rename(rename)
    problems: list[Problem] = []
    given = list(parameters)
    for wrong in (each for each in given if not isinstance(each, Parameter)):
        raise TypeError(f"parameters must be made of initlib.Parameter, got {type(wrong).__name__}. {FOR_A_MODEL}")
    views = list(given)  # with new names and axes, as patterns and functions receive the parameters
    for number, parameter in enumerate(given if rename is not None or axes is not None else ()):
        try:
            if rename is not None:
                views[number] = _renamed(parameter, [new_name(name) for name in parameter.names])
            if axes is not None:
                views[number] = _with_axes(views[number], stated.first(views[number]))
        except (TypeError, ValueError) as error:
            problems.append(Problem(parameter.name, str(error)))
    ordered = Ordered(_called(rules, tuple(views)), "rules", as_rule)
    resolver = RuleResolver(ordered, default, unmatched, views)
    sources = OpenedSources()
    unsound = {problem.name for problem in problems}
    entries: list[Entry] = []
    with collector_paused():
        for parameter, view in zip(given, views, strict=True):
            try:
                fill, notes = _tied_fill(view, resolver) if view.tied else resolver.fill(view)
                entry = sources.complete(_entry(parameter, view, fill, notes))
                if isinstance(new_name, Renamer) and new_name.shares(parameter.name):
                    entry = replace(entry, shared=True)
            except RuleNeededError as error:
                problems.append(Problem(view.name, error.reason, error.advice))
            except (TypeError, ValueError) as error:
                if parameter.name not in unsound:
                    problems.append(Problem(parameter.name, str(error)))
            else:
                if parameter.name not in unsound:
                    entries.append(entry)
    seen = [each for view in views for each in (_each(view) if view.tied else (view,))]
    shadowed = []
    for options, what in ((ordered, "rule"), (stated, "axes")):
        for unused in options.unused(seen):
            text = explain_unused(what, unused, seen)
            if unused.is_shadowed:
                shadowed.append(text)
            else:
                problems.append(Problem("", text))
    problems += _miscounted(ordered, views)
    if isinstance(new_name, Renamer):
        problems += [Problem("", f"rename {pattern!r} matches nothing") for pattern in new_name.unused()]
    problems += _shared_with_none(entries) + check(entries)
    if problems:
        raise PlanError.of(problems, [view.name for view in seen])
    for text in shadowed:
        warn(text)
    _warn_of_zeros(resolver.may_be_fresh)
    return Plan._of_checked(entries)


def _called(rules: Any, parameters: tuple[Parameter, ...]) -> Any:
    """Return the rules, in which the results of functions of all parameters replace the functions."""
    if callable(rules):
        as_rule(rules, "rules")  # raises for an initializer of an adapter or a framework, and for a model
        name = getattr(rules, "__name__", "")
        is_recipe = str(getattr(rules, "__module__", "")).startswith("initlib.recipes")
        try:
            result = rules(parameters)
        except TypeError as error:
            if not is_recipe:
                raise
            raise TypeError(
                f"rules must be the result of a recipe, got the function. Call recipes.{name}(...)"
            ) from error
        if result is None:
            raise TypeError(
                "the result of the function of all parameters must be a mapping from patterns to fills, got None. "
                "Return the mapping, or {} for no rules"
            )
        return RecipeRules(result) if is_recipe and isinstance(result, dict) else result
    if isinstance(rules, Iterable) and not isinstance(rules, (Mapping, str)):
        return [
            _called(each, parameters) if callable(each) and not isinstance(each, Initializer) else each
            for each in rules
        ]
    return rules


def _warn_of_zeros(names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        warn(
            f"{names[0]}{more}: all weights are zeros, set by a constructor or left in fresh memory. The default fills "
            "these parameters, which have a note in the plan. Add a rule to keep the zeros"
        )


def _miscounted(rules: Ordered, parameters: list[Parameter]) -> list[Problem]:
    """Return a problem for each recipe whose outputs of residual branches are vectors, or whose layers are too few.

    Warn of too many layers.
    """
    problems = []
    for pattern, *_ in rules.rules:
        vectors = without_kernels(pattern, parameters)
        if vectors is not None:
            problems.append(Problem("", vectors))
            continue
        count = pattern.purpose.layer_count
        if count is None:
            continue
        names = [parameter.name for parameter in parameters if pattern.matches(parameter)]
        error, warning = count.too_low(names), count.too_high(names)
        if error is not None:
            problems.append(Problem("", error))
        elif warning is not None:
            warn(warning)
    return problems


def _renamed(parameter: Parameter, names: list[str]) -> Parameter:
    if names == list(parameter.names):
        return parameter
    return replace(parameter, name=names[0], tied=tuple(names[1:]))


def _with_axes(parameter: Parameter, axes: str | None) -> Parameter:
    """Return the parameter with these axes. A parameter of kind "other" becomes a kernel if it has inputs and outputs.

    Axes with inputs and outputs do not apply to vectors, so that `{"*": "OI"}` is for all matrices.
    """
    if axes is None:
        return parameter
    has_both = {"I", "O"} <= {token.letter for token in parse(axes)}
    if has_both and len(parameter.shape) < 2:
        return parameter
    is_kernel = parameter.kind == "other" and has_both
    try:
        return replace(parameter, axes=axes, kind="kernel" if is_kernel else parameter.kind)
    except ValueError as error:
        hint = f". Narrow the pattern: {parameter.name} is a vector" if len(parameter.shape) == 1 else ""
        raise ValueError(f"{error}{hint}") from None


def _shared_with_none(entries: list[Entry]) -> list[Problem]:
    sharing = [entry for entry in entries if entry.shared]
    streams = {entry.stream for entry in entries if not entry.shared} if sharing else set()
    return [
        Problem(entry.parameter.name, f"same_as must name another parameter of the plan, got {entry.stream!r}")
        for entry in sharing
        if entry.stream not in streams
    ]


def _each(view: Parameter) -> list[Parameter]:
    """Return the parameter under each of its names."""
    orders = ((name, *(each for each in view.names if each != name)) for name in view.tied)
    return [view, *(renamed(view, names, view.constructor) for names in orders)]


def _tied_fill(view: Parameter, resolver: RuleResolver) -> tuple[Fill, tuple[str, ...]]:
    """Return the fill of a tied parameter, and notes. Raises ValueError if rules give its names different fills."""
    own, *others = ((tie, resolver.rules.first(tie)) for tie in _each(view))
    others = [(tie, rule) for tie, rule in others if rule is not None]
    try:
        fill, notes = resolver.fill(view)
    except RuleNeededError:
        if others and own[1] is None:
            raise _different_fills("no rule", view, *others[0], resolver) from None
        raise
    for tie, rule in others:
        if isinstance(rule, Addend) and rule is own[1]:
            continue  # a `*` in the name of a tensor may differ
        if resolver.made(rule, tie)[0] != fill:
            raise _different_fills(described(fill), view, tie, rule, resolver)
    return fill, notes


def _different_fills(fill: str, view: Parameter, tie: Parameter, rule: Rule, resolver: RuleResolver) -> ValueError:
    """Return the error of a tied parameter with different fills. `tie` is the parameter under another name."""
    other = described(resolver.made(rule, tie)[0])
    return ValueError(
        f"tied names must have the same fill, got {fill} for {view.name!r} and {other} for {tie.name!r}. Pass the "
        f'same fill for both names: {{"{view.name}": {other}, "{tie.name}": {other}}}'
    )


def _entry(parameter: Parameter, view: Parameter, fill: Fill, notes: tuple[str, ...]) -> Entry:
    if parameter.tied:
        notes = (*notes, f"tied: {', '.join(parameter.tied)}")
    if parameter.padding is not None and not isinstance(fill, Filling):
        notes = (*notes, f"row {parameter.padding} zero")
    return Entry(planned(parameter, view), view.name, fill, notes)
