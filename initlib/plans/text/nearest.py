"""The known names nearest to a wrong name."""

import re
from collections.abc import Iterable
from functools import lru_cache

ALIKE = 0.75
NUMBER = re.compile(r"\{[\d.,]+\}|\d+")  # or, of a folded name, numbers


def nearest(wanted: str, names: Iterable[str], what: str) -> str:
    """Return the known names nearest to a wrong name, as the end of a sentence; empty if no name is near.

    >>> nearest("*.c_prj.weight", ["h.0.c_proj.weight", "h.0.c_proj.bias", "wte.weight"], "names")
    '; nearest names: h.0.c_proj.weight'
    """
    alike = [(max(map(_likeness, _spellings(wanted), _spellings(name))), name) for name in dict.fromkeys(names)]
    alike_names = [name for likeness, name in sorted(alike, key=lambda pair: -pair[0]) if likeness >= ALIKE]
    return f"; nearest {what}: {', '.join(alike_names[:3])}" if alike_names else ""


def _spellings(name: str) -> tuple[str, str]:
    """Return a name with 0 for each number, then also with PyTorch's word for a kernel."""
    plain = NUMBER.sub("0", name)
    return plain, re.sub(r"\bkernel\b", "weight", plain)


@lru_cache(maxsize=4096)  # the same for every layer
def _likeness(first: str, second: str) -> float:
    """Return the likeness of two names, from 0 to 1; for a pattern that starts with `*` only the end counts.

    For a pattern that also ends with `*`, the most alike part of the name counts.
    """
    from difflib import SequenceMatcher

    pattern, name = (second, first) if "*" in second else (first, second)
    pattern = pattern.partition(":")[0]
    text = pattern.strip("*")
    if text and pattern.startswith("*") and pattern.endswith("*"):
        starts = range(max(len(name) - len(text), 0) + 1)
        return max(SequenceMatcher(None, text, name[start : start + len(text)]).ratio() for start in starts)
    if pattern.startswith("*"):
        name = name[-len(text) :]
    elif pattern.endswith("*"):
        name = name[: len(text)]
    return SequenceMatcher(None, text, name).ratio()
