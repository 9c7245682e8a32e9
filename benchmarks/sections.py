"""Sections of measurements: each returns the median seconds, or another figure, by case and contender."""

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

import initlib

from . import peers
from .measure import Task, interleaved
from .models import MODELS, stored_for_torch
from .peers import OURS, REFERENCE, TORCH

Results = dict[str, dict[str, float]]

LARGE, MEDIUM, TINY = (4096, 8192), (784, 128), (16, 16)
CONV = (512, 512, 3, 3)
MEMORY_ALONE = "no draw: all threads fill the memory"
CAP, FULL_CAP = 26, 30  # of growth, as powers of two
ON_THE_WAY = 5  # times the weight's own size is more than any contender takes while it draws


def name_of(scheme: str, shape: tuple[int, ...], dtype: str = "float32") -> str:
    return f"{scheme} {dtype} {'x'.join(map(str, shape))}"


CASES = [(scheme, LARGE, dtype) for dtype in ("float32", "bfloat16") for scheme in list(peers.SCHEMES)[:3]]
CASES += [("he_normal", MEDIUM, "float32"), ("he_normal", TINY, "float32")]


def in_place(full: bool) -> Results:
    """Measure a large, a medium and a tiny weight, into memory that was written before."""
    return {name_of(*case): interleaved(peers.tasks(*case, fresh=False)) for case in CASES}


def fresh(full: bool) -> Results:
    """Measure the same weights into fresh memory."""
    return {name_of(*case): interleaved(peers.tasks(*case)) for case in CASES}


def adapters(full: bool) -> Results:
    """Measure each framework's own initializer, and the adapter's inside that framework."""
    pairs = [(own, adapter) for own, adapter in peers.IN.items() if own in peers.INSTALLED]
    cases = [(scheme, shape) for scheme in ("he_normal", "glorot_uniform") for shape in (LARGE, MEDIUM, TINY)]
    results: Results = {name_of(*case): {} for case in cases}
    for case in cases:
        for pair in pairs:
            results[name_of(*case)] |= interleaved(peers.tasks(*case, names=list(pair)))
    return results


def reference(full: bool) -> Results:
    """Measure without the compiled kernel, as on a machine without a compiler."""
    shape = (1024, 1024)
    return {name_of("he_normal", shape): interleaved(peers.tasks("he_normal", shape, names=[OURS, REFERENCE, TORCH]))}


def storage(full: bool) -> Results:
    """Measure other storage orders and boxes of a weight, against a plain draw."""
    draw = initlib.he_normal
    out = np.zeros(LARGE[::-1], np.float32).T
    warm = np.zeros(LARGE, np.float32)
    rows, columns = LARGE

    def memory_alone() -> None:
        fresh = np.empty(LARGE, np.float32)
        parts = np.array_split(fresh, initlib.get_num_threads())
        threads = [threading.Thread(target=part.fill, args=(1,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return {
        "4096x8192": interleaved(
            {
                "plain": lambda: draw(LARGE, seed=0),
                "OI": lambda: draw(LARGE[::-1], seed=0, axes="OI"),
                "(4 O)I": lambda: draw((4 * columns, rows // 4), seed=0, axes="(4 O)I"),
                "column-major out": lambda: draw(LARGE, seed=0, out=out),
                "warm out": lambda: draw(LARGE, seed=0, out=warm),
                MEMORY_ALONE: memory_alone,
                "1/8 of the rows": lambda: draw(LARGE, seed=0, index=slice(rows // 8)),
                "1/8 of the columns": lambda: draw(LARGE, seed=0, index=(slice(None), slice(columns // 8))),
            },
            rounds=9,
        ),
        "512x512x3x3": interleaved(
            {
                "plain": lambda: draw((*CONV[2:], *CONV[:2]), seed=0),
                "OIHW": lambda: draw(CONV, seed=0, axes="OIHW"),
            },
            rounds=15,
        ),
    }


def models(full: bool) -> Results:
    """Measure every weight matrix of a model, with the scheme of that model."""
    results = {}
    for model, (scheme, shapes) in MODELS.items():
        tasks: dict[str, Task] = {}
        for peer in (name for name in peers.COMPARED if name != peers.JAX):
            stored = [stored_for_torch(shape) if peer == TORCH else shape for shape in shapes]
            made = {shape: peers.tasks(scheme, shape, names=[peer])[peer] for shape in set(stored)}

            def every(made: dict[tuple[int, ...], Task] = made, stored: list[tuple[int, ...]] = stored) -> None:
                for shape in stored:
                    made[shape]()

            tasks[peer] = every
        results[f"{model} ({scheme}, {sum(map(math.prod, shapes)) / 1e6:.0f}M)"] = interleaved(tasks, 3, 10.0)
    return results


def growth(full: bool) -> Results:
    """Measure he_normal from 2**8 weights on."""
    results = {}
    names = [name for name in peers.COMPARED if name != peers.JAX]
    for power in range(8, (FULL_CAP if full else CAP) + 1, 2):
        if power <= CAP:
            results[str(2**power)] = interleaved(peers.tasks("he_normal", _square(power), names=names), 5, 5.0)
        elif ON_THE_WAY * 4 * 2**power < _available():
            results[str(2**power)] = {name: float(_child("growth_here", name, power)) for name in names}
    return results


def growth_here(peer: str, power: int) -> float:
    """Measure one contender in a process of its own, which returns all memory."""
    return interleaved(peers.tasks("he_normal", _square(power), names=[peer]), 3, 5.0)[peer]


def _square(power: int) -> tuple[int, int]:
    return 2 ** (power // 2), 2 ** (power - power // 2)


def _available() -> int:
    """Return the bytes of memory that are available to a program."""
    meminfo = Path("/proc/meminfo")
    return 1024 * _kibibytes(meminfo.read_text(), "MemAvailable") if meminfo.exists() else 0


def one_thread(full: bool) -> Results:
    """Measure the large weight on one processor, in a process bound to it."""
    if not hasattr(os, "sched_setaffinity"):
        return {}
    return json.loads(_child("one_thread_here"))


def one_thread_here() -> Results:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    initlib.set_num_threads(1)
    cases = [(scheme, LARGE, "float32") for scheme in list(peers.SCHEMES)[:3]]
    return {name_of(*case): interleaved(peers.tasks(*case, fresh=False), 3) for case in cases}


def imports(full: bool) -> Results:
    """Measure the import of each package in a fresh interpreter, with modules compiled before."""
    modules = ["numpy", "initlib"]
    modules += [name for name in ("torch", "tensorflow", "jax") if any(name in MAKER[0] for MAKER in _installed())]
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    timed = "import time; s = time.perf_counter(); import {0}; print(time.perf_counter() - s)"
    beyond = "import numpy, time; s = time.perf_counter(); import initlib; print(time.perf_counter() - s)"
    programs = {name: timed.format(name) for name in modules} | {"initlib beyond numpy": beyond}
    samples: dict[str, list[float]] = {name: [] for name in programs}
    for done in range(12):
        for name, program in programs.items():
            if done < 3 or name in ("numpy", "initlib", "initlib beyond numpy"):
                ran = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True)
                samples[name].append(float(ran.stdout))
    return {"import": {name: statistics.median(values[1:]) for name, values in samples.items()}}


def _installed() -> list[tuple[str, Callable[..., Task | None]]]:
    return [peers.MAKERS[name] for name in peers.INSTALLED]


def memory(full: bool) -> Results:
    """Measure the peak memory of a draw of 2**26 weights, relative to the size of the weight."""
    if not Path("/proc/self/clear_refs").exists():
        return {}
    return {"he_normal of 2**26 weights": {name: float(_child("memory_here", name)) for name in peers.COMPARED}}


def memory_here(peer: str) -> float:
    shape = (2**13, 2**13)
    peers.tasks("he_normal", (64, 64), names=[peer])[peer]()  # memory that it takes only once
    task = peers.tasks("he_normal", shape, names=[peer])[peer]
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    status = Path("/proc/self/status")
    before = _kibibytes(status.read_text(), "VmRSS")
    kept = task()
    assert kept is not None
    return (_kibibytes(status.read_text(), "VmHWM") - before) * 1024 / (4 * math.prod(shape))


def _kibibytes(status: str, field: str) -> int:
    return int(next(line for line in status.splitlines() if line.startswith(field)).split()[1])


def _child(function: str, *arguments: str | int) -> str:
    """Return the result of a function of this module, called in a fresh process."""
    program = f"import json; from benchmarks import sections; print(json.dumps(sections.{function}(*{arguments!r})))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    return ran.stdout.splitlines()[-1]


def load() -> list[float]:
    """Return the load average over the last 1, 5 and 15 minutes."""
    return [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else []


def processor_seconds() -> tuple[float, float]:
    """Return the processor seconds so far, of this process with its children, and of all processes."""
    own = sum(resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime for who in (0, -1))
    stat = Path("/proc/stat")
    if not stat.exists():
        return own, own
    ticks = [int(field) for field in stat.read_text().splitlines()[0].split()[1:8]]
    idle = ticks[3] + ticks[4]
    return own, (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK")


SECTIONS = (in_place, fresh, adapters, reference, storage, models, growth, one_thread, imports, memory)
