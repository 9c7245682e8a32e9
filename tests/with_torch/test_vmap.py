"""Draws under `torch.vmap`: the same weights in every member, or each member's own."""

import pytest
import torch
from torch import vmap

import initlib.adapters.torch as init
from initlib import Key


def entropy():
    """The key that `torch.manual_seed(0)` gives the first draw."""
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


def test_members_along_another_axis():
    drawn = draw_in("different", lambda t: init.normal_(t.clone()), torch.zeros(4, 3, 5), in_dims=1)
    assert torch.equal(drawn[2], weight(entropy().fold_in(2), 4, 5))


def test_members_of_members():
    def inner(t):
        return init.normal_(t.clone())

    drawn = draw_in("different", vmap(inner, randomness="different"), torch.zeros(2, 3, 5))
    assert torch.equal(drawn[1, 2], weight(entropy().fold_in(2).fold_in(1), 5))
    drawn = draw_in("different", vmap(inner, randomness="same"), torch.zeros(2, 3, 5))
    assert torch.equal(drawn[1], weight(entropy().fold_in(1), 5).expand(3, 5))
    drawn = draw_in("same", vmap(inner, randomness="different"), torch.zeros(2, 3, 5))
    assert torch.equal(drawn[:, 2], weight(entropy().fold_in(2), 5).expand(2, 5))


@pytest.mark.parametrize("name", ["orthogonal_", "he_uniform_", "sparse_"])
def test_members_differ_whatever_is_drawn(name):
    drawn = draw_in(
        "different", lambda t: getattr(init, name)(t.clone(), *[0.2] * (name == "sparse_")), torch.ones(2, 5, 5)
    )
    assert (drawn != 1).all()
    assert not torch.equal(*drawn)


def test_members_that_are_the_same():
    for fill in (lambda t: init.normal_(t.clone()), lambda t: t + init.normal_(torch.empty(5))):
        assert torch.equal(draw_in("same", fill, torch.zeros(3, 5)), weight(entropy(), 5).expand(3, 5))


@pytest.mark.parametrize("randomness", ["error", "same", "different"])
def test_a_seed_gives_every_member_its_weights(randomness):
    drawn = vmap(lambda t: init.normal_(t.clone(), seed=7), randomness=randomness)(torch.zeros(3, 5))
    assert torch.equal(drawn, weight(7, 5).expand(3, 5))


def test_one_tensor_cannot_hold_the_weights_of_all_members():
    with pytest.raises(RuntimeError, match="tensor is one for all members of a vmap with randomness='different'"):
        draw_in("different", lambda t: t + init.normal_(torch.empty(5)), torch.zeros(3, 5))


def test_randomness_is_an_error_where_vmap_says_so():
    with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
        vmap(lambda t: init.normal_(t.clone()))(torch.zeros(3, 5))
    with pytest.raises(RuntimeError, match="vmap: "):
        vmap(vmap(lambda t: init.normal_(t.clone()), randomness="different"))(torch.zeros(2, 3, 5))


def test_the_generator_moves_on_once():
    draw_in("different", lambda t: init.normal_(t.clone()), torch.zeros(3, 5))
    after = torch.random.get_rng_state()
    torch.manual_seed(0)
    init.normal_(torch.empty(5))
    assert torch.equal(after, torch.random.get_rng_state())
