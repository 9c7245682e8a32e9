"""Old weights, and a parameter that is filled with them."""

import numpy as np

from initlib import Parameter, plan

OLD = {f"layers.{i}.w": np.random.default_rng(i).normal(size=(6, 8)).astype("float32") for i in range(4)}


def weight(name="layers.0.w", shape=(6, 8), dtype="float32", **facts):
    """Return a parameter with the name and shape of an old weight."""
    return Parameter(name, shape, dtype, **facts)


def drawn(parameter, fill, seed=0, **options):
    """Return the weights of one parameter that a fill draws."""
    return plan([parameter], {"*": fill}, **options).draw(seed)[parameter.name]
