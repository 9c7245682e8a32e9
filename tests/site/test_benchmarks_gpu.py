"""Page on GPUs: its arithmetic, and the numbers of a GPU, without any timing."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import card
from benchmarks.gpu.code import TARGETS, Code

HALF = Code(("IMAD.IADD",) * 400 + ("LOP3.LUT",) * 400, 8, 32, 0, 0, "")
CODES = {name: dict.fromkeys(TARGETS, HALF) for name in gpu.CASES}


def test_the_counted_time_follows_from_the_instructions():
    """Two pipes in step take half as long as one instruction after another, if each has half of them."""
    least, most = gpu.on_paper(HALF)
    assert most == pytest.approx(1e3 * 2**25 * 100 / (132 * 64 * 1.755e9))
    assert least == pytest.approx(most / 2)
    assert gpu.on_paper(HALF._replace(instructions=("LOP3.LUT",) * 800))[0] == pytest.approx(most)


def test_the_page_without_a_gpu_has_no_measured_times():
    page = gpu.page(CODES, [])
    assert page.count("| 100, 32, 0 | 100, 32, 0 | 100, 32, 0 |") == len(CODES)
    assert "Not measured" in page


class Event:
    """An event of a GPU on which every draw takes 2 ms, and a draw of initlib 1 ms."""

    now = 0.0

    def __init__(self, enable_timing):
        pass

    def record(self):
        self.at = Event.now

    def synchronize(self):
        pass

    def elapsed_time(self, end):
        return end.at - self.at


def test_the_page_with_a_gpu_has_measured_times(monkeypatch):
    def taking(milliseconds):
        def draw(weight):
            Event.now += milliseconds

        return draw

    monkeypatch.setattr(
        card, "PAIRS", {"a": card.Pair(taking(1.0), taking(2.0), 1.0), "b": card.Pair(taking(9.0), taking(1.0), 8.0)}
    )
    monkeypatch.setattr(card, "ROUNDS", 3)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(gpu, "describe", lambda device: "Triton kernel")
    page = gpu.page(CODES, list(card.rows()))
    assert "a card, 4096 x 8192 weights, drawn by the Triton kernel" in page
    assert "| a | float32 | 1.000 | 2.000 | 0.50 | at most 1: yes |" in page
    assert "| b | bfloat16 | 9.000 | 1.000 | 9.00 | at most 8: **no** |" in page
