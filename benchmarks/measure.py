"""Timing: the tasks of a comparison run in turn, in many rounds, so that changes of the machine affect all equally.

Each sample follows a call that is not timed, so that caches, pages and threads are in the state of this task.
"""

import statistics
import time
from collections.abc import Callable

Task = Callable[[], object]

LEAST = 0.002  # seconds that one sample lasts at least: a short task is repeated inside it


def interleaved(tasks: dict[str, Task], rounds: int = 7, budget: float = 40.0) -> dict[str, float]:
    """Return the median seconds of each task, over as many rounds as the budget allows, at least one."""
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
