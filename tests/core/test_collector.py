"""Pauses of Python's garbage collector."""

import gc
import warnings

import pytest

from initlib import _collector
from initlib._collector import collector_paused, pausing_collector
from initlib._user_warning import warn


def test_the_collector_is_paused_and_runs_again_after_an_error():
    states = [gc.isenabled()]

    @pausing_collector
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


def test_a_function_that_pauses_the_collector_keeps_its_signature_and_its_warnings_point_at_the_caller():
    @pausing_collector
    def double(number: int) -> int:
        """Double a number."""
        warn("doubled")
        return 2 * number

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert double(number=3) == 6
    assert caught[0].filename == __file__
    assert (double.__name__, double.__doc__) == ("double", "Double a number.")
    with pytest.raises(TypeError, match="numbre"):
        double(numbre=3)


def test_the_objects_of_a_call_are_freed_before_the_collector_runs():
    seen = []

    class Local:
        def __del__(self):
            seen.append(gc.isenabled())

    @pausing_collector
    def use():
        local = Local()
        return local is not None

    assert use()
    assert seen == [False]


def test_an_interrupt_just_after_the_collector_was_paused_ends_the_pause(monkeypatch):
    class Interrupting:
        isenabled, enable = staticmethod(gc.isenabled), staticmethod(gc.enable)

        @staticmethod
        def disable():
            gc.disable()
            raise KeyboardInterrupt

    monkeypatch.setattr(_collector, "gc", Interrupting)
    try:
        with pytest.raises(KeyboardInterrupt), collector_paused():
            pass
        assert gc.isenabled()
    finally:
        gc.enable()
