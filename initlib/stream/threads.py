"""Threads: one piece of work, shared between this thread and others, that an exception ends."""

import _thread
from collections.abc import Callable, Iterator

from . import config

LEAST = 2**18  # weights that a thread takes at once: what another thread is worth its start for
MOST = 2**21  # and between two looks at Ctrl-C: a few huge pages, so that threads seldom meet in one and both clear it

Work = Callable[[int, int], None]  # draws the blocks from the first to before the last


def share(work: Work, blocks: int, weights: int, total: int) -> None:
    """Do `work(first, last)` for all blocks, of so many weights each, on this thread and, if that pays, on others."""
    if total < 2 * LEAST:
        work(0, blocks)
    else:
        threads = min(config.get_num_threads(), total // LEAST)
        _in_threads(work, blocks, max(1, LEAST // weights), max(1, MOST // weights), threads)


def _in_threads(work: Work, blocks: int, least: int, most: int, threads: int) -> None:
    """Do `work(first, last)` for all blocks, on this thread and on others; stop at an exception.

    Nobody waits for a thread to start: one that comes late finds less to do. The spans shrink towards the end, so that
    all end together.
    """
    spans = iter(list(_spans(blocks, least, most, threads)))  # which two threads may ask at once
    errors: list[BaseException] = []

    def run(busy: _thread.LockType) -> None:
        try:
            while True:
                with busy:
                    span = next(spans, None)
                    if span is None or errors:
                        break
                    work(*span)  # noqa: F821 - it is deleted when nothing is left to do
        except BaseException as error:
            errors.append(error)

    def wait() -> None:
        # Whatever ends a wait, a second Ctrl-C or a third, does not end the work of the others: it is kept for later,
        # and the wait begins again.
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
            except RuntimeError:  # there can be no more threads: those that there are do it
                break
        run(_thread.allocate_lock())
        wait()
    except BaseException as error:  # Ctrl-C outside the work
        errors.append(error)
        wait()
    del work  # a thread that still has to end must not hold the caller's memory
    if errors:
        raise errors[0]


def _spans(blocks: int, least: int, most: int, threads: int) -> Iterator[tuple[int, int]]:
    first = 0
    while first < blocks:
        last = min(first + max(least, min(most, (blocks - first) // (2 * threads))), blocks)
        yield first, last
        first = last
