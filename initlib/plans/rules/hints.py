"""Hints: the reason that a pattern is unused, and what to write in its place."""

import re
from collections.abc import Sequence

from ..parameter import KINDS, Parameter
from ..text.errors import PATTERN
from ..text.folding import fold, listed
from ..text.nearest import NUMBER, nearest
from .patterns import ParsedPattern, Unused, expression_code, plain_expression
from .usual_names import is_table_name

LISTED = 12  # names
AXES = 'No parameter is known to be a kernel; axes={"*.weight": "OI"} makes the matching parameters kernels'

# The usual axes of kernels, by number of axes: in PyTorch, then in Keras and JAX.
AXES_OF_KERNELS = {2: ("OI", "IO"), 3: ("BOI", "BIO"), 4: ("OIHW", "HWIO"), 5: ("OIDHW", "DHWIO")}


def explain_unused(what: str, unused: Unused, parameters: Sequence[Parameter]) -> str:
    """Return the error of a pattern of rules or axes (`what`) that is the first match of no parameter."""
    pattern = unused.pattern
    reason = _why_unused(unused, parameters)
    is_missing = pattern.purpose.missing and not any(map(pattern.matches, parameters))
    if not is_missing:
        return f"{what} {pattern.shown} {reason}"
    kernels = _kernels_of_layers(parameters) if pattern.purpose.for_kernels else ""
    return f"{pattern.purpose.missing}: {what} {_plain(pattern)!r} {reason}. {pattern.purpose.advice}{kernels}"


def without_kernels(pattern: ParsedPattern, parameters: Sequence[Parameter]) -> str | None:
    """Return the error of a recipe's pattern that must match a kernel, and matches only vectors; else None."""
    argument = pattern.purpose.for_kernels
    matched = [parameter for parameter in parameters if argument and pattern.matches(parameter)]
    if not matched or not all(parameter.is_vector for parameter in matched):
        return None
    return (
        f"{argument} must match kernels, got {_plain(pattern)!r}, which matches only the vectors "
        f"{listed((each.name for each in matched), LISTED)}. {pattern.purpose.advice}{_kernels_of_layers(parameters)}"
    )


def _kernels_of_layers(parameters: Sequence[Parameter]) -> str:
    kinds = ("kernel", "recurrent", "other")
    kernels = [each for each in parameters if each.kind in kinds and not each.is_vector]
    names = [kernel.name for kernel in kernels if NUMBER.search(kernel.name)]
    return f". The kernels in layers are {listed(names, LISTED)}" if names else ""


def _plain(pattern: ParsedPattern) -> str:
    """Return the text of a recipe's pattern for messages, without escapes."""
    if not (isinstance(pattern.name, re.Pattern) and pattern.text.startswith("re.compile")):
        return pattern.text
    return plain_expression(pattern.name.pattern)


def advice_for_vector(pattern: ParsedPattern, name: str, vector: Parameter, kernel: Parameter | None) -> str:
    """Return the advice for a pattern whose initializer (`name`) needs fans, and that matches a vector.

    `kernel` is the first kernel that the pattern matches. Without one, the pattern is for vectors.
    """
    is_glob = not pattern.text.startswith("re.compile")
    if kernel is None:
        own = f'"{pattern.text}"' if is_glob else pattern.text
        instead = {"bias": "zeros", "scale": "ones"}.get(vector.kind)
        return f"Write {{{own}: {instead}}}" if instead else "Pass an initializer without fans: normal(std=0.02)"
    others = {"bias": "zeros for biases", "scale": "ones for scales"}.get(vector.kind, "other rules for vectors")
    text = pattern.text if is_glob else "*"
    of_kernels = f"{text}:kernel" if pattern.of is None else f"*.{kernel.name.rpartition('.')[2]}:{pattern.of}"
    return f'Write {{"{of_kernels}": {name}}} for kernels, and {others}'


def advice_for_axes(parameter: Parameter) -> str:
    """Return the advice for a parameter of unknown axes whose initializer needs axes."""
    first, last = AXES_OF_KERNELS.get(len(parameter.shape), ("OI...", "...IO"))
    argument = (
        f'axes={{{PATTERN}: "{first}"}} if outputs are stored first, as in PyTorch, or "{last}" if outputs are '
        "stored last, as in Keras and JAX: I is an input axis, O an output axis, B a stack"
    )
    if not _may_be_table(parameter):
        return f"Pass {argument}"
    return f"For a table or tokens, make {{{PATTERN}: normal(std=0.02)}} the first rule. For a kernel, pass {argument}"


def _may_be_table(parameter: Parameter) -> bool:
    """Return whether a parameter of unknown kind has the shape or the name of a table, such as position embeddings."""
    if parameter.kind != "other":
        return False
    return (len(parameter.shape) == 3 and parameter.shape[0] == 1) or is_table_name(parameter.name)


def _why_unused(unused: Unused, parameters: Sequence[Parameter]) -> str:
    pattern = unused.pattern
    owners = sorted({parameter.owner for parameter in parameters if parameter.owner})
    if pattern.of is not None and pattern.of not in (*KINDS, *owners):
        allowed = f"the kinds are {', '.join(KINDS)}; the owners in this model are {', '.join(owners) or 'none'}"
        return f"names the unknown kind or owner {pattern.of!r}: {allowed}"
    kinds = {parameter.kind for parameter in parameters}
    matched = [parameter for parameter in parameters if pattern.matches(parameter)]
    if matched:
        first = [other.shown for other in unused.before if any(map(other.matches, matched))]
        advice = "Put narrow patterns before wide patterns"
        if unused.is_shadowed:
            advice = "Put the mapping of this pattern first in the list"
        return f"is never used: {' or '.join(first)} matches the same parameters first. {advice}"
    named = [parameter for parameter in parameters if pattern.name.fullmatch(parameter.name)]
    if named:
        labels = sorted({of for parameter in named for of in (parameter.kind, parameter.owner) if of})
        advice = f". {AXES}" if pattern.of == "kernel" and "kernel" not in kinds else ""
        return f"matches nothing: parameters of these names have the kinds and owners {', '.join(labels)}{advice}"
    names = [name for name, _ in fold((parameter.name, None) for parameter in parameters)]
    if any(parameter.name.startswith(f"{pattern.text}.") for parameter in parameters):
        return f"matches nothing, but names a module. Write {pattern.text + '.*'!r} for the module's parameters"
    if isinstance(pattern.name, re.Pattern) and any(map(pattern.name.search, names)):
        is_code = pattern.text == pattern.shown  # not several patterns of a recipe, joined
        wider = f". Write {expression_code(f'.*{pattern.name.pattern}.*')}" if is_code else ""
        return f"matches nothing: an expression must match the full name{wider}"
    return f"matches nothing{nearest(pattern.text, names, 'names')}"
