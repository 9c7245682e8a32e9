"""Report of the coordinate check: slopes, verdicts, the table and the picture."""

import json
import math

import numpy as np
import pytest

from initlib.diagnostics.coordinates import CoordinateCheck

WIDTHS = [64, 128, 256, 512]


def check(**curves):
    return CoordinateCheck(WIDTHS, [curves], tolerance=0.15)


def test_slopes_are_fitted_by_a_straight_line():
    report = check(**{f"power{power}": [3 * width**power for width in WIDTHS] for power in (-1, -0.5, 0, 0.5, 1)})
    assert [row.slope for row in report.rows] == pytest.approx([-1, -0.5, 0, 0.5, 1])
    assert [row.verdict for row in report.rows] == ["shrinks", "shrinks", "steady", "grows", "grows"]
    logs = np.random.default_rng(0).normal(size=4)
    assert check(noise=np.exp(logs)).rows[0].slope == pytest.approx(np.polyfit(np.log(WIDTHS), logs, 1)[0])


def test_the_check_fails_if_an_activation_shrinks_unless_it_is_a_head_that_learns():
    flat, shrinks, less = [1, 1, 1, 1], [8, 4, 2, 1], [4, 3, 2, 1]
    assert [row.name for row in check(body=shrinks, head=flat).failing] == ["body"]
    start = {"body": flat, "head": shrinks}
    learns = CoordinateCheck(WIDTHS, [start, {"body": flat, "head": less}, start | {"head": flat}], tolerance=0.15)
    assert learns.passed
    stays = CoordinateCheck(WIDTHS, [start, start], tolerance=0.15)
    assert [(row.name, row.step) for row in stays.failing] == [("head", 1)]


def test_the_check_fails_if_an_activation_grows():
    assert check(a=[1, 1, 1, 1], b=[4, 3, 2, 1]).passed
    check(a=[1, 1, 1, 1]).assert_passed()
    bad = CoordinateCheck(WIDTHS, [{"a": [1, 1, 1, 1]}, {"a": [1, 2, 4, 8]}], tolerance=0.15)
    assert [(row.name, row.step) for row in bad.growing] == [("a", 1)]
    with pytest.raises(AssertionError, match=r"change with the width by more than 0\.15:\n  a, step 1: slope \+1\.00"):
        bad.assert_passed()


def test_zeros_have_no_slope_and_infinities_grow():
    rows = check(zero=[0, 0, 0, 0], inf=[1, 1, 1, math.inf], nan=[1, math.nan, 1, 1]).rows
    assert [(row.slope, row.verdict) for row in rows] == [(None, "zero"), (math.inf, "grows"), (math.inf, "grows")]
    assert json.loads(json.dumps(check(a=[1, 1, 1, 1]).to_dicts()))[0]["verdict"] == "steady"


def test_the_picture_has_a_panel_for_each_step():
    pytest.importorskip("matplotlib")
    steps = [{f"layer{k}": [width ** (k / 10) for width in WIDTHS] for k in range(9)} | {"zero": [0.0] * 4}] * 5
    figure = CoordinateCheck(WIDTHS, steps, tolerance=0.15).plot()
    panels = [axes for axes in figure.axes if axes.lines]
    assert len(panels) == 5
    assert [axes.get_title() for axes in panels[:3]] == ["at initialization", "after 1 step", "after 2 steps"]
    assert {(axes.get_xscale(), axes.get_yscale()) for axes in panels} == {("log", "log")}
    assert panels[0].get_ylabel() == "mean |x|"
    assert [axes.get_xlabel() for axes in panels] == ["", "", "width", "width", "width"]
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels[0] == "layer8: +0.80"
    assert len(labels) == 7
    assert "others grey" in legend.get_title().get_text()
    figure.canvas.draw()
