"""An existing plan in place of rules: the same arrays as by the rules, and every difference from the tree at once."""

import jax
import numpy as np
import pytest

from initlib import Plan, PlanError, he_normal, keep, normal, zeros
from initlib.adapters.jax import initialize, plan


def shapes(width=4):
    kernel, bias = jax.ShapeDtypeStruct((3, 4, width), "float32"), jax.ShapeDtypeStruct((width,), "bfloat16")
    return {"layers": {"kernel": kernel}, "head": {"kernel": jax.numpy.ones((4, 2)), "bias": bias}}


def same(one, other):
    return jax.tree.all(jax.tree.map(lambda a, b: a.dtype == b.dtype and np.array_equal(a, b), one, other))


def test_a_plan_gives_the_bits_of_the_rules_that_made_it(tmp_path):
    rules, stack = {"head.kernel": keep, "*.1.*": normal(std=0.1)}, {"layers": "layers.{i}"}
    made = plan(shapes(), rules, default=he_normal, stack=stack)
    made.save(tmp_path / "plan.json")
    by_plan = initialize(shapes(), Plan.load(tmp_path / "plan.json"), seed=0, stack=stack)
    assert same(by_plan, initialize(shapes(), rules, seed=0, default=he_normal, stack=stack))
    assert (by_plan["head"]["kernel"] == 1).all()


def test_all_differences_are_listed():
    made = plan({**shapes(), "old": {"bias": jax.ShapeDtypeStruct((2,), "float32")}}, normal())
    tree = {**shapes(5), "new": {"bias": jax.ShapeDtypeStruct((2,), "float32")}}
    with pytest.raises(PlanError) as caught:
        initialize(tree, made, seed=0)
    assert sorted(caught.value.problems) == [
        "head.bias: shape must be (4,), as in the plan, got (5,)",
        "layers.kernel: shape must be (3, 4, 4), as in the plan, got (3, 4, 5)",
        "new.bias: the plan has no parameter of this name",
        "old.bias: the plan has this parameter, and the model does not",
    ]


@pytest.mark.parametrize(
    "argument", [{"default": zeros}, {"rename": str}, {"axes": {"head.kernel": "IO"}}, {"unmatched": "keep"}]
)
def test_an_argument_that_only_makes_plans_is_an_error(argument):
    (name,) = argument
    with pytest.raises(TypeError, match=f"{name} must be left out if rules is a Plan"):
        initialize(shapes(), plan(shapes(), normal()), seed=0, **argument)


def test_a_plan_without_any_of_the_names_has_one_problem_with_advice():
    for tree, made, advice in (
        ({"encoder": shapes()}, plan(shapes(), normal()), "Pass the part 'encoder' of the model"),
        (shapes(), plan({"encoder": shapes()}, normal()), "Pass a plan of this model"),
    ):
        with pytest.raises(PlanError, match=f"{advice}$"):
            initialize(tree, made, seed=0)


def test_scales_of_weight_norm_follow_the_kernels_of_an_existing_plan():
    linen = pytest.importorskip("flax").linen
    module = linen.WeightNorm(linen.Dense(4))
    tree = jax.eval_shape(module.init, jax.random.key(0), jax.numpy.ones((1, 3)))
    made = plan(tree, he_normal)
    assert same(initialize(tree, made, seed=0), initialize(tree, he_normal, seed=0))
