"""Layer counts: the number of layers that a recipe was given, against the names of a model."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple


class LayerCount(NamedTuple):
    """Number of layers that a recipe was given, and the least number of residual outputs in a layer."""

    recipe: str
    argument: str
    layers: int
    branches: int
    pattern: str  # the argument that takes the pattern of the outputs

    def too_low(self, names: Iterable[str]) -> str | None:
        """Return the error of residual outputs in more layers; None if the names do not show this.

        >>> LayerCount("gpt2", "layers", 1, 2, "residual").too_low(["h.0.c_proj.weight", "h.1.c_proj.weight"])
        'layers of recipes.gpt2 must be the number of layers of the model, got 1 for 2 layers. Pass layers=2'
        """
        layers: dict[str, set[str]] = defaultdict(set)  # of each output, the layers in which it appears
        for name in names:
            numbers = _numbers(name)
            if len(numbers) == 1:  # of several, any may be the number of an expert
                layers[name.replace(f"{numbers[0]}.", "*.", 1)].add(numbers[0])
        count = max(map(len, layers.values()), default=0)
        if count <= self.layers:
            return None
        return (
            f"{self.argument} of recipes.{self.recipe} must be the number of layers of the model, got {self.layers} "
            f"for {count} layers. Pass {self.argument}={count}"
        )

    def too_high(self, names: Iterable[str]) -> str | None:
        """Return the warning of too few residual outputs; None for a part of a model, which lacks layer 0."""
        numbers = list(filter(None, map(_numbers, names)))
        least = self.layers * self.branches
        if len(numbers) >= least or not any("0" in each for each in numbers):
            return None
        return (
            f"recipes.{self.recipe} matches {len(numbers)} outputs of residual branches, and {self.argument}="
            f"{self.layers} needs at least {least}. Pass {self.argument}=, the number of layers of the model, and "
            f"{self.pattern}=, the pattern of all these outputs"
        )


def _numbers(name: str) -> list[str]:
    """Return the numbers between the dots of a name."""
    return [component for component in name.split(".") if component.isdecimal()]
