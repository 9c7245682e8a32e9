"""Threads: work that this thread shares with helper threads. An exception ends the work."""

import _thread
from collections.abc import Callable, Iterator

from . import config

LEAST = 2**18  # weights that a thread takes at once, at least: fewer do not repay the start of a thread
MOST = 2**21  # at most, between two checks for Ctrl-C: a few huge pages, so that two threads seldom clear the same page

Work = Callable[[int, int], None]  # draws the weights with numbers from first to last - 1
Advance = Callable[[int, int], None]  # called with the weights that are drawn, and all weights


def share(work: Work, weights: int, advance: Advance | None = None) -> None:
    """Call `work(first, last)` for spans of weights until all are done, on this thread and on helpers.

    This thread calls `advance` after each of its spans.
    """
    _in_threads(work, weights, LEAST, MOST, min(config.get_num_threads(), weights // LEAST), advance)


def _in_threads(work: Work, weights: int, least: int, most: int, threads: int, advance: Advance | None = None) -> None:
    """Call `work(first, last)` for all weights, on this thread and on helpers; stop at an exception.

    This thread does not wait for helpers to start: a late helper finds less work. Spans shrink towards the end, so that
    all threads end together.
    """
    spans = iter(list(_spans(weights, least, most, threads)))  # an iterator of a list is safe between threads
    errors: list[BaseException] = []

    def run(busy: _thread.LockType, advance: Advance | None = None) -> None:
        try:
            while True:
                with busy:
                    span = next(spans, None)
                    if span is None or errors:
                        break
                    work(*span)  # noqa: F821 - deleted when all work is done
                if advance is not None:
                    advance(span[1], weights)
        except BaseException as error:
            errors.append(error)

    def wait() -> None:
        # A second Ctrl-C ends a wait, but not the work of the helpers: keep the exception, and wait again.
        waiting = True
        while waiting:
            try:
                for busy in helpers:
                    with busy:
                        pass
                waiting = False
            except BaseException as error:
                errors.append(error)

    helpers = [_thread.allocate_lock() for _ in range(threads - 1)]
    try:
        for busy in helpers:
            try:
                _thread.start_new_thread(run, (busy,))
            except RuntimeError:  # no more threads can start: the existing ones do the work
                break
        run(_thread.allocate_lock(), advance)
        wait()
    except BaseException as error:  # Ctrl-C outside the work
        errors.append(error)
        wait()
    del work  # a thread that has not ended yet must not hold the memory of the caller
    if errors:
        raise errors[0]


def _spans(weights: int, least: int, most: int, threads: int) -> Iterator[tuple[int, int]]:
    first = 0
    while first < weights:
        last = min(first + max(least, min(most, (weights - first) // (2 * threads))), weights)
        yield first, last
        first = last
