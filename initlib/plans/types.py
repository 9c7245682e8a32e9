"""Types of the arguments that `plan` and every adapter's `plan` and `initialize` share."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from ..schemes.initializer import Initializer
from .fills.values import Fill as Fill
from .fills.values import Rule as Rule
from .parameter import Parameter
from .rules.renaming import SameAs

# A glob on the full name, then optionally `:kind` or `:Owner`; or a compiled expression of the full name.
Pattern = str | re.Pattern[str]
_Mapping = Mapping[str, Rule] | Mapping[re.Pattern[str], Rule] | Mapping[Pattern, Rule]
_Function = Callable[[tuple[Parameter, ...]], _Mapping]
_Pair = tuple[Pattern, Rule]
# Rules by pattern; the first that matches counts. Functions make rules of all parameters.
Rules = Initializer | _Mapping | _Function | Iterable[_Pair] | Sequence[_Mapping | _Function | _Pair]
# From names, by pattern or by a function, to the names of streams.
_Name = str | SameAs
Rename = Mapping[str, _Name] | Mapping[re.Pattern[str], _Name] | Mapping[Pattern, _Name] | Callable[[str], str]
Axes = Mapping[str, str] | Mapping[re.Pattern[str], str] | Mapping[Pattern, str]
Unmatched = Literal["default", "keep"]
