"""Wrong arguments of `plan`: each error shows a correct argument."""

import re
from pathlib import Path

import numpy as np
import pytest
from plans import kernel

from initlib import Key, Parameter, PlanError, he_normal, ones, plan, recipes, zeros

NOT_RULES = "rules must be a mapping from patterns to fills, an initializer, a recipe, or a list of these"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"parameters": ["kernel"]},
            TypeError,
            "parameters must be made of initlib.Parameter, got str. For a model, call",
        ),
        (
            {"rules": {"*": 3}},
            TypeError,
            "rules of '*' must be an initializer, keep, values(...), parts(...) or loaded(...), got 3",
        ),
        ({"rules": {3: ones}}, TypeError, "rules must have globs or compiled regular expressions as patterns, got 3"),
        (
            {"rules": 3},
            TypeError,
            NOT_RULES + ", got 3",
        ),
        (
            {"rules": lambda parameters: ones},
            TypeError,
            NOT_RULES + ", got constant",
        ),
        (
            {"rules": ["*"]},
            TypeError,
            NOT_RULES + ", got '*'",
        ),
        ({"default": "he"}, TypeError, "default must be an initializer"),
        ({"axes": {"*": "OX!"}}, ValueError, "got '!' in 'OX!'"),
        ({"axes": {"*": 3}}, TypeError, "axes of '*' must be a string such as 'OIHW' or '(3 O)I', got 3"),
        ({"axes": {"*": "OIH"}}, PlanError, "kernel: axes must name 2 axes for shape (8, 4), got 'OIH' with 3"),
        ({"rename": 3}, TypeError, "rename must be a mapping by pattern or a function of the name, got 3"),
        ({"rename": lambda name: None}, PlanError, "kernel: name must be a string, got None"),
    ],
)
def test_wrong_arguments_are_errors(arguments, error, message):
    with pytest.raises(error) as caught:
        plan(**{"parameters": [kernel()], "rules": {"*": he_normal}, **arguments})
    assert message in str(caught.value)


def kaiming_normal_(tensor):
    """Stand in for the function of torch.nn.init."""


kaiming_normal_.__module__ = "torch.nn.init"


SLIPS = [
    ({"*": "he_normal"}, TypeError, "got 'he_normal'. Write he_normal, without quotes"),
    ({"*": "normal"}, TypeError, "got 'normal'. Write normal(...), without quotes"),
    ({"*": np.ones((2, 3))}, TypeError, "got ndarray of shape (2, 3). Write values(array)"),
    ({"*": "gpt2"}, TypeError, "got 'gpt2'. Call the recipe: recipes.gpt2(...)"),
    (
        {"*": "nothing"},
        TypeError,
        "must be an initializer, keep, values(...), parts(...) or loaded(...), got 'nothing'",
    ),
    ({"*": kaiming_normal_}, TypeError, 'Write variance_scaling(2.0, "fan_in", "normal")'),
    (
        {Parameter: ones},
        TypeError,
        'Write "*.weight:Parameter" for the weights of a class, or "*:Parameter" for its biases too',
    ),
    (
        ["*", ones],
        TypeError,
        NOT_RULES + ", got '*'",
    ),
    ({}, PlanError, 'no rule matches, and there is no default. Add the rule {"*.weight": he_normal}, or pass'),
    (
        "gpt2",
        TypeError,
        NOT_RULES + ", got 'gpt2'. Call the recipe: recipes.gpt2(...)",
    ),
    ("he_normal", TypeError, "got 'he_normal'. Write he_normal, without quotes"),
    ("old.safetensors", TypeError, "got 'old.safetensors'. For a checkpoint, write {\"*\": loaded('old.safetensors')}"),
    ("runs/old", TypeError, "For a checkpoint, write {\"*\": loaded('runs/old')}"),
    (Path("old"), TypeError, "For a checkpoint, write {\"*\": loaded('old')}"),
    ({"*": "old.safetensors"}, TypeError, "For a checkpoint, write loaded('old.safetensors')"),
    ({"*": Path("old")}, TypeError, "For a checkpoint, write loaded('old')"),
    (
        0,
        TypeError,
        NOT_RULES + ", got 0. Pass the seed by name: seed=0",
    ),
    (Key(3), TypeError, "Pass the seed by name: seed=Key(seed=3)"),
    ("plan.json", TypeError, "For a stored plan, pass Plan.load('plan.json')"),
    (recipes.gpt2, TypeError, "rules must be the result of a recipe, got the function. Call recipes.gpt2(...)"),
    ([{"*": ones}, recipes.gpt2], TypeError, "Call recipes.gpt2(...)"),
    (
        {"fc1": ones},
        PlanError,
        "rule 'fc1' matches nothing, but names a module. Write 'fc1.*' for the module's parameters",
    ),
    (
        {re.compile("fc1"): ones},
        PlanError,
        "matches nothing: an expression must match the full name. Write re.compile('.*fc1.*')",
    ),
    (
        {re.compile(r"1\.w"): ones},
        PlanError,
        r"rule re.compile(r'1\.w') matches nothing: an expression must match the full name. "
        r"Write re.compile(r'.*1\.w.*')",
    ),
]


@pytest.mark.parametrize(("rules", "error", "message"), SLIPS, ids=[message for _, _, message in SLIPS])
def test_frequent_mistakes_get_advice(rules, error, message):
    with pytest.raises(error) as caught:
        plan([kernel("fc1.weight")], rules)
    assert message in str(caught.value)


def test_a_text_of_axes_gets_advice():
    with pytest.raises(TypeError, match=r"""got 'OI'\. Write axes={"\*": 'OI'} for all matrices"""):
        plan([Parameter("w", (3, 3))], he_normal, axes="OI")


def test_a_plan_in_place_of_rules_or_parameters_is_an_error():
    made = plan([Parameter("a", (2,))], zeros)
    with pytest.raises(TypeError, match=r"rules must be .*, got Plan.* call initialize\(model, plan, seed\)"):
        plan([Parameter("a", (2,))], made)
    with pytest.raises(TypeError, match=r"parameters must be an iterable of initlib.Parameter, got Plan"):
        plan(made, zeros)


def test_a_model_in_place_of_parameters_names_the_adapter():
    with pytest.raises(TypeError, match=r"got int\. For a model, call initlib\.adapters\.torch\.plan"):
        plan(3, he_normal)


def test_an_initializer_of_an_adapter_is_an_error_that_names_the_core_initializer():
    init = pytest.importorskip("initlib.adapters.torch", exc_type=ImportError)
    with pytest.raises(TypeError, match=r"rules must be an initializer.*Write he_normal, from initlib"):
        plan([], init.he_normal_)
