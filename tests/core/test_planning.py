"""Planning: a rule, the module's own fill and the default decide, in this order."""

import re

import numpy as np
import pytest
from plans import STD, fill, kernel, problems

from initlib import Parameter, constant, he_normal, keep, normal, ones, orthogonal, parts, plan, values, zeros

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


def test_axes_of_inputs_and_outputs_make_a_kernel():
    table = plan([Parameter("up", (8, 4))], {"*:kernel": he_normal}, axes={"up": "OI"})
    assert table["up"].parameter.kind == "kernel"
    made = plan([Parameter("up", (8, 4), kind="table"), Parameter("to", (8, 4))], STD, axes={"up": "IO", "to": "BB"})
    assert [entry.parameter.kind for entry in made.entries] == ["table", "other"]


def test_axes_by_pattern_come_before_the_parameters_own():
    assert plan([kernel()], he_normal, axes={"*:kernel": "IO"})["kernel"].parameter.axes == "IO"


def test_tied_parameters_may_share_a_new_name():
    table = plan([kernel("a.w", tied=("b.w",))], he_normal, rename=lambda name: "w")
    assert table["b.w"].stream == "w"


def test_rules_for_tied_names_may_be_equal():
    assert fill(kernel("b", tied=("a",)), {"a": ones, "b": ones}) == ones
    assert fill(kernel("b", tied=("a",)), {"b": ones}) == ones
    assert fill(Parameter("b", (8, 4), kind="table", tied=("a",)), {"a": STD}, default=he_normal) == STD


def test_a_mean_in_the_place_of_the_std_has_a_note():
    notes = [plan([kernel()], {"*": rule})["kernel"].notes for rule in (normal(0.02), normal(std=0.02), normal(1, 2))]
    assert notes == [("mean 0.02, std 1; for std 0.02 write normal(std=0.02)",), (), ()]
