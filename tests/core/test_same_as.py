"""`same_as`: parameters that start with the weights of another parameter."""

import numpy as np
import pytest
from plans import kernel, problems

from initlib import Plan, he_normal, parts, plan, same_as

TARGET = {"target.*": same_as("online.*")}


def test_a_target_network_starts_as_the_online_network():
    networks = [kernel(f"{name}.{i}.w") for name in ("target", "online") for i in range(2)]
    table = plan(networks, he_normal, rename=TARGET)
    drawn = table.draw(0)
    for i in range(2):
        assert np.array_equal(drawn[f"target.{i}.w"], drawn[f"online.{i}.w"])
    assert not np.array_equal(drawn["online.0.w"], drawn["online.1.w"])
    assert Plan.from_json(table.to_json()) == table
    qkv = parts({"q": 1, "k": 1}, he_normal)
    fused = plan([kernel("target.w"), kernel("online.w")], {"*": qkv}, rename=TARGET).draw(0)
    assert np.array_equal(fused["target.w"], fused["online.w"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (kernel("target.w", (8, 5)), "target.w: must have the shape, axes and initializer of 'online.w' to share"),
        (kernel("target.w", axes="IO"), "target.w: must have the shape, axes and initializer of 'online.w' to share"),
        (kernel("target.x"), "target.x: same_as must name another parameter of the plan, got 'online.x'"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_same_as_needs_equal_shapes_axes_and_initializers(target, message, order):
    (problem,) = problems([kernel("online.w"), target][::order], he_normal, rename=TARGET)
    assert problem.startswith(message)


def test_same_as_needs_the_name_of_a_parameter():
    with pytest.raises(TypeError, match="same_as must be a string, got 3"):
        same_as(3)
    with pytest.raises(ValueError, match="must have no more"):
        plan([kernel()], he_normal, rename={"kernel": same_as("*")})
