"""Hints: what is near to what somebody wrote."""

from collections.abc import Iterable

from .folding import fold
from .parameter import KINDS, Parameter
from .patterns import Pattern

__all__ = ["nearest", "unused"]


def nearest(wanted: str, known: Iterable[str], what: str) -> str:
    """The known names nearest to one, as the end of a sentence; nothing where none is near."""
    from difflib import get_close_matches

    found = get_close_matches(wanted, list(dict.fromkeys(known)), n=3, cutoff=0.4)
    return f"; nearest {what}: {', '.join(found)}" if found else ""


def unused(pattern: Pattern, parameters: list[Parameter], before: list[Pattern], what: str) -> str:
    """Why a pattern is the first to match no parameter; `before` are the patterns that come first."""
    kinds = {parameter.kind for parameter in parameters}
    owners = sorted({parameter.owner for parameter in parameters if parameter.owner})
    if pattern.kind is not None and pattern.kind not in (*KINDS, *owners):
        known = f"kinds are {', '.join(KINDS)}; owners here are {', '.join(owners) or 'none'}"
        return f"{what} {pattern}: there is no kind or owner {pattern.kind!r}; {known}"
    theirs = [parameter for parameter in parameters if pattern.matches(parameter)]
    if theirs:
        first = [other.text for other in before if any(map(other.matches, theirs))]
        return f"{what} {pattern} is never used: {', '.join(first)} stand before it and match all that it does"
    named = [parameter for parameter in parameters if pattern.name.fullmatch(parameter.name)]
    if named:
        are = sorted({kind for parameter in named for kind in (parameter.kind, parameter.owner) if kind})
        return f"{what} {pattern} matches nothing: what has such a name is {', '.join(are)}"
    folded = [name for name, _ in fold((parameter.name, None) for parameter in parameters)]
    return f"{what} {pattern} matches nothing{nearest(pattern.text, folded, 'names')}"
