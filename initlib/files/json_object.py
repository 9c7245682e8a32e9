"""JSON objects from files that other people wrote."""

import json
from collections import Counter
from typing import Any, NoReturn

from .printable import printable


def parse_object(text: str) -> dict[str, Any]:
    """Return the JSON object that the text holds.

    >>> parse_object('{"a": {"b": [1, 2]}}')
    {'a': {'b': [1, 2]}}

    Raises ValueError for any other text, and for an object that has the same name twice.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("the lists and objects are nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"the text must be a JSON object, got a {type(value).__name__}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"an object has the name '{printable(name)}' twice")
    return members


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
