"""Usual names of parameters of unknown classes, for advice."""

import re

_BIAS = re.compile(r"bias$|(^|\.)(b|beta)$")
_TABLE = re.compile(r"(table|token|cls|emb|embed|embedding)s?(\.(weight|kernel|value))?$", re.IGNORECASE)


def is_bias_name(name: str) -> bool:
    """Return whether a name is usual for a bias: `proj.bias`, `norm.beta`."""
    return _BIAS.search(name) is not None


def is_table_name(name: str) -> bool:
    """Return whether a name is usual for a table or tokens: `pos_embed`, `cls_token`, `relative_bias_table`."""
    return _TABLE.search(name) is not None
