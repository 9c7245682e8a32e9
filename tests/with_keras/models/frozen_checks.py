"""Frozen, quantized and low-rank weights."""

import keras
import numpy as np
import pytest
from keras import layers
from keras_backend import LINE, by_name, quiet, sequential, values, weights_of

from initlib import PlanError, he_normal, keep, normal, zeros
from initlib.adapters import keras as adapter

pytestmark = quiet


def test_frozen_weights_need_a_rule():
    model = sequential(layers.Dense(4, name="backbone"), layers.BatchNormalization(), layers.Dense(2, name="head"))
    model.layers[0].trainable = False
    before = weights_of(model)
    with pytest.raises(PlanError, match=r"backbone\.kernel: no rule matches, and the parameter is frozen") as error:
        adapter.initialize(model, he_normal, seed=0)
    assert 'Add the rule {"backbone.kernel": keep}  # frozen' in error.value.problems[0]
    assert len(error.value.problems) == 1  # the bias is a constant
    for one, other in zip(before, weights_of(model), strict=True):
        assert np.array_equal(one, other)
    adapter.initialize(model, {"backbone.*": keep}, seed=0)
    assert np.array_equal(before[0], weights_of(model)[0])
    adapter.initialize(model, {"backbone.kernel": he_normal}, seed=0)
    assert np.array_equal(values(model.layers[0].kernel), he_normal((6, 4), seed=0, name="backbone.kernel"))
    model.trainable = False  # the whole model, for inference
    assert adapter.plan(model, he_normal) == adapter.plan(keras.models.clone_model(model), he_normal)


def test_quantized_weights_need_a_rule():
    model = sequential(layers.Dense(4, name="dense"))
    model.quantize("int8")
    with pytest.raises(
        PlanError, match=r"dense\.kernel, dense\.kernel_scale: no rule matches, and quantized weights"
    ) as error:
        adapter.initialize(model, seed=0)
    assert len(error.value.problems) == 2  # and its scale
    adapter.initialize(model, {"*.kernel*": keep}, seed=0)
    with pytest.raises(PlanError, match="to be drawn, got int8"):
        adapter.initialize(model, {"*.kernel_scale": keep, "*.kernel": he_normal}, seed=0)


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: layers.Dense(8), LINE),
        (lambda: layers.EinsumDense("btd,dnh->btnh", (None, 2, 4)), LINE),  # packed into a matrix
        (lambda: layers.Embedding(10, 8), (8,)),
        (lambda: layers.ReversibleEmbedding(10, 8, tie_weights=False), (8,)),
    ],
    ids=["Dense", "EinsumDense", "Embedding", "ReversibleEmbedding"],
)
def test_quantized_weights_of_every_layer_need_a_rule(mode, layer, shape):
    model = sequential(layer(), layers.Dense(2, name="head"), shape=shape)
    model.quantize(mode, filters="^(?!head)")
    before = {name: values(variable) for name, variable in by_name(model).items()}
    with pytest.raises(PlanError) as error:
        adapter.plan(model)
    named = {problem.split(":")[0] for problem in error.value.problems}
    assert named == {name for name in before if not name.endswith("bias") and not name.startswith("head.")}
    adapter.initialize(model, he_normal, 0, only="head.*")
    for name, variable in by_name(model).items():
        assert np.array_equal(before[name], values(variable)) == (name != "head.kernel")


def test_low_rank_weights_are_filled():
    model = sequential(layers.Dense(4, name="dense"))
    model.layers[0].enable_lora(2)
    with pytest.raises(PlanError, match=r"dense\.kernel: no rule matches, and the parameter is frozen"):
        adapter.plan(model)
    adapter.initialize(model, {"*.kernel": keep}, seed=0)
    assert values(model.layers[0].lora_kernel_a).any()
    assert not values(model.layers[0].lora_kernel_b).any()
    plan = adapter.plan(model, {"*.kernel": keep}, default=normal())
    assert plan["dense.lora_kernel_a"].filling == normal()
    assert plan["dense.lora_kernel_b"].filling == zeros
    assert plan["dense.lora_kernel_b"].notes == ("zeros as constructed",)
