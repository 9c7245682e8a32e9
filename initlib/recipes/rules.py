"""Rules of recipes, and the patterns that find a recipe's parameters."""

import fnmatch
import re
from typing import Any

from ..plans.fills.values import Rule
from ..plans.rules.layer_count import LayerCount
from ..plans.rules.patterns import RecipePattern, expression_code, plain_expression

Rules = dict[Any, Rule]  # by pattern, in order
RESIDUAL = "output of a residual branch"


def named(*endings: str, attribute: str = "weight") -> re.Pattern[str]:
    """Return the pattern of an attribute of modules with these last names, at any depth of the model.

    >>> bool(named("wo", "lm_head").fullmatch("layers.3.wo.weight")), bool(named("wo").fullmatch("two.weight"))
    (True, False)
    """
    return re.compile(rf"(.*\.)?({'|'.join(map(re.escape, endings))})\.{attribute}")


def optional(pattern: str | re.Pattern[str]) -> RecipePattern:
    """Return a pattern for parameters that a model may lack: tables, norms, a head."""
    made = _marked(pattern)
    made.is_optional = True
    return made


def required(pattern: Any, recipe: str, layers: str, argument: str | None = None) -> RecipePattern:
    """Return a pattern for layers that the recipe requires, such as the outputs of residual branches.

    For a model without these layers, the error names the recipe and the argument that takes the pattern. A recipe
    without such an argument has fixed names, and the user renames parameters.
    """
    made = _marked(pattern)
    made.missing = f"recipes.{recipe} finds no {layers}"
    fixed = plain_expression(pattern.pattern) if isinstance(pattern, re.Pattern) else pattern
    made.advice = (
        f"Pass {argument}=, the pattern of your layers"
        if argument
        else f"Pass rename=, from your names to the recipe's names, which match {fixed!r}"
    )
    return made


def outputs(
    pattern: Any,
    recipe: str,
    layers: int | None = None,
    *,
    argument: str = "residual",
    count: str = "layers",
    branches: int = 2,
) -> RecipePattern:
    """Return the pattern of the outputs of residual branches, which an argument of the recipe takes.

    `pattern` may be a list of patterns. `layers` is the value of the argument `count`. A model with more layers is an
    error; a model with fewer than `branches` outputs for each layer gets a warning.
    """
    made = required(pattern, recipe, RESIDUAL, argument)
    made.for_kernels = f"{argument} of recipes.{recipe}"
    made.layer_count = None if layers is None else LayerCount(recipe, count, layers, branches, argument)
    return made


def _marked(pattern: Any) -> RecipePattern:
    if isinstance(pattern, (list, tuple)):
        each = [one.pattern if isinstance(one, re.Pattern) else fnmatch.translate(one) for one in pattern]
        made = RecipePattern(" or ".join(str(getattr(one, "pattern", one)) for one in pattern))
        pattern = re.compile("|".join(f"(?:{one})" for one in each))
    else:
        made = RecipePattern(expression_code(pattern.pattern) if isinstance(pattern, re.Pattern) else pattern)
    made.expression = pattern
    return made
