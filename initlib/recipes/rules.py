"""Rules: what a recipe returns, and the names that it means."""

import re
from typing import Any

from ..plans.rules.values import Rule

Rules = dict[Any, Rule]  # by pattern, in order


def named(*endings: str, attribute: str = "weight") -> re.Pattern[str]:
    """The attribute of modules whose names end so, at the top of the model or anywhere in it.

    >>> bool(named("wo", "lm_head").fullmatch("layers.3.wo.weight")), bool(named("wo").fullmatch("two.weight"))
    (True, False)
    """
    return re.compile(rf"(.*\.)?({'|'.join(map(re.escape, endings))})\.{attribute}")
