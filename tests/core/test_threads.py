"""Helper threads: an exception is raised only after all threads have stopped writing."""

import threading
from types import SimpleNamespace

import pytest

from initlib.stream import threads


class Interrupted:
    """A lock that raises KeyboardInterrupt in the first four waits, as four times Ctrl-C would."""

    left = 4

    def __init__(self):
        self.lock = threading.Lock()

    def __enter__(self):
        if self.lock.locked() and Interrupted.left:
            Interrupted.left -= 1
            if Interrupted.left == 0:
                release.set()
            raise KeyboardInterrupt
        self.lock.acquire()

    def __exit__(self, *error):
        self.lock.release()


release, begun = threading.Event(), threading.Event()


def test_all_helpers_stop_after_any_number_of_interruptions(monkeypatch):
    main, written = threading.get_ident(), []

    def work(first, last):
        if threading.get_ident() == main:
            begun.wait()
        else:
            begun.set()
            release.wait()
        written.append(first)

    fake = SimpleNamespace(
        allocate_lock=Interrupted, start_new_thread=threads._thread.start_new_thread, LockType=threads._thread.LockType
    )
    monkeypatch.setattr(threads, "_thread", fake)
    with pytest.raises(KeyboardInterrupt):
        threads._in_threads(work, 2, 1, 1, 2)
    assert Interrupted.left == 0
    assert sorted(written) == [0, 1]
