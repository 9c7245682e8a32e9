"""Time for each parameter of a model of many small ones: plans, `initialize`, and calls in `named`.

Alone: `python -m benchmarks --only planning`.
"""

import time
from importlib.util import find_spec
from typing import Any

import initlib
from initlib import Parameter, he_normal, normal, zeros

from .measure import Task, interleaved

LAYERS, BLOCKS = 1000, 1000
CASES = {"initialize": "2,000 parameters of 8 x 8 and 8", "named": "one call in `named`, into 8 x 8"}
COLD = "10,000 parameters, the first plan"
RULES = {"*.weight": normal(std=0.02), "*.bias": zeros}


def planning(full: bool) -> dict[str, dict[str, float]]:
    """Measure the seconds for each parameter, or for each call."""
    results = {COLD: {"initlib.plan": _core()}}
    if find_spec("torch"):
        results[COLD]["in PyTorch"] = _cold()
        results[CASES["initialize"]] = _initialize()
        results[CASES["named"]] = _named()
    return results


def _core() -> float:
    """Return the seconds of the core's plan for each of 10,000 parameters."""
    parameters = [
        parameter
        for i in range(5 * BLOCKS)
        for parameter in (
            Parameter(f"h.{i}.up.weight", (8, 8), axes="OI", kind="kernel", owner="Linear"),
            Parameter(f"h.{i}.up.bias", (8,), kind="bias", owner="Linear"),
        )
    ]
    start = time.perf_counter()
    initlib.plan(parameters, {"*.up.weight": he_normal, "*:bias": zeros})
    return (time.perf_counter() - start) / len(parameters)


def _cold() -> float:
    """Return the seconds of the first plan of a model, which reads the constructor value of each parameter."""
    from torch import nn

    import initlib.adapters.torch as init

    def block() -> Any:
        linears = [nn.Linear(16, 48), nn.Linear(16, 16), nn.Linear(16, 32, bias=False), nn.Linear(32, 16)]
        return nn.ModuleList([nn.LayerNorm(16), nn.RMSNorm(16), *linears])

    model = nn.ModuleList(block() for _ in range(BLOCKS))
    start = time.perf_counter()
    init.plan(model, he_normal)
    return (time.perf_counter() - start) / len(list(model.parameters()))


def _initialize() -> dict[str, float]:
    from torch import nn

    import initlib.adapters.torch as init

    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(LAYERS)))
    made = init.plan(model, RULES)

    def own() -> None:
        for layer in model:
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    tasks: dict[str, Task] = {
        "plan": lambda: init.plan(model, RULES),
        "initialize": lambda: init.initialize(model, RULES, seed=0),
        "initialize by an existing plan": lambda: init.initialize(model, made, seed=0),
        "torch.nn.init in a loop": own,
    }
    return {name: seconds / (2 * LAYERS) for name, seconds in interleaved(tasks).items()}


def _named() -> dict[str, float]:
    import torch
    from torch import nn

    import initlib.adapters.torch as init

    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(100)))
    weights = [layer.weight for layer in model]
    calls: dict[str, Any] = {
        "weight.data.normal_()": lambda weight: weight.data.normal_(std=0.02),
        "torch.nn.init.normal_": lambda weight: nn.init.normal_(weight, std=0.02),
        "torch.nn.init.trunc_normal_": lambda weight: nn.init.trunc_normal_(weight, std=0.02),
        "weight.data[:4].normal_()": lambda weight: weight.data[:4].normal_(),
        "weight.data[:, :4].normal_()": lambda weight: weight.data[:, :4].normal_(),
        "a draw into a temporary tensor": lambda weight: torch.empty(8, 8).normal_(),
    }

    def task(call: Any) -> Task:
        return lambda: [call(weight) for weight in weights]

    with init.named(model, seed=0):
        ours = interleaved({name: task(call) for name, call in calls.items()})
    own = interleaved({f"{name}, without `named`": task(call) for name, call in calls.items()})
    return {name: seconds / len(weights) for name, seconds in (ours | own).items()}
