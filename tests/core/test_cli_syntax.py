"""Shapes, initializers and rules as text on the command line."""

import argparse

import pytest

import initlib
from initlib.__main__ import main
from initlib.cli import syntax
from initlib.plans.text.describe import described, presets


@pytest.mark.parametrize(
    ("text", "initializer"),
    [
        ("he_normal", initlib.he_normal),
        ("kaiming_uniform", initlib.he_uniform),
        ("zeros", initlib.zeros),
        ("normal", initlib.normal()),
        ("normal:", initlib.normal()),
        ("normal:std=0.02", initlib.normal(std=0.02)),
        ("normal:1,std=2e-2", initlib.normal(1, 0.02)),
        ("truncated_normal:low=-1", initlib.truncated_normal(low=-1)),
        ("constant:0.5", initlib.constant(0.5)),
        ("uniform:-0.05,0.05", initlib.uniform(-0.05, 0.05)),
        ("scaled:he_normal,0.5", initlib.scaled(initlib.he_normal, 0.5)),
        ("siren:first=True", initlib.siren(first=True)),
        ("variance_scaling:2,FAN_OUT,distribution=uniform", initlib.variance_scaling(2, "fan_out", "uniform")),
    ],
)
def test_initializers_are_read(text, initializer):
    assert syntax.initializer(text) == initializer


@pytest.mark.parametrize("argument", ["normal(std=0.02)", "he_normal", "normal(std=0.02) * 0.25"])
def test_initializers_are_read_as_tables_print_them(argument):
    assert described(syntax.initializer(argument)) == argument


@pytest.mark.parametrize(
    "initializer",
    [
        initlib.truncated_normal(std=0.5, low=-float("inf"), high=2),
        initlib.variance_scaling(2, "fan_out", "uniform"),
        initlib.icnr(initlib.he_normal * 0.5, 2),
        initlib.sparse(0.25, std=0.5),
        initlib.inverse_softplus(initlib.log_uniform(0.001, 0.1)),
        initlib.orthogonal(2) * 0.125,
        initlib.glorot_uniform,
    ],
    ids=described,
)
def test_printed_initializers_can_be_read_back(initializer):
    assert syntax.initializer(described(initializer)) == initializer
    assert syntax.initializer(repr(initializer)) == initializer


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ('pass axes={"*.gate": "OI"}.', "pass --axes '*.gate=OI'."),
        ("pass axes='OI'", "pass --axes 'OI'"),
        ("pass overwrite=True to replace it", "pass --overwrite to replace it"),
        ('{"*.gamma": ones}  # all 1', "--rule '*.gamma=ones'  # all 1"),
        ("got {}", "got {}"),
    ],
)
def test_messages_name_the_options_of_the_command_line(message, options):
    assert syntax.as_options(message) == options


def test_every_initializer_of_the_package_is_offered(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["draw", "--help"])
    shown = capsys.readouterr().out
    offered = {*presets(), *syntax.factories()}
    assert {"glorot_normal", "ones", "normal", "uniform", "variance_scaling"} <= offered
    assert offered.isdisjoint({"Initializer", "Key", "Fans", "fans", "get_num_threads"})
    assert all(name in shown for name in offered)


@pytest.mark.parametrize("shape", ["", "3xx4", "3,4", "-3x4", "1.5", "²"])
def test_a_text_that_is_not_a_shape_is_an_error(capsys, shape):
    with pytest.raises(SystemExit, match="2"):
        main(["fans", "--", shape])
    assert f"sizes joined by x, such as 64x32x3x3, got {shape!r}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1),
        ("-2", -2),
        ("1e3", 1000.0),
        ("inf", float("inf")),
        ("True", True),
        ("None", None),
        ("ones", initlib.ones),
        ("fan_out", "fan_out"),
        ("9" * 30, 1e30),
        ("9" * 400, float("inf")),
        ("(1, -2)", (1, -2)),
    ],
)
def test_values_of_rules_are_read(written, value):
    read = syntax._value(syntax._parsed(written), written)
    assert (read, type(read)) == (value, type(value))


def test_pairs_of_pattern_and_value_are_read():
    assert syntax.pair("*norm*=constant:value=1") == ("*norm*", "constant:value=1")
    for wrong in ("", "=", "a=", "=a", "no equals sign", "\udcff=ones"):
        with pytest.raises(argparse.ArgumentTypeError, match="must be"):
            syntax.pair(wrong)
