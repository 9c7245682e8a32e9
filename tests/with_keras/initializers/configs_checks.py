"""Configs and pickles of the initializers."""

import copy
import json
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras_backend import equal, quiet, values
from keras_initializers import ELEMENTWISE, RANDOM

import initlib
from initlib.adapters import keras as adapter

pytestmark = quiet


@pytest.mark.parametrize("seed", [5, None, "generator"])
@pytest.mark.parametrize("case", RANDOM)
def test_configs_and_pickles_give_equal_initializers(case, seed):
    seed = keras.random.SeedGenerator(5) if seed == "generator" else seed
    initializer = RANDOM[case][0](seed=seed, axes="...IO", name="a")
    config = json.loads(json.dumps(initializer.get_config()))
    for again in (type(initializer).from_config(config), initializer.clone()):
        assert again.get_config() == initializer.get_config()
    saved = json.loads(json.dumps(adapter.serialize(initializer)))
    assert saved["registered_name"] == f"initlib>{type(initializer).__name__}"
    for load in (adapter.deserialize, keras.initializers.deserialize, adapter.get, keras.initializers.get):
        loaded = load(saved)
        assert type(loaded) is type(initializer)
        assert (loaded.core, loaded.get_config()) == (initializer.core, initializer.get_config())
        if seed is not None:
            assert np.array_equal(
                values(loaded((4, 5))), values(RANDOM[case][0](seed=loaded.clone().seed, name="a")((4, 5)))
            )
    if isinstance(seed, int):
        for again in (pickle.loads(pickle.dumps(initializer)), copy.deepcopy(initializer)):
            assert again.get_config() == initializer.get_config()


def test_old_configs_and_configs_of_keras_load():
    config = keras.initializers.serialize(keras.initializers.HeNormal(seed=5))
    loaded = adapter.deserialize(config)
    assert type(loaded) is adapter.HeNormal
    assert type(adapter.HeNormal.from_config({"seed": 5})) is adapter.HeNormal
    assert equal(loaded((4, 5)), initlib.he_normal((4, 5), seed=5))
    old = adapter.HeNormal(seed=5)
    del old.axes, old.name
    assert equal(pickle.loads(pickle.dumps(old))((4, 5)), initlib.he_normal((4, 5), seed=5))
    own = adapter.deserialize(json.loads(json.dumps(adapter.serialize(adapter.Constant(2.0)))))
    assert type(own) is keras.initializers.Constant


@pytest.mark.parametrize(
    "core",
    [
        initlib.he_normal,
        initlib.truncated_normal(0, 2),
        initlib.orthogonal(),
        initlib.sparse(0.5),
        initlib.siren(first=True),
        initlib.sparse(0.5) * 0.5,
        initlib.icnr(initlib.uniform(-1, 1) * 0.5, 2),
    ],
    ids=repr,
)
def test_bare_core_initializers_have_configs(core):
    saved = json.loads(json.dumps(adapter.serialize(core)))
    assert keras.initializers.deserialize(saved) == core
    assert type(core).from_config(core.get_config()) == core


@pytest.mark.parametrize("seed", [-1, -5, -(2**63), 2**64 - 1, 2**70 + 3, True])
def test_seeds_are_any_int_modulo_2_64(seed):
    saved = json.loads(json.dumps(adapter.serialize(adapter.HeNormal(seed=seed, name="a"))))
    for initializer in (adapter.HeNormal(seed=seed, name="a"), adapter.deserialize(saved)):
        assert equal(initializer((4, 5)), initlib.he_normal((4, 5), seed=seed % 2**64, name="a"))


def test_configs_without_new_arguments_are_those_of_keras():
    for case in ELEMENTWISE[:-1]:
        initializer = RANDOM[case][0](seed=5)
        peer = getattr(keras.initializers, type(initializer).__name__)
        config = initializer.get_config()
        assert type(peer.from_config(config)) is peer
        assert peer.from_config(config).get_config() == config


def test_a_saved_model_loads_without_this_library(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, kernel_initializer=adapter.HeNormal(seed=5)),
            keras.layers.Dense(2, kernel_initializer=adapter.Orthogonal(seed=5)),
        ]
    )
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "weights.npy", values(model.layers[0].kernel))
    program = f"""
import sys
sys.modules["initlib"] = None
import keras, numpy
model = keras.models.load_model({str(tmp_path / "model.keras")!r})
initializers = [layer.kernel_initializer for layer in model.layers]
assert [type(i) for i in initializers] == [keras.initializers.HeNormal, keras.initializers.Orthogonal], initializers
assert [i.seed for i in initializers] == [5, 5]
kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
assert (kernel == numpy.load({str(tmp_path / "weights.npy")!r})).all()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("factor", [-1, "a"])
def test_invalid_configs_are_refused(factor):
    saved = adapter.serialize(initlib.sparse(0.5) * 0.5)
    saved["config"]["std"] = factor
    with pytest.raises((TypeError, ValueError), match="std must be "):
        adapter.deserialize(saved)
    saved = adapter.serialize(initlib.he_normal * 0.5)
    saved["config"]["factor"] = factor
    with pytest.raises((TypeError, ValueError), match="factor must be "):
        adapter.deserialize(saved)
