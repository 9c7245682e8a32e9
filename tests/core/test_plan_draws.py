"""Draws of a plan: all weights by their names, one weight, and boxes of it."""

import numpy as np
import pytest
from plans import STD, kernel, model

from initlib import Key, Parameter, he_normal, keep, normal, plan, values


def test_a_weight_depends_on_its_name_alone():
    first, second = plan(model(), he_normal).draw(5), plan(model(order=-1)[:6], he_normal).draw(5)
    assert len(second) == 5  # but for the mask
    for name, weight in second.items():
        assert np.array_equal(first[name], weight)


def test_a_plan_draws_what_its_initializers_draw():
    drawn = plan(model(), he_normal).draw(Key(9))
    assert list(drawn) == [parameter.name for parameter in model()[:-1]]
    expected = he_normal((4, 8, 3), axes="OIK", seed=9, name="h.1.conv.weight")
    assert np.array_equal(drawn["h.1.conv.weight"], expected)
    assert (drawn["h.1.norm.weight"] == 1).all()
    table = STD((20, 8), seed=9, name="embed.weight")
    table[3] = 0
    assert np.array_equal(drawn["embed.weight"], table)


def test_all_tensors_of_a_plan_share_one_seed():
    table = plan([kernel("a"), kernel("b")], he_normal)
    fresh = table.draw(None)
    assert not np.array_equal(fresh["a"], fresh["b"])
    generator = np.random.default_rng(0)
    once = table.draw(generator)
    assert np.array_equal(once["a"], table.draw(np.random.default_rng(0))["a"])


def test_renamed_parameters_have_the_streams_of_their_new_names():
    plain, renamed = plan(model(), he_normal), plan(model("blocks"), he_normal, rename={"blocks.*": "h.*"})
    assert renamed["blocks.2.up.weight"].stream == "h.2.up.weight"
    assert np.array_equal(renamed.draw(0)["blocks.2.up.weight"], plain.draw(0)["h.2.up.weight"])


def test_unknown_axes_are_numbered_as_stored():
    unknown = Parameter("gate", (8, 4))
    assert np.array_equal(plan([unknown], STD).draw(0)["gate"], STD((8, 4), seed=0, name="gate"))
    stated = plan([unknown], he_normal, axes={"gate": "OI"})
    assert stated["gate"].parameter.axes == "OI"
    assert np.array_equal(stated.draw(0)["gate"], he_normal((8, 4), axes="OI", seed=0, name="gate"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_draw_one_draws_a_box(dtype):
    table = plan([Parameter("t", (20, 8), dtype, kind="table", padding=3)], STD)
    whole = table.draw(1)["t"]
    for index in [(slice(2, 5), 1), slice(None, None, -2), 3, (Ellipsis, 0), (slice(5, 5),)]:
        assert np.array_equal(table.draw_one("t", 1, index=index), whole[index])
    out = np.empty((8, 20), whole.dtype).T
    assert table.draw_one("t", 1, out=out) is out
    assert np.array_equal(out, whole)
    assert not whole[3].any()
    assert whole[2].any()


@pytest.mark.parametrize("row", [0, 2])
def test_a_padding_row_may_be_at_either_end(row):
    table = plan([Parameter("t", (3, 4), kind="table", padding=row)], normal()).draw(0)["t"]
    assert [bool(each.any()) for each in table] == [k != row for k in range(3)]


def test_values_are_rounded_once():
    exact = np.log(np.arange(1, 17))
    table = plan([Parameter("A_log", (16,), "float16")], {"*": values(exact)})
    assert np.array_equal(table.draw(0)["A_log"], exact.astype("float16"))
    assert np.array_equal(table.draw_one("A_log", 0, index=slice(3, 9, 2)), exact.astype("float16")[3:9:2])


def test_tensors_without_weights_can_be_planned():
    table = plan([kernel("empty", (0, 4)), Parameter("none", (3, 0))], {"empty": he_normal, "none": STD})
    assert {name: weight.shape for name, weight in table.draw(0).items()} == {"empty": (0, 4), "none": (3, 0)}


DRAW_ERRORS = [
    (
        {"name": "kernle"},
        ValueError,
        "name must be the name of a parameter of the plan, got 'kernle'; nearest names: kernel",
    ),
    ({"name": "kernel", "out": np.zeros((4, 8), "float32")}, ValueError, "got shape (4, 8)"),
    ({"name": "kernel", "out": np.zeros((8, 4))}, ValueError, "out must have shape (8, 4) and dtype float32"),
    ({"name": "kernel", "out": [[0.0] * 4] * 8}, TypeError, "out must be a numpy.ndarray, got list"),
    ({"name": "kernel", "index": 8}, ValueError, "index must be inside axis 0 of shape (8, 4), got 8"),
    ({"name": "kernel", "seed": "x"}, TypeError, "seed must be an int"),
    ({"name": "kept"}, ValueError, "out must be given for kept, because the plan keeps"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), DRAW_ERRORS, ids=str)
def test_wrong_arguments_of_draw_one_are_errors(arguments, error, message):
    table = plan([kernel(), Parameter("kept", (3,))], {"kept": keep}, default=he_normal)
    with pytest.raises(error) as caught:
        table.draw_one(**{"seed": 0, **arguments})
    assert message in str(caught.value)


def test_a_kept_tensor_stays_as_it_is():
    table = plan([Parameter("kept", (3,))], {"kept": keep})
    out = np.array([1, 2, 3], "float32")
    assert table.draw_one("kept", 0, out=out).tolist() == [1, 2, 3]
    assert table.draw(0) == {}
    assert table["kept"].kept
