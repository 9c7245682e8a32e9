"""Draws under `torch.vmap`: the same weights in all members, or other weights in each."""

import pytest
import torch
from torch import vmap

import initlib.adapters.torch as init
from initlib import Key


def entropy():
    """Return the key of the first draw after `torch.manual_seed(0)`."""
    torch.manual_seed(0)
    return Key(int(torch.empty((), dtype=torch.int64).random_(-(2**63), None)) % 2**64)


def draw_in(randomness, function, *args, **options):
    torch.manual_seed(0)
    return vmap(function, randomness=randomness, **options)(*args)


def weight(key, *shape):
    return init.normal_(torch.empty(shape), seed=key)


def test_members_that_differ_have_streams_of_their_own():
    drawn = draw_in("different", lambda t: init.normal_(t.clone()), torch.zeros(3, 4, 5))
    for index in range(3):
        assert torch.equal(drawn[index], weight(entropy().fold_in(index), 4, 5))


def test_members_may_lie_along_another_axis():
    drawn = draw_in("different", lambda t: init.normal_(t.clone()), torch.zeros(4, 3, 5), in_dims=1)
    assert torch.equal(drawn[2], weight(entropy().fold_in(2), 4, 5))


def test_vmaps_can_be_nested():
    def inner(t):
        return init.normal_(t.clone())

    drawn = draw_in("different", vmap(inner, randomness="different"), torch.zeros(2, 3, 5))
    assert torch.equal(drawn[1, 2], weight(entropy().fold_in(2).fold_in(1), 5))
    drawn = draw_in("different", vmap(inner, randomness="same"), torch.zeros(2, 3, 5))
    assert torch.equal(drawn[1], weight(entropy().fold_in(1), 5).expand(3, 5))
    drawn = draw_in("same", vmap(inner, randomness="different"), torch.zeros(2, 3, 5))
    assert torch.equal(drawn[:, 2], weight(entropy().fold_in(2), 5).expand(2, 5))


@pytest.mark.parametrize("name", ["orthogonal_", "he_uniform_", "sparse_"])
def test_members_differ_for_all_kinds_of_initializers(name):
    drawn = draw_in(
        "different", lambda t: getattr(init, name)(t.clone(), *[0.2] * (name == "sparse_")), torch.ones(2, 5, 5)
    )
    assert (drawn != 1).all()
    assert not torch.equal(*drawn)


def test_members_are_equal_with_the_randomness_same():
    for fill in (lambda t: init.normal_(t.clone()), lambda t: t + init.normal_(torch.empty(5))):
        assert torch.equal(draw_in("same", fill, torch.zeros(3, 5)), weight(entropy(), 5).expand(3, 5))


@pytest.mark.parametrize("randomness", ["error", "same"])
def test_a_seed_gives_every_member_the_same_weights(randomness):
    drawn = vmap(lambda t: init.normal_(t.clone(), seed=7), randomness=randomness)(torch.zeros(3, 5))
    assert torch.equal(drawn, weight(7, 5).expand(3, 5))


def test_a_seed_is_refused_where_members_must_differ():
    with pytest.raises(ValueError, match=r"seed must be None in a vmap with randomness='different'.* got 7"):
        vmap(lambda t: init.normal_(t.clone(), seed=7), randomness="different")(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="seed must be None in a vmap"):
        vmap(vmap(lambda t: init.normal_(t.clone(), seed=7), randomness="different"), randomness="same")(
            torch.zeros(2, 3, 5)
        )


def test_constants_need_no_stream_of_a_member():
    drawn = vmap(lambda t: init.eye_(t.clone()), randomness="different")(torch.zeros(3, 2, 2))
    assert torch.equal(drawn, torch.eye(2).expand(3, 2, 2))


def test_one_tensor_cannot_hold_the_weights_of_all_members():
    with pytest.raises(RuntimeError, match="tensor must have values for each member of a vmap"):
        draw_in("different", lambda t: t + init.normal_(torch.empty(5)), torch.zeros(3, 5))


def test_a_draw_is_an_error_with_the_randomness_error():
    with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
        vmap(lambda t: init.normal_(t.clone()))(torch.zeros(3, 5))
    with pytest.raises(RuntimeError, match="vmap: "):
        vmap(vmap(lambda t: init.normal_(t.clone()), randomness="different"))(torch.zeros(2, 3, 5))


def test_the_generator_advances_by_one_draw():
    draw_in("different", lambda t: init.normal_(t.clone()), torch.zeros(3, 5))
    after = torch.random.get_rng_state()
    torch.manual_seed(0)
    init.normal_(torch.empty(5))
    assert torch.equal(after, torch.random.get_rng_state())
