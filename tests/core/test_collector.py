"""Pauses of Python's garbage collector."""

import gc

import pytest

from initlib._collector import collector_paused


def test_the_collector_is_paused_and_runs_again_after_an_error():
    states = [gc.isenabled()]

    @collector_paused()
    def fail():
        states.append(gc.isenabled())
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [*states, gc.isenabled()] == [True, False, True]


def test_a_collector_that_is_off_stays_off():
    gc.disable()
    try:
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
