"""XLA programs of traced draws: one loop over the weight, and no other array of its size."""

import math
import re

import jax
import pytest

import initlib
import initlib.adapters.jax as init

DRAWS = {
    "uniform": (init.glorot_uniform(), (128, 256)),
    "truncated normal": (init.he_normal(), (128, 256)),
    "normal": (init.normal(), (128, 256)),
    "a mean": (init.initializer(initlib.normal(1.0, 0.5)), (128, 256)),
    "convolution": (init.he_normal(axes="OIHW"), (64, 32, 3, 3)),
    "packed": (init.he_normal(axes="(4 O)IHW"), (64, 32, 3, 3)),
    "positions past 2**32": (init.he_normal(), (2**17, 2**16)),
}
SMALL = 4096  # numbers: the table, the words of the key, an index along one axis


def program(function):
    """Return the operations of the compiled program with large results, and the bytes of its temporary memory."""
    compiled = jax.jit(function).lower(jax.random.key(0)).compile()
    entry = re.search(r"^ENTRY .*?^}", compiled.as_text(), re.MULTILINE | re.DOTALL)[0]
    operations = re.findall(r"= \w+\[([\d,]*)\]\S* ([a-z][\w-]*)\(", entry)
    large = [name for shape, name in operations if math.prod(int(size) for size in shape.split(",") if size) > SMALL]
    return large, compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("initializer", "shape"), DRAWS.values(), ids=DRAWS)
def test_a_draw_is_one_loop(initializer, shape, dtype):
    """The loop gathers the rows of the table."""
    large, temporary = program(lambda key: initializer(key, shape, dtype))
    assert large == ["fusion"]
    assert temporary <= 4 * SMALL


def test_the_test_above_can_fail():
    def square(key):
        weight = init.he_normal()(key, (128, 256))
        return weight @ weight.T

    large, temporary = program(square)
    assert large != ["fusion"]
    assert temporary > 4 * SMALL
