"""Layers whose weights or tables another framework makes."""

import keras
import numpy as np
import pytest
from keras import layers
from keras_backend import BACKEND, by_name, check, only, quiet, sequential

from initlib import PlanError, normal
from initlib.adapters import keras as adapter

pytestmark = quiet


@pytest.mark.skipif(BACKEND == "torch", reason="of JAX and TensorFlow")
def test_weights_of_jax_layers_are_filled_by_rules():
    flax = pytest.importorskip("flax")
    model = keras.Sequential([keras.Input((6,)), layers.FlaxLayer(flax.linen.Dense(4))])
    with pytest.raises(PlanError, match="FlaxLayer states no initializer") as error:
        adapter.initialize(model, seed=0)
    assert len(error.value.problems) == 1  # the bias is zeros
    plan = adapter.initialize(model, normal(), seed=0)
    check(model, plan)
    start = np.arange(24, dtype="float32").reshape(6, 4)
    own = layers.JaxLayer(lambda params, inputs: inputs @ params, lambda rng, inputs: start)
    with pytest.raises(PlanError, match="JaxLayer states no initializer"):
        adapter.initialize(keras.Sequential([keras.Input((6,)), own]), seed=0)


@only["torch"]
def test_weights_of_pytorch_modules_are_filled_by_rules():
    import torch

    wrapped = layers.TorchModuleWrapper(torch.nn.Linear(6, 4))
    model = keras.Sequential([keras.Input((6,)), wrapped])
    with pytest.raises(PlanError, match="TorchModuleWrapper states no initializer"):
        adapter.initialize(model, seed=0)
    plan = adapter.initialize(model, {"*": normal()}, seed=0)
    check(model, plan)


@only["tensorflow"]
def test_weights_of_tensorflow_layers_are_filled_by_rules(tmp_path):
    model = sequential(layers.Dense(4))
    model.export(tmp_path / "saved", verbose=False)
    loaded = keras.Sequential([keras.Input((6,)), layers.TFSMLayer(tmp_path / "saved", call_endpoint="serve")])
    with pytest.raises(PlanError, match="TFSMLayer"):
        adapter.initialize(loaded, seed=0)


@only["tensorflow"]
def test_tables_of_words_are_no_weights():
    for table in (layers.StringLookup(vocabulary=["a", "b"]), layers.TextVectorization(vocabulary=["a", "b"])):
        model = keras.Sequential([keras.Input((1,), dtype="string"), table, layers.Embedding(4, 3)])
        assert list(by_name(model)) == ["embedding.embeddings"]
        check(model, adapter.initialize(model, seed=0))
    model = sequential(layers.IntegerLookup(vocabulary=[1, 2]), layers.Embedding(4, 3), shape=(1,))
    assert list(by_name(model)) == ["embedding.embeddings"]
