"""Arithmetic of the benchmarks on given numbers, without any timing."""

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import measure, models, peers, report, targets


def results(own_seconds):
    case = {peers.OURS: own_seconds, peers.TORCH: 1.0, peers.FLOOR: 0.01}
    return {
        "in_place": {targets.TARGETS[0].case: case},
        "fresh": {targets.TARGETS[0].case: case},
        "storage": {"4096x8192": {"plain": 1.0, "OI": 1.2}},
        "imports": {"import": {"initlib beyond numpy": 0.03}},
    }


@pytest.mark.parametrize(
    ("own_seconds", "holds"), [(1 / 61, [True, True]), (1 / 59, [False, True]), (0.021, [False, False])]
)
def test_a_target_holds_or_not(own_seconds, holds):
    rows = targets.check(results(own_seconds))
    assert [row.holds for row in rows[:2]] == holds
    assert [(row.draw, row.holds) for row in rows[2:]] == [("4096x8192: OI", True), ("import initlib", False)]


def test_the_page_has_a_row_for_each_target():
    rows = targets.check(results(0.02))
    page = report.page({"machine": {"processor": "a"}, "results": results(0.02), "targets": rows})
    assert page.count("| yes |") + page.count("| **no** |") == len(rows) == 4
    assert "20 ms | 1 s (50 x)" in page


def test_every_task_of_a_comparison_runs():
    ran = []
    seconds = measure.interleaved({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, rounds=3)
    assert set(seconds) == set(ran) == {"a", "b"}


@pytest.mark.parametrize(("model", "millions"), [("ResNet-50", 25.5), ("ViT-B/16", 86.4), ("GPT-2 124M", 124.3)])
def test_the_models_have_their_size(model, millions):
    assert sum(map(math.prod, models.MODELS[model].shapes)) / 1e6 == pytest.approx(millions, abs=0.15)


def test_shapes_of_torch_are_output_first():
    assert models.stored_for_torch((3, 4, 5, 6)) == (6, 5, 3, 4)
    assert models.stored_for_torch((5, 6)) == (6, 5)
