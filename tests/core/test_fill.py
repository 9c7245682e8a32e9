"""The fill of many tensors by one call: the bits of each tensor alone, all checks first, threads, Ctrl-C, forks."""

import os
import subprocess
import sys

import numpy as np
import pytest
from endless_draws import assert_ctrl_c_stops

from initlib import (
    Key,
    Parameter,
    constant,
    glorot_uniform,
    he_normal,
    keep,
    log_uniform,
    normal,
    orthogonal,
    parts,
    plan,
    truncated_normal,
    uniform,
    values,
    zeros,
)
from initlib.plans.fill import Fills, fill_arrays
from initlib.stream import config, threads
from initlib.stream.kernel import memory_of

PATHS = ["0", *(config.kernel.paths() if config.kernel is not None else ())]
RULES = {
    "*.bias": constant(-0.0),
    "*.half": truncated_normal(0.5, 0.1),
    "*.brain": uniform(-1.0, 3.0),
    "*.wide": normal(1.0, 0.5) * 0.3,
    "*.tail": truncated_normal(low=6.0, high=7.0),
    "*.point": truncated_normal(std=0.0),
    "*.step": log_uniform(1e-3, 0.1),
    "*.given": values(np.arange(35.0).reshape(5, 7)),
    "*.square": orthogonal(),
    "*.fused": parts({"q": (1, he_normal), "k": (1, zeros), "v": (1, glorot_uniform)}, groups=1, replaces=1),
    "*.mixed": parts({"mq": (1, orthogonal()), "mk": (1, normal()), "mv": (1, constant(2.0))}),
    "*.kept": keep,
}


def model(layers=3):
    """The parameters of a model with fills of every kind, in every dtype."""
    made = [Parameter("empty.weight", (0, 7), axes="OI", kind="kernel")]
    for i in range(layers):
        made += [
            Parameter(f"{i}.weight", (5, 7), axes="OI", kind="kernel"),
            Parameter(f"{i}.conv", (6, 2, 3, 3), axes="(2 O)IHW", kind="kernel"),
            Parameter(f"{i}.bias", (5,), kind="bias"),
            Parameter(f"{i}.half", (5, 7), "float16", kind="kernel", axes="IO"),
            Parameter(f"{i}.brain", (70, 3), "bfloat16", kind="kernel", axes="OI"),
            Parameter(f"{i}.wide", (5, 7), "float64", kind="kernel", axes="IO"),
            Parameter(f"{i}.tiny", (5, 7), "float8_e5m2", kind="kernel", axes="IO"),
            Parameter(f"{i}.complex", (5, 7), "complex64", kind="kernel", axes="IO"),
            *(Parameter(f"{i}.{name}", (5, 7), kind="other") for name in ("tail", "point", "step", "given")),
            Parameter(f"{i}.table", (9, 4), kind="table", padding=2),
            Parameter(f"{i}.row", (1, 4), kind="table", padding=0),
            Parameter(f"{i}.square", (5, 7), axes="OI", kind="kernel"),
            Parameter(f"{i}.fused", (15, 7), axes="OI", kind="kernel"),
            Parameter(f"{i}.mixed", (15, 7), axes="OI", kind="kernel"),
            Parameter(f"{i}.kept", (5,), kind="other"),
        ]
    return plan(made, RULES, default=he_normal)


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    monkeypatch.setattr(config, "kernel", None if request.param == "0" else config.kernel)
    monkeypatch.setattr(config, "path", max(0, PATHS.index(request.param) - 1))


@pytest.mark.usefixtures("path")
@pytest.mark.filterwarnings("ignore:.*holds no weights")
@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_one_call_gives_each_tensor_the_bits_that_it_has_alone(count, monkeypatch):
    """In spans of a few weights, so that threads share tensors."""
    made = model()
    alone = {entry.parameter.name: entry.draw(Key(5)) for entry in made.entries if not entry.kept}
    monkeypatch.setattr(threads, "LEAST", 8)
    monkeypatch.setattr(threads, "MOST", 64)
    monkeypatch.setattr(config, "_threads", count)
    together = made.draw(5)
    assert together.keys() == alone.keys()
    for name, array in alone.items():
        assert (together[name].dtype, together[name].shape) == (array.dtype, array.shape), name
        assert together[name].tobytes() == array.tobytes(), name


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -0.1, 1e-7, 60000.0])
def test_constants_of_a_list_have_the_bits_of_one_constant(value, dtype):
    shape = (3, 67)
    made = plan([Parameter(f"{k}", shape, dtype, kind="other") for k in range(3)], constant(value))
    for array in made.draw(0).values():
        assert array.tobytes() == constant(value)(shape, dtype).tobytes()


@pytest.mark.usefixtures("path")
def test_arrays_of_any_strides_and_boxes_of_tensors_are_filled_in_place():
    made = plan([Parameter("a", (40, 50), axes="OI", kind="kernel"), Parameter("b", (8, 9), kind="table")], he_normal)
    full = made.draw(3)
    memory = np.zeros((80, 150), np.float32)
    out, rows, empty = memory[::2, ::3], np.zeros((3, 50), np.float32), np.zeros((0, 50), np.float32)
    reverse, table = np.zeros((40, 50), np.float32)[::-1, ::-1], np.zeros((8, 9), np.float32)
    index = slice(30, 20, -4)
    a, b = made.entries
    targets = [(a, ..., out), (a, index, rows), (a, slice(3, 3), empty), (a, ..., reverse), (b, ..., table)]
    fill_arrays(targets, Key(3))
    assert np.array_equal(out, full["a"])
    assert np.array_equal(rows, full["a"][index])
    assert np.array_equal(reverse, full["a"])
    assert np.array_equal(table, full["b"])
    out[...] = 0
    assert not memory.any()


@pytest.mark.skipif(config.kernel is None, reason="the reference fills arrays of any alignment")
def test_nothing_is_written_if_the_last_of_many_arrays_is_refused():
    made = plan([Parameter(f"{k}", (4, 6), axes="IO", kind="kernel") for k in range(6)], he_normal)
    arrays = [np.zeros((4, 6), np.float32) for _ in range(5)]
    unaligned = np.frombuffer(bytearray(4 * 24 + 1), np.uint8)[1:].view(np.float32).reshape(4, 6)
    for last in (unaligned, np.broadcast_to(np.zeros(6, np.float32), (4, 6))):
        with pytest.raises(ValueError, match=r"out must (be aligned|not overlap)"):
            fill_arrays([(entry, ..., out) for entry, out in zip(made.entries, [*arrays, last], strict=True)], Key(0))
    read_only = np.frombuffer(bytes(4 * 24), np.float32).reshape(4, 6)
    with pytest.raises((ValueError, BufferError), match="read-only"):
        fill_arrays([(entry, ..., out) for entry, out in zip(made.entries, [*arrays, read_only], strict=True)], Key(0))
    assert not any(array.any() for array in arrays)


@pytest.mark.usefixtures("path")
def test_progress_counts_the_bytes_of_all_tensors(monkeypatch):
    monkeypatch.setattr(threads, "LEAST", 8)
    monkeypatch.setattr(threads, "MOST", 64)
    made, seen = model(), []
    filled = [entry for entry in made.entries if not entry.kept and entry.parameter.size]
    drawn = [(entry, ..., entry.new_array(entry.parameter.shape)) for entry in filled]
    fills = Fills(Key(0), memory_of)
    fills.add(drawn)
    fills.fill(lambda entry, index, out: entry.draw(Key(0), index, out), lambda *both: seen.append(both))
    total = sum(array.nbytes for _, _, array in drawn)
    assert {all_ for _, all_ in seen} == {total}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (total, total)
    assert len(seen) > 3


@pytest.mark.skipif(config.kernel is None, reason="the reference draws on one thread")
def test_one_thread_draws_the_list_if_no_other_can_start(monkeypatch):
    def refused(function, arguments):
        raise RuntimeError("can't start new thread")

    made = plan([Parameter(f"{k}", (300, 700), axes="IO", kind="kernel") for k in range(6)], he_normal)
    expected = made.draw(1)
    monkeypatch.setattr(threads._thread, "start_new_thread", refused)
    assert all(np.array_equal(array, expected[name]) for name, array in made.draw(1).items())


def test_values_are_drawn_while_no_other_array_of_values_lives(monkeypatch):
    """`Entry.requests` may read each array from a file."""
    made = model()
    living, most = 0, 0

    class Values(np.ndarray):
        def __del__(self):
            nonlocal living
            living -= 1

    def counted(entry, key, index=...):
        nonlocal living, most
        for place, source, request in requests(entry, key, index):
            if isinstance(source, np.ndarray):
                source = source.copy().view(Values)
                living += 1
                most = max(most, living)
            yield place, source, request
            del source

    requests = type(made.entries[0]).requests
    monkeypatch.setattr(type(made.entries[0]), "requests", counted)
    made.draw(0)
    assert 1 <= most <= 2


LIST = """
import numpy as np
from initlib import Key, Parameter, he_normal, plan, set_num_threads
from initlib.plans.fill import fill_arrays

made = plan([Parameter(f"{k}", (256, 1024), axes="IO", kind="kernel") for k in range(8)], he_normal)
arrays = [np.zeros((256, 1024), np.float32) for _ in made.entries]
targets = [(entry, ..., array) for entry, array in zip(made.entries, arrays, strict=True)]
set_num_threads(3)
"""

FORKED = """
import os
import threading

expected = [entry.draw(Key(0)) for entry in made.entries]
working = threading.Thread(target=lambda: [fill_arrays(targets, Key(0)) for _ in range(20)])
working.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        copies = [(entry, index, np.zeros_like(array)) for entry, index, array in targets]
        fill_arrays(copies, Key(0))
        os._exit(not all(np.array_equal(copy, right) for (_, _, copy), right in zip(copies, expected, strict=True)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
working.join()
print(all(map(np.array_equal, arrays, expected)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("kernel", ["", "0"])
def test_ctrl_c_ends_the_fill_of_a_list(kernel):
    assert_ctrl_c_stops(LIST + "draw = lambda: fill_arrays(targets, Key(0))", kernel)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_process_that_forks_while_threads_fill_a_list_and_its_children_can_fill_lists():
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", LIST + FORKED]
    assert subprocess.run(program, capture_output=True, text=True, timeout=120, check=True).stdout == "True\n"
