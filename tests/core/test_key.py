import hashlib
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initlib import Key, he_normal
from initlib.key import as_key

SEEDS = st.integers(0, 2**64 - 1)

# Known answers of Random123 (tests/kat_vectors, "threefry2x32 20"): key, counter, output.
THREEFRY = [
    (0x0000000000000000, 0x0000000000000000, 0x6B20015999BA4EFE),
    (0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 0x1CB996FCBB002BE7),
    (0x13198A2E03707344, 0x243F6A8885A308D3, 0xC4923A9C483DF7A0),
]


@pytest.mark.parametrize(("key", "counter", "output"), THREEFRY)
def test_threefry_gives_the_known_answers(key, counter, output):
    assert Key(key).fold_in(counter) == Key(output)


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize(("key", "counter", "output"), THREEFRY)
def test_the_reference_gives_the_known_answers(key, counter, output):
    assert Key(key).fold_in(counter) == Key(output)


def test_words_are_high_first():
    assert Key(0x0123456789ABCDEF).words == (0x01234567, 0x89ABCDEF)


@pytest.mark.parametrize("name", ["conv1", "größe", ""])
def test_a_name_counts_as_its_sha256(name):
    head = hashlib.sha256(name.encode()).digest()[:8]
    assert Key(3).fold_in(name) == Key(3).fold_in(int.from_bytes(head, "big"))


@given(SEEDS, SEEDS)
def test_a_key_is_a_value(seed, data):
    key = Key(seed)
    assert key == Key(np.uint64(seed))
    assert hash(key) == hash(Key(seed))
    assert repr(key) == f"Key(seed={seed})"
    assert pickle.loads(pickle.dumps(key)) == key
    assert key.fold_in(data) == key.fold_in(np.uint64(data))
    assert key.fold_in(data) != key


@pytest.mark.parametrize("shape", [(), (5,), (0,), (3, 4), (2, 0, 3), (2, 3, 4), (2, 1, 3, 2)])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_bits_equal_jax(shape, seed):
    jax = pytest.importorskip("jax")
    bits = Key(seed).bits(shape)
    assert bits.dtype == np.uint32
    assert np.array_equal(bits, np.asarray(jax.random.bits(jax.random.key(seed), shape, "uint32")))


@pytest.mark.parametrize("chain", [(0,), (1,), (5, 123), (2**32 - 1, 0, 7)])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_fold_in_equals_jax(seed, chain):
    jax = pytest.importorskip("jax")
    own, peer = Key(seed), jax.random.key(seed)
    for data in chain:
        own, peer = own.fold_in(data), jax.random.fold_in(peer, np.uint32(data))
    assert own.words == tuple(int(word) for word in jax.random.key_data(peer))


def test_a_seed_may_be_an_int_a_key_a_generator_or_none():
    assert as_key(7) == as_key(np.int32(7)) == as_key(Key(7)) == Key(7)
    assert as_key(7, "a") == Key(7).fold_in("a")
    assert as_key(None) != as_key(None)
    assert as_key(np.random.default_rng(5)) == as_key(np.random.default_rng(5))
    generator = np.random.default_rng(5)
    assert as_key(generator) != as_key(generator)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_an_error(seed):
    with pytest.raises(ValueError, match=rf"seed must be at least 0 and below 2\*\*64, got {seed}"):
        he_normal((2, 3), seed=seed)


@pytest.mark.parametrize("seed", [1.0, "1", True, np.bool_(True), (0, 1), np.array([1.5]), object])
def test_a_seed_of_a_wrong_type_is_an_error(seed):
    with pytest.raises(TypeError, match=r"seed must be an int, a Key, a numpy.random.Generator or None, got"):
        he_normal((2, 3), seed=seed)


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("torch._C", "Pass seed=generator.initial_seed(); the functions of initlib.adapters.torch take generator="),
        ("jaxlib._jax", "Pass a key of JAX in place of the seed, as the first argument: he_normal(key, shape)"),
        ("keras.src.random", "Pass a generator of Keras to the classes of initlib.adapters.keras"),
    ],
)
def test_a_generator_of_a_framework_as_a_seed_is_an_error_with_advice(module, advice):
    generator = type("Generator", (), {"__module__": module})()
    with pytest.raises(TypeError, match=rf"\. {re.escape(advice)}$"):
        he_normal((2, 3), seed=generator)


def test_a_name_as_a_seed_is_an_error_with_advice():
    with pytest.raises(TypeError, match=r"got 'conv1'\. Pass a name as name="):
        he_normal((2, 3), seed="conv1")


def test_data_and_names_of_a_wrong_type_are_an_error():
    with pytest.raises(TypeError, match="data must be an int"):
        Key(0).fold_in(1.5)
    with pytest.raises(ValueError, match="data must be at least 0"):
        Key(0).fold_in(-1)
    with pytest.raises(TypeError, match="name must be a string, got 3"):
        he_normal((2, 3), name=3)


def test_a_name_with_half_of_a_surrogate_pair_is_an_error():
    for call in (lambda: Key(0).fold_in("a\ud800"), lambda: as_key(0, "a\ud800")):
        with pytest.raises(ValueError, match="name must be valid Unicode"):
            call()


def test_an_error_does_not_print_an_object_of_many_lines():
    with pytest.raises(TypeError, match=r"or None, got a ndarray$"):
        as_key(np.ones((4, 4)))
