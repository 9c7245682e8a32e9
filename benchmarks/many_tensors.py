"""Models of many equal tensors, in place: `initialize`, a loop over the tensors, and one tensor of the same size.

Alone: `python -m benchmarks --only many_tensors`.
"""

from importlib.util import find_spec

from initlib import normal

from .measure import interleaved
from .peers import IN, OURS, TORCH

ONE = "as one weight"
STD = 0.02
CASES = ((28, 2048), (200, 768), (1800, 256), (2000, 64), (2000, 8))


def name_of(count: int, size: int) -> str:
    return f"{count} of {size}x{size}"


def many_tensors(full: bool) -> dict[str, dict[str, float]]:
    """Measure the seconds to draw all tensors of a model from a normal distribution, into memory written before."""
    return {name_of(*case): measured(*case) for case in CASES} if find_spec("torch") else {}


def measured(count: int, size: int, rounds: int = 7) -> dict[str, float]:
    """Return the medians of one case."""
    import torch

    import initlib.adapters.torch as init

    model = torch.nn.ModuleList(torch.nn.Linear(size, size, bias=False) for _ in range(count))
    one = torch.zeros(count * size, size)

    def ours() -> None:
        init.initialize(model, normal(std=STD), seed=0)

    def adapter() -> None:
        for parameter in model.parameters():
            init.normal_(parameter, std=STD)

    def torch_alone() -> None:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=STD)

    def together() -> None:
        init.normal_(one, std=STD)

    return interleaved({OURS: ours, IN[TORCH]: adapter, ONE: together, TORCH: torch_alone}, rounds)
