"""An existing plan in place of rules."""

import keras
import pytest
from keras import layers
from keras_backend import quiet, weights_of

import initlib
from initlib import PlanError, he_normal, keep, normal, zeros
from initlib.adapters import keras as adapter

pytestmark = quiet


def test_an_existing_plan_gives_the_bits_of_the_rules_that_made_it(tmp_path):
    def model():
        return keras.Sequential([keras.Input((4,)), layers.Dense(8), layers.BatchNormalization(), layers.Dense(2)])

    rules = {"dense_1.kernel": normal(std=0.1), "dense.bias": keep}
    by_rules, by_plan = model(), model()
    made = adapter.plan(by_rules, rules, default=he_normal)
    made.save(tmp_path / "plan.json")
    adapter.initialize(by_rules, rules, seed=0, default=he_normal)
    assert adapter.initialize(by_plan, initlib.Plan.load(tmp_path / "plan.json"), seed=0) == made
    for one, other in zip(weights_of(by_rules), weights_of(by_plan), strict=True):
        assert (one == other).all()
    before = weights_of(by_plan)
    assert adapter.initialize(by_plan, made, seed=1, only="dense.*")["dense_1.kernel"].kept
    assert (weights_of(by_plan)[-2] == before[-2]).all()
    assert (weights_of(by_plan)[0] != before[0]).any()


def test_all_differences_from_an_existing_plan_are_listed_and_nothing_is_written():
    made = adapter.plan(keras.Sequential([keras.Input((4,)), layers.Dense(8, name="a"), layers.Dense(2, name="b")]))
    model = keras.Sequential([keras.Input((4,)), layers.Dense(9, name="a"), layers.Dense(2, name="c")])
    before = weights_of(model)
    with pytest.raises(PlanError) as caught:
        adapter.initialize(model, made, seed=0)
    assert caught.value.problems == (
        "a.kernel: shape must be (4, 8), as in the plan, got (4, 9)",
        "a.bias: shape must be (8,), as in the plan, got (9,)",
        "c.kernel: the plan has no parameter of this name",
        "c.bias: the plan has no parameter of this name",
        "b.kernel: the plan has this parameter, and the model does not",
        "b.bias: the plan has this parameter, and the model does not",
    )
    for argument in ({"default": zeros}, {"rename": str}, {"axes": {"a.kernel": "IO"}}, {"unmatched": "keep"}):
        (name,) = argument
        with pytest.raises(TypeError, match=f"{name} must be left out if rules is a Plan"):
            adapter.initialize(model, made, seed=0, **argument)
    assert all((one == other).all() for one, other in zip(weights_of(model), before, strict=True))


def test_a_part_of_a_model_takes_its_entries_from_the_plan_of_the_full_model():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(8, name="a")], name="inner")
    full = keras.Sequential([keras.Input((4,)), inner, layers.Dense(2, name="b")])
    made = adapter.initialize(full, he_normal, seed=0)
    before = weights_of(inner)
    adapter.initialize(inner, normal(), seed=1)
    adapter.initialize(inner, made, seed=0, prefix="inner")
    assert all((one == other).all() for one, other in zip(weights_of(inner), before, strict=True))
