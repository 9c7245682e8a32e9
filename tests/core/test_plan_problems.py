"""Problems of a plan: each has a message, and one error lists all of them."""

import pickle
import re

import numpy as np
import pytest
from plans import STD, kernel, problems

from initlib import (
    Parameter,
    PlanError,
    constant,
    he_normal,
    icnr,
    identity,
    normal,
    ones,
    orthogonal,
    parts,
    plan,
    recipes,
    uniform,
    values,
    zeros,
)
from initlib.dtypes import DTYPES


def test_all_problems_are_listed_at_once():
    parameters = [
        *(Parameter(f"h.{i}.gate", (4, 8, 2), owner="Router") for i in range(4)),
        kernel("h.0.up.weight", owner="Linear"),
        Parameter("temperature", (3,)),
        Parameter("ids", (8,), "int64"),
    ]
    rules = {"*.gate": he_normal, "*.up.wieght": he_normal, "ids": ones, "*:Conv2d": zeros}
    every = problems(parameters, rules, axes={"*.fc": "OI"}, rename={"transformer.*": "*"})
    assert len(every) == 11  # one for each gate
    heading, *lines = str(PlanError(every)).splitlines()
    assert heading == "the plan has 8 problems:"
    assert tuple(line.removeprefix("  - ") for line in lines) == (
        "h.0.up.weight: no rule matches, and there is no default; nearest patterns: *.up.wieght. Add the rule "
        '{"*.weight": he_normal}, or pass default=he_normal',
        'temperature: no rule matches, and there is no default. Add the rule {"temperature": ones}',
        "rule '*.up.wieght' matches nothing; nearest names: h.0.up.weight",
        "rule '*:Conv2d' names the unknown kind or owner 'Conv2d': the kinds are kernel, recurrent, bias, scale, "
        "table, buffer, other; the owners in this model are Linear, Router",
        "axes '*.fc' matches nothing",
        "rename 'transformer.*' matches nothing",
        "h.{0..3}.gate: he_normal needs to know which of the 3 axes in Router are inputs and outputs. Pass "
        'axes={"*.gate": "BOI"} if outputs are stored first, as in PyTorch, or "BIO" if outputs are stored last, as '
        "in Keras and JAX: I is an input axis, O an output axis, B a stack",
        f"ids: dtype must be one of {', '.join(DTYPES)} to be drawn, got int64. Keep the parameter",
    )


ERRORS = [
    ([kernel()], {}, "kernel: no rule matches, and there is no default"),
    ([kernel(default=zeros)], {}, "kernel: no rule matches, and there is no default"),
    (
        [Parameter("a", (3,))],
        he_normal,
        'a: no rule matches, and the default, he_normal, is for kernels. Add the rule {"a": ones}',
    ),
    ([Parameter("a.b", (3,))], he_normal, 'Add the rule {"*.b": zeros}'),
    ([Parameter("norm.beta", (3,))], {}, 'Add the rule {"*.beta": zeros}'),
    ([Parameter("a", (3, 3))], he_normal, "a: he_normal needs to know which of the 2 axes"),
    ([Parameter("a", (3, 3))], {"a": orthogonal() * 2}, "a: orthogonal(gain=2) needs to know which of the 2 axes"),
    ([Parameter("a", (3, 3))], {"a": he_normal * 2}, "a: he_normal * 2 needs to know which of the 2 axes"),
    ([Parameter("a", (3, 3), kind="recurrent")], he_normal, "a: orthogonal() needs to know which of the 2 axes"),
    ([kernel()], {"*.bias:kernel": ones, "*": ones}, "rule '*.bias:kernel' matches nothing"),
    (
        [kernel(owner="Linear")],
        {"*:bias": ones, "*": ones},
        "'*:bias' matches nothing: parameters of these names have the kinds and owners Linear, kernel",
    ),
    ([kernel()], {"*": ones, "k*": zeros}, "rule 'k*' is never used: '*' matches the same parameters first"),
    ([kernel()], {re.compile("x"): ones, "*": ones}, "rule re.compile('x') matches nothing"),
    (
        [kernel(), kernel()],
        he_normal,
        "kernel: another parameter has the name 'kernel' too. Tie the two parameters, or rename one",
    ),
    (
        [kernel("a", tied=("b",)), kernel("b")],
        he_normal,
        "b: another parameter has the name 'b' too. Tie the two parameters, or rename one",
    ),
    ([kernel()], {"*": identity()}, None),
    (
        [kernel(shape=(8, 4, 3), axes="OIK")],
        {"*": identity()},
        "identity() cannot fill shape (8, 4, 3): axes of identity",
    ),
    ([kernel()], {"*": icnr(he_normal, 2)}, "cannot fill shape (8, 4): axes of icnr must have one output axis and"),
    ([Parameter("a", (3,), kind="kernel")], {"*": orthogonal()}, "shape must have at least 2 axes for orthogonal"),
    (
        [kernel("a.weight", owner="Linear"), Parameter("a.bias", (3,), kind="bias", owner="Linear")],
        {"*": he_normal},
        "a.bias: rule '*' draws a vector by he_normal, which needs fans, and a vector has no inputs and outputs. "
        'Write {"*:kernel": he_normal} for kernels, and zeros for biases',
    ),
    (
        [kernel("a.weight", owner="Linear"), Parameter("a.bias", (3,), kind="bias", owner="Linear")],
        {"*:Linear": he_normal},
        'Write {"*.weight:Linear": he_normal} for kernels, and zeros for biases',
    ),
    (
        [kernel("a.weight", owner="Linear"), Parameter("a.bias", (3,), kind="bias", owner="Linear")],
        {"*.weight": he_normal, "*.bias": he_normal},
        'a vector has no inputs and outputs. Write {"*.bias": zeros}',
    ),
    (
        [Parameter("a.bias", (3,), kind="bias")],
        {re.compile(".*bias"): he_normal},
        "Write {re.compile('.*bias'): zeros}",
    ),
    (
        [Parameter("a", (8, 8), axes="XY")],
        {"*": he_normal},
        "axes must name the inputs (I) or the outputs (O), got 'XY'",
    ),
    (
        [Parameter("a", (1, 1, 3))],
        {"a": he_normal * 0.5},
        "no inputs and outputs. Pass an initializer without fans: normal(std=0.02)",
    ),
    ([Parameter("a", (6,))], {"*": parts({"q": 1, "k": 1}, he_normal)}, "a vector has no inputs and outputs"),
    ([Parameter("a", (3, 3), "float16")], {"*": uniform(-1e6, 1e6)}, "as large as 1e+06 overflow float16"),
    ([Parameter("a", (3, 3), "float16")], {"*": constant(1e6)}, "as large as 1e+06 overflow float16"),
    ([Parameter("a", (3,), "float16")], {"*": values([1e6, 0, 0])}, "as large as 1e+06 overflow float16"),
    ([Parameter("a", (3, 3), "float16")], {"*": normal(std=1e6)}, "overflow float16"),
    ([Parameter("a", (3, 3))], {"*": values([1.0])}, "a: values for 'a' must have shape (3, 3), got (1,)"),
    ([kernel()], {"*": lambda parameter: None}, "the result of the rule's function must be an initializer, keep"),
    ([kernel()], {"*": lambda parameter: parameter.indices[0]}, "the rule's function raised IndexError: tuple index"),
    ([kernel()], {"*": lambda parameter: lambda parameter: ones}, "the result of the rule's function must be an"),
    (
        [kernel("b", tied=("a",))],
        {"a": ones, "b": zeros},
        "b: tied names must have the same fill, got zeros for 'b' and ones for 'a'. Pass the same fill for both "
        'names: {"b": ones, "a": ones}',
    ),
    ([kernel("b", tied=("a",))], {"a": ones}, "b: tied names must have the same fill, got no rule for 'b' and ones"),
    ([Parameter("a", (3,), needs="its norm says nothing")], STD, "a: no rule matches, and its norm says nothing"),
    ([kernel("b", tied=("a",))], {"a": lambda parameter: ones, "b": zeros}, "zeros for 'b' and ones for 'a'. Pass"),
]


@pytest.mark.parametrize(("parameters", "rules", "message"), ERRORS, ids=[str(message) for _, _, message in ERRORS])
def test_each_problem_has_its_message(parameters, rules, message):
    if message is None:
        assert plan(parameters, rules)
    else:
        (problem,) = problems(parameters, rules)
        assert message in problem


def test_names_that_would_share_a_stream_are_errors():
    parameters = [kernel("a.w"), kernel("b.w"), kernel("c.w")]
    lines = problems(parameters, he_normal, rename={"[ab].w": "w"})
    assert lines == ("b.w: would share the stream 'w' with 'a.w'. Tie the two parameters, or rename one",)
    parameters = [kernel("a.q"), kernel("a.qkv")]
    assert plan(parameters, {"*.qkv": parts({"q": 1, "k": 1}, ones), "*.q": STD})  # a constant has no stream
    lines = problems(parameters, {"*.qkv": parts({"q": 1, "k": 1}, STD), "*.q": STD})
    assert lines == ("a.qkv: would share the stream 'a.q' with 'a.q'. Tie the two parameters, or rename one",)


def test_a_long_list_of_problems_is_cut_short_in_the_text_alone():
    lines = problems([kernel("k" * (1 + k)) for k in range(60)])
    assert len(lines) == 60
    error = PlanError(lines)
    assert str(error).count("\n") == 51
    assert str(error).endswith("and 10 more (in the error's `problems`)")
    assert pickle.loads(pickle.dumps(error)).problems == lines


def test_equal_problems_of_repeated_layers_are_one_line_of_the_text():
    parameters = [Parameter(f"layers.{i}.{name}", (8, 8)) for i in range(10) for name in ("q.w", "k.w", "norm.g")]
    every = problems(parameters, {"*.w": values(np.ones((3, 3)))})
    assert len(every) == 30
    assert str(PlanError(every)).splitlines() == [
        "the plan has 3 problems:",
        "  - layers.{0..9}.norm.g: no rule matches, and there is no default. "
        'Add the rule {"*.g": normal(std=0.02)}, or pass default=normal(std=0.02)',
        "  - layers.{0..9}.q.w: values for 'layers.0.q.w' must have shape (8, 8), got (3, 3)",
        "  - layers.{0..9}.k.w: values for 'layers.0.k.w' must have shape (8, 8), got (3, 3)",
    ]


def test_more_than_six_names_of_a_problem_are_counted():
    error = PlanError([f"{name}.{i}: no axes" for name in "abcdefg" for i in range(3)])
    assert (
        str(error)
        == "the plan has 1 problem:\n  - a.{0..2}, b.{0..2}, c.{0..2}, d.{0..2}, e.{0..2}, f.{0..2} and 3 more: no axes"
    )


def test_problems_whose_texts_differ_outside_of_names_have_lines_of_their_own():
    error = PlanError(["a.0: got 3", "a.1: got 4", "rule 'a.0' is unused", "rule 'a.1' is unused"])
    assert str(error).count("\n  - ") == 4


PROPOSALS = [
    (["ps.0", "ps.1"], [], ["ps.*", "ps.*"]),
    (["rnn.weight_ih_l0", "rnn.weight_ih_l1"], ["rnn.bias_ih_l0"], ["*.weight_ih_l*"] * 2),
    (["h.0.w", "h.1.w"], ["w"], ["*.w"] * 2),
    (["h.0.w", "h.1.w"], ["a.w"], ["h.*.w"] * 2),
    (["h.0.w", "h.1.w"], ["h.2.w"], ["*.0.w", "*.1.w"]),
    (["0", "1"], [], ["*"] * 2),
    (["0", "1"], ["a"], ["0", "1"]),
]


@pytest.mark.parametrize(("names", "others", "proposed"), PROPOSALS, ids=str)
def test_a_proposed_pattern_joins_names_that_differ_in_their_numbers(names, others, proposed):
    every = problems([Parameter(name, (8, 8)) for name in names + others], dict.fromkeys(others, ones))
    assert [re.search('the rule {"(.*)":', problem)[1] for problem in every] == proposed


def test_a_rule_whose_function_fails_is_not_called_unused():
    tied = Parameter("table", (8, 4), kind="table", tied=("head",))
    with pytest.raises(PlanError) as caught:
        plan([tied], {"table": lambda parameter: 1 / 0, "head": lambda parameter: 1 / 0})
    assert caught.value.problems == ("table: the rule's function raised ZeroDivisionError: division by zero",)


HEAD = [kernel("h.0.weight"), kernel("head.weight"), Parameter("head.bias", (4,), kind="bias")]
FIRST = "Put the mapping of this pattern first in the list"


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ([{"*:kernel": STD}, {"head.weight": zeros}], "rule 'head.weight' is never used: '*:kernel' matches"),
        (
            [{"*:kernel": STD, "*:bias": zeros}, {"head.*": zeros}],
            "rule 'head.*' is never used: '*:kernel' or '*:bias'",
        ),
        (
            [{"*:kernel": STD}, lambda parameters: {"head.weight": zeros}],
            "rule 'head.weight' is never used: '*:kernel'",
        ),
        ([recipes.switch(), {"head.weight": zeros}], "rule 'head.weight' is never used: '*:kernel' matches"),
        (
            [recipes.switch(), {"head.weight": zeros, "*": zeros}],
            "rule 'head.weight' is never used: '*:kernel' matches",
        ),
    ],
)
def test_a_rule_that_wider_rules_of_an_earlier_mapping_shadow_is_a_warning(rules, text):
    with pytest.warns(UserWarning, match=f"^{re.escape(text)}.*{FIRST}$"):
        plan(HEAD, rules, default=STD)


@pytest.mark.parametrize(
    "rules",
    [
        [{"head.weight": zeros}, {"head.weight": STD, "*": ones}],
        [{"head.*": zeros}, {"head.weight": STD, "*": ones}],
        [{"head.*": zeros}, {"head.weight": STD, "head.bias": ones, "h.*": ones}],
        [{"head.weight": zeros}, recipes.switch()],
        [{"*:kernel": zeros}, recipes.switch()],
        [recipes.switch(), recipes.siren_network(first="h.0.weight")],
        [recipes.switch(), recipes.torch_default],
    ],
)
def test_own_rules_replace_the_rules_of_later_mappings_and_of_recipes(rules):
    assert plan(HEAD, rules)["head.weight"].filling != ones


@pytest.mark.parametrize("rules", [lambda parameters: None, [{"*:bias": zeros}, lambda parameters: None]])
def test_a_function_of_all_parameters_that_returns_none_is_an_error(rules):
    text = "the result of the function of all parameters must be a mapping from patterns to fills, got None"
    with pytest.raises(TypeError, match=text):
        plan(HEAD, rules, default=STD)
