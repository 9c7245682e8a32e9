"""Timing: every task of a comparison in turn, round after round, so that the machine's mood strikes all alike.

Each sample follows a call that is not timed: what another task left in caches, pages and threads is no part of it.
"""

import statistics
import time
from collections.abc import Callable

Task = Callable[[], object]

LEAST = 0.002  # seconds that one sample lasts at least: a short task is repeated inside it


def interleaved(tasks: dict[str, Task], rounds: int = 7, budget: float = 40.0) -> dict[str, float]:
    """The median seconds of each task, of as many rounds as the budget of seconds allows, and at least one."""
    repeats = {}
    for name, task in tasks.items():
        first = _seconds(task)  # compiles, and starts threads
        repeats[name] = 1 if first > 0.5 else max(1, round(LEAST / _seconds(task)))
    samples: dict[str, list[float]] = {name: [] for name in tasks}
    names = list(tasks)
    began = time.perf_counter()
    for done in range(rounds):
        if done and (time.perf_counter() - began) * (done + 1) / done > budget:
            break
        for name in names[done % len(names) :] + names[: done % len(names)]:
            tasks[name]()
            samples[name].append(_seconds(tasks[name], repeats[name]))
    return {name: statistics.median(values) for name, values in samples.items()}


def _seconds(task: Task, repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        task()
    return (time.perf_counter() - start) / repeats
