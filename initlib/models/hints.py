"""Hints: what is near to what somebody wrote, and why a pattern is of no use."""

from collections.abc import Iterable, Sequence

from .folding import fold
from .parameter import KINDS, Parameter
from .patterns import Pattern

__all__ = ["nearest", "useless"]


def nearest(wanted: str, known: Iterable[str], what: str) -> str:
    """The known names nearest to one, as the end of a sentence; empty where none is near.

    >>> nearest("wieght", ["weight", "bias"], "names")
    '; nearest names: weight'
    """
    from difflib import get_close_matches

    found = get_close_matches(wanted, list(dict.fromkeys(known)), n=3, cutoff=0.5)
    return f"; nearest {what}: {', '.join(found)}" if found else ""


def useless(pattern: Pattern, before: Sequence[Pattern], parameters: Sequence[Parameter]) -> str:
    """Why a pattern comes first for none of the parameters."""
    owners = sorted({parameter.owner for parameter in parameters if parameter.owner})
    if pattern.of is not None and pattern.of not in (*KINDS, *owners):
        known = f"the kinds are {', '.join(KINDS)}; the owners here {', '.join(owners) or 'none'}"
        return f"has no kind or owner {pattern.of!r}: {known}"
    meant = [parameter for parameter in parameters if pattern.matches(parameter)]
    if meant:
        first = [other.text for other in before if any(map(other.matches, meant))]
        return f"is never used: what it matches, {' or '.join(map(repr, first))} before it does"
    named = [parameter for parameter in parameters if pattern.name.fullmatch(parameter.name)]
    if named:
        kinds = sorted({of for parameter in named for of in (parameter.kind, parameter.owner) if of})
        return f"matches nothing: what has such a name is {', '.join(kinds)}"
    names = [name for name, _ in fold((parameter.name, None) for parameter in parameters)]
    return f"matches nothing{nearest(pattern.text, names, 'names')}"
