"""Parameters and plans of small models, and the problems of a plan."""

import pytest

from initlib import Parameter, PlanError, normal, plan


def kernel(name="kernel", shape=(8, 4), axes="OI", **fields):
    return Parameter(name, shape, axes=axes, kind="kernel", **fields)


def fill(parameter, rules=None, **options):
    return plan([parameter], rules, **options).entries[0].filling


def problems(parameters, rules=None, **options):
    with pytest.raises(PlanError) as caught:
        plan(parameters, rules, **options)
    assert isinstance(caught.value, ValueError)
    return caught.value.problems


STD = normal(std=0.02)


def model(prefix="h", order=1):
    parameters = [
        Parameter("embed.weight", (20, 8), kind="table", owner="Embedding", padding=3, tied=("head.weight",)),
        *(kernel(f"{prefix}.{i}.up.weight", (16, 8), owner="Linear") for i in range(3)),
        *(kernel(f"{prefix}.{i}.conv.weight", (4, 8, 3), "OIK", owner="Conv1d") for i in range(3)),
        *(Parameter(f"{prefix}.{i}.norm.weight", (8,), kind="scale", owner="LayerNorm") for i in range(3)),
        Parameter("mask", (8,), "bool", kind="buffer"),
    ]
    return parameters[::order]
