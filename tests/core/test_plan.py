import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import initlib
from initlib import (
    Key,
    Parameter,
    Plan,
    PlanError,
    constant,
    glorot_uniform,
    he_normal,
    icnr,
    identity,
    keep,
    normal,
    ones,
    orthogonal,
    parts,
    plan,
    recipes,
    same_as,
    uniform,
    values,
    zeros,
)
from initlib.dtypes import DTYPES

NOT_RULES = "rules must be a mapping from patterns to fills, an initializer, a recipe, or a list of these"


def kernel(name="kernel", shape=(8, 4), axes="OI", **fields):
    return Parameter(name, shape, axes=axes, kind="kernel", **fields)


def fill(parameter, rules=None, **options):
    return plan([parameter], rules, **options).entries[0].filling


def problems(parameters, rules=None, **options):
    with pytest.raises(PlanError) as caught:
        plan(parameters, rules, **options)
    assert isinstance(caught.value, ValueError)
    return caught.value.problems


# Precedence: a rule, the module's own, the default.

STD = normal(std=0.02)
PRECEDENCE = [
    (kernel(), {"*": ones}, he_normal, ones),
    (kernel(default=constant(3)), {"*": ones}, he_normal, ones),
    (kernel(), {"x*": ones, "k*": zeros, "*nel": STD}, None, "unused"),
    (kernel(), {}, he_normal, he_normal),
    (kernel(default=constant(3)), {}, he_normal, constant(3)),
    (kernel(default=zeros), {}, he_normal, he_normal),
    (kernel(default=values(np.zeros((8, 4)))), {}, he_normal, he_normal),
    (kernel(default=keep), {}, he_normal, keep),
    (kernel(default=parts({"a": 1, "b": 1}, ones)), {}, he_normal, parts({"a": 1, "b": 1}, ones)),
    (Parameter("bias", (8,), kind="bias"), {}, he_normal, zeros),
    (Parameter("bias", (8,), kind="bias", default=constant(1)), {}, he_normal, constant(1)),
    (Parameter("bias", (8, 2), kind="bias", default=zeros), {}, he_normal, zeros),
    (Parameter("scale", (8,), kind="scale"), {}, he_normal, ones),
    (Parameter("scale", (8,), kind="scale", default=zeros), {}, he_normal, zeros),
    (Parameter("scale", (8, 2, 2), kind="scale"), {}, he_normal, ones),
    (Parameter("buffer", (8, 2), kind="buffer"), {}, he_normal, keep),
    (Parameter("buffer", (8, 2), kind="buffer", default=zeros), {}, he_normal, zeros),
    (Parameter("logit_scale", (), default=constant(2.66)), {}, he_normal, constant(2.66)),
    (Parameter("gamma", (8,), default=zeros), {}, he_normal, zeros),
    (Parameter("gamma", (8,)), {}, STD, STD),
    (Parameter("table", (8, 4), kind="table"), {}, he_normal, STD),
    (Parameter("table", (8, 4), kind="table"), {}, orthogonal(2), STD),
    (Parameter("table", (8, 4), kind="table"), {}, he_normal * 0.5, STD),
    (Parameter("table", (8, 4), kind="table"), {}, normal(std=0.1), normal(std=0.1)),
    (Parameter("table", (8, 4), kind="table"), {}, lambda parameter: ones, ones),
    (Parameter("cell", (8, 4), axes="(4 O)I", kind="recurrent"), {}, he_normal, orthogonal()),
    (Parameter("cell", (8, 4), axes="(4 O)I", kind="recurrent"), {}, normal(std=0.1), normal(std=0.1)),
    (Parameter("other", (8, 4)), {}, normal(std=0.1), normal(std=0.1)),
    (Parameter("other", (8, 4), axes="IO"), {}, he_normal, he_normal),
    (kernel(), {}, keep, keep),
]


@pytest.mark.parametrize(("parameter", "rules", "default", "expected"), PRECEDENCE)
def test_rules_come_before_the_module_and_the_default(parameter, rules, default, expected):
    if expected == "unused":
        assert len(problems([parameter], rules, default=default)) == 2
    else:
        assert fill(parameter, rules, default=default) == expected


def test_an_initializer_for_rules_is_the_default():
    assert fill(kernel(), he_normal) == he_normal
    with pytest.raises(TypeError, match="rules is an initializer"):
        plan([kernel()], he_normal, default=ones)


def test_zeros_as_constructed_are_noted():
    built, made = plan([kernel(default=zeros), kernel("made")], he_normal).entries
    assert built.notes == ("zeros as constructed",)
    assert made.notes == ()


def test_a_function_sees_the_parameter_under_its_new_name_and_axes():
    seen = []

    def function(parameter):
        seen.append(parameter)
        return constant(parameter.indices[0])

    parameter = Parameter("h.7.w", (2, 3), kind="kernel", owner="Conv1D")
    assert fill(parameter, {"layers.*": function}, rename={"h.*": "layers.*"}, axes={"layers.*": "IO"}) == constant(7)
    assert seen == [Parameter("layers.7.w", (2, 3), axes="IO", kind="kernel", owner="Conv1D")]


def test_rules_may_be_a_function_of_all_parameters():
    seen = []

    def rules(parameters):
        seen.extend(parameters)
        return {parameter.name: constant(parameter.shape[0]) for parameter in parameters}

    parameters = [Parameter("h.a", (3, 2)), Parameter("h.b", (4, 2), tied=("h.c",))]
    table = plan(parameters, rules, rename={"h.*": "layers.*"}, axes={"layers.b": "OI"})
    assert [entry.filling for entry in table.entries] == [constant(3), constant(4)]
    assert seen == [
        Parameter("layers.a", (3, 2)),
        Parameter("layers.b", (4, 2), axes="OI", kind="kernel", tied=("layers.c",)),
    ]


def test_rules_are_pairs_too():
    same = re.compile("k.*")
    assert fill(kernel(), [(same, ones)]) == ones
    assert fill(kernel(), {same: ones}) == ones


# Draws.


def model(prefix="h", order=1):
    parameters = [
        Parameter("embed.weight", (20, 8), kind="table", owner="Embedding", padding=3, tied=("head.weight",)),
        *(kernel(f"{prefix}.{i}.up.weight", (16, 8), owner="Linear") for i in range(3)),
        *(kernel(f"{prefix}.{i}.conv.weight", (4, 8, 3), "OIK", owner="Conv1d") for i in range(3)),
        *(Parameter(f"{prefix}.{i}.norm.weight", (8,), kind="scale", owner="LayerNorm") for i in range(3)),
        Parameter("mask", (8,), "bool", kind="buffer"),
    ]
    return parameters[::order]


def test_a_weight_depends_on_its_name_alone():
    first, second = plan(model(), he_normal).draw(5), plan(model(order=-1)[:6], he_normal).draw(5)
    assert len(second) == 5  # but for the mask
    for name, weight in second.items():
        assert np.array_equal(first[name], weight)


def test_a_plan_draws_what_its_initializers_draw():
    drawn = plan(model(), he_normal).draw(Key(9))
    assert list(drawn) == [parameter.name for parameter in model()[:-1]]
    expected = he_normal((4, 8, 3), axes="OIK", seed=9, name="h.1.conv.weight")
    assert np.array_equal(drawn["h.1.conv.weight"], expected)
    assert (drawn["h.1.norm.weight"] == 1).all()
    table = STD((20, 8), seed=9, name="embed.weight")
    table[3] = 0
    assert np.array_equal(drawn["embed.weight"], table)


def test_all_tensors_of_a_plan_share_one_seed():
    table = plan([kernel("a"), kernel("b")], he_normal)
    fresh = table.draw(None)
    assert not np.array_equal(fresh["a"], fresh["b"])
    generator = np.random.default_rng(0)
    once = table.draw(generator)
    assert np.array_equal(once["a"], table.draw(np.random.default_rng(0))["a"])


def test_renamed_parameters_have_the_streams_of_their_new_names():
    plain, renamed = plan(model(), he_normal), plan(model("blocks"), he_normal, rename={"blocks.*": "h.*"})
    assert renamed["blocks.2.up.weight"].stream == "h.2.up.weight"
    assert np.array_equal(renamed.draw(0)["blocks.2.up.weight"], plain.draw(0)["h.2.up.weight"])


def test_unknown_axes_are_numbered_as_stored():
    unknown = Parameter("gate", (8, 4))
    assert np.array_equal(plan([unknown], STD).draw(0)["gate"], STD((8, 4), seed=0, name="gate"))
    stated = plan([unknown], he_normal, axes={"gate": "OI"})
    assert stated["gate"].parameter.axes == "OI"
    assert np.array_equal(stated.draw(0)["gate"], he_normal((8, 4), axes="OI", seed=0, name="gate"))


def test_axes_of_inputs_and_outputs_make_a_kernel():
    table = plan([Parameter("up", (8, 4))], {"*:kernel": he_normal}, axes={"up": "OI"})
    assert table["up"].parameter.kind == "kernel"
    made = plan([Parameter("up", (8, 4), kind="table"), Parameter("to", (8, 4))], STD, axes={"up": "IO", "to": "BB"})
    assert [entry.parameter.kind for entry in made.entries] == ["table", "other"]


def test_axes_by_pattern_come_before_the_parameters_own():
    assert plan([kernel()], he_normal, axes={"*:kernel": "IO"})["kernel"].parameter.axes == "IO"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_draw_one_draws_a_box(dtype):
    table = plan([Parameter("t", (20, 8), dtype, kind="table", padding=3)], STD)
    whole = table.draw(1)["t"]
    for index in [(slice(2, 5), 1), slice(None, None, -2), 3, (Ellipsis, 0), (slice(5, 5),)]:
        assert np.array_equal(table.draw_one("t", 1, index=index), whole[index])
    out = np.empty((8, 20), whole.dtype).T
    assert table.draw_one("t", 1, out=out) is out
    assert np.array_equal(out, whole)
    assert not whole[3].any()
    assert whole[2].any()


@pytest.mark.parametrize("row", [0, 2])
def test_a_padding_row_may_be_at_either_end(row):
    table = plan([Parameter("t", (3, 4), kind="table", padding=row)], normal()).draw(0)["t"]
    assert [bool(each.any()) for each in table] == [k != row for k in range(3)]


def test_values_are_rounded_once():
    exact = np.log(np.arange(1, 17))
    table = plan([Parameter("A_log", (16,), "float16")], {"*": values(exact)})
    assert np.array_equal(table.draw(0)["A_log"], exact.astype("float16"))
    assert np.array_equal(table.draw_one("A_log", 0, index=slice(3, 9, 2)), exact.astype("float16")[3:9:2])


def test_tensors_without_weights_can_be_planned():
    table = plan([kernel("empty", (0, 4)), Parameter("none", (3, 0))], {"empty": he_normal, "none": STD})
    assert {name: weight.shape for name, weight in table.draw(0).items()} == {"empty": (0, 4), "none": (3, 0)}


DRAW_ERRORS = [
    (
        {"name": "kernle"},
        ValueError,
        "name must be the name of a parameter of the plan, got 'kernle'; nearest names: kernel",
    ),
    ({"name": "kernel", "out": np.zeros((4, 8), "float32")}, ValueError, "got shape (4, 8)"),
    ({"name": "kernel", "out": np.zeros((8, 4))}, ValueError, "out must have shape (8, 4) and dtype float32"),
    ({"name": "kernel", "out": [[0.0] * 4] * 8}, TypeError, "out must be a numpy.ndarray, got list"),
    ({"name": "kernel", "index": 8}, ValueError, "index must be inside axis 0 of shape (8, 4), got 8"),
    ({"name": "kernel", "seed": "x"}, TypeError, "seed must be an int"),
    ({"name": "kept"}, ValueError, "out must be given for kept, because the plan keeps"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), DRAW_ERRORS, ids=str)
def test_wrong_arguments_of_draw_one_are_errors(arguments, error, message):
    table = plan([kernel(), Parameter("kept", (3,))], {"kept": keep}, default=he_normal)
    with pytest.raises(error) as caught:
        table.draw_one(**{"seed": 0, **arguments})
    assert message in str(caught.value)


def test_a_kept_tensor_stays_as_it_is():
    table = plan([Parameter("kept", (3,))], {"kept": keep})
    out = np.array([1, 2, 3], "float32")
    assert table.draw_one("kept", 0, out=out).tolist() == [1, 2, 3]
    assert table.draw(0) == {}
    assert table["kept"].kept


# Errors, all at once.


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
        "b: tied names must have the same fill, got zeros for 'b' and ones for 'a'. Pass one rule for both names, such "
        'as {"b": ones, "a": ones}',
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


TARGET = {"target.*": same_as("online.*")}


def test_a_target_network_starts_as_the_online_network():
    networks = [kernel(f"{name}.{i}.w") for name in ("target", "online") for i in range(2)]
    table = plan(networks, he_normal, rename=TARGET)
    drawn = table.draw(0)
    for i in range(2):
        assert np.array_equal(drawn[f"target.{i}.w"], drawn[f"online.{i}.w"])
    assert not np.array_equal(drawn["online.0.w"], drawn["online.1.w"])
    assert Plan.from_json(table.to_json()) == table
    qkv = parts({"q": 1, "k": 1}, he_normal)
    fused = plan([kernel("target.w"), kernel("online.w")], {"*": qkv}, rename=TARGET).draw(0)
    assert np.array_equal(fused["target.w"], fused["online.w"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (kernel("target.w", (8, 5)), "target.w: must have the shape, axes and initializer of 'online.w' to share"),
        (kernel("target.w", axes="IO"), "target.w: must have the shape, axes and initializer of 'online.w' to share"),
        (kernel("target.x"), "target.x: same_as must name another parameter of the plan, got 'online.x'"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_same_as_needs_equal_shapes_axes_and_initializers(target, message, order):
    (problem,) = problems([kernel("online.w"), target][::order], he_normal, rename=TARGET)
    assert problem.startswith(message)


def test_same_as_needs_the_name_of_a_parameter():
    with pytest.raises(TypeError, match="same_as must be a string, got 3"):
        same_as(3)
    with pytest.raises(ValueError, match="must have no more"):
        plan([kernel()], he_normal, rename={"kernel": same_as("*")})


def test_tied_parameters_may_share_a_new_name():
    table = plan([kernel("a.w", tied=("b.w",))], he_normal, rename=lambda name: "w")
    assert table["b.w"].stream == "w"


def test_rules_for_tied_names_may_be_equal():
    assert fill(kernel("b", tied=("a",)), {"a": ones, "b": ones}) == ones
    assert fill(kernel("b", tied=("a",)), {"b": ones}) == ones
    assert fill(Parameter("b", (8, 4), kind="table", tied=("a",)), {"a": STD}, default=he_normal) == STD


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


def test_a_mean_in_the_place_of_the_std_has_a_note():
    notes = [plan([kernel()], {"*": rule})["kernel"].notes for rule in (normal(0.02), normal(std=0.02), normal(1, 2))]
    assert notes == [("mean 0.02, std 1; for std 0.02 write normal(std=0.02)",), (), ()]


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


# Properties of a plan.


def test_a_plan_is_immutable_and_comparable():
    table = plan(model(), he_normal)
    assert table == plan(iter(model()), default=he_normal)
    assert table != plan(model(), glorot_uniform)
    assert hash(table) == hash(plan(model(), he_normal))
    assert pickle.loads(pickle.dumps(table)) == table
    assert repr(table) == "Plan(11 parameters, 864 weights)"
    with pytest.raises(AttributeError):
        table.entries = ()


def test_a_plan_is_a_mapping_of_names():
    made = plan([Parameter("b", (2,)), Parameter("a", (3,), tied=("c",))], zeros)
    assert list(made) == ["b", "a"]
    assert len(made) == 2
    assert [name in made for name in ("a", "b", "c", "d", 0, None)] == [True, True, True, False, False, False]
    assert [made[name] for name in made] == list(made.entries)
    for wrong in (0, slice(1), [0]):
        with pytest.raises(ValueError, match="name must be the name of a parameter of the plan, got"):
            made[wrong]


def test_a_plan_in_place_of_rules_or_parameters_is_an_error():
    made = plan([Parameter("a", (2,))], zeros)
    with pytest.raises(TypeError, match=r"rules must be .*, got Plan.* call initialize\(model, plan, seed\)"):
        plan([Parameter("a", (2,))], made)
    with pytest.raises(TypeError, match=r"parameters must be an iterable of initlib.Parameter, got Plan"):
        plan(made, zeros)


def test_a_plan_made_by_hand_is_checked():
    entries = plan(model(), he_normal).entries
    with pytest.raises(PlanError, match="another parameter has the name 'mask' too"):
        Plan((*entries, entries[-1]))


def test_an_empty_plan_is_a_plan():
    assert plan([]).draw(0) == {}
    assert str(plan([])).splitlines()[1:] == ["0 parameters, 0 weights, 0 bytes"]
    with pytest.raises(PlanError, match="rule '\\*' matches nothing"):
        plan([], {"*": ones})


def test_planning_draws_nothing_and_imports_no_framework(monkeypatch):
    monkeypatch.setattr(initlib.plans.entry.Entry, "draw", None)
    huge = [kernel(f"h.{i}.w", (2**20, 2**20)) for i in range(3)]
    assert "3,298,534,883,328 weights" in str(plan(huge, he_normal))


def test_a_model_in_place_of_parameters_names_the_adapter():
    with pytest.raises(TypeError, match=r"got int\. For a model, call initlib\.adapters\.torch\.plan"):
        plan(3, he_normal)


def test_an_initializer_of_an_adapter_is_an_error_that_names_the_core_initializer():
    init = pytest.importorskip("initlib.adapters.torch", exc_type=ImportError)
    with pytest.raises(TypeError, match=r"rules must be an initializer.*Write he_normal, from initlib"):
        plan([], init.he_normal_)


def test_a_plan_of_other_objects_is_an_error():
    with pytest.raises(TypeError, match=r"entries must be made of Entry, got Parameter\. Call initlib\.plan"):
        initlib.Plan((Parameter("w", (4, 4)),))


def test_a_rule_whose_function_fails_is_not_called_unused():
    tied = Parameter("table", (8, 4), kind="table", tied=("head",))
    with pytest.raises(PlanError) as caught:
        plan([tied], {"table": lambda parameter: 1 / 0, "head": lambda parameter: 1 / 0})
    assert caught.value.problems == ("table: the rule's function raised ZeroDivisionError: division by zero",)
