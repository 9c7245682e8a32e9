import pytest

from initlib import Parameter, PlanError, he_normal, plan
from initlib.plans.rules.hints import explain_unused
from initlib.plans.rules.patterns import Unused, as_pattern
from initlib.plans.text.nearest import nearest

LAYERS = [
    Parameter(f"h.{i}.{name}", (4, 4), kind=kind, owner="Linear")
    for i in range(3)
    for name, kind in (("c_proj.weight", "kernel"), ("c_proj.bias", "bias"))
]


@pytest.mark.parametrize(
    ("wanted", "names", "sentence"),
    [
        ("wieght", ["weight", "bias"], "; nearest names: weight"),
        ("h.3.c_proj.wieght", ["*.c_proj.weight", "*.bias"], "; nearest names: *.c_proj.weight"),
        ("*.c_prj.weight:kernel", ["h.0.c_proj.weight", "wte.weight"], "; nearest names: h.0.c_proj.weight"),
        ("transformr.*", ["transformer.h.0.w", "lm_head"], "; nearest names: transformer.h.0.w"),
        ("0.wieght", ["{0..2}.weight"], "; nearest names: {0..2}.weight"),
        ("head.weight", ["head.kernel", "head.bias"], "; nearest names: head.kernel"),
        ("*nrom*", ["h.0.norm.scale", "h.0.up.kernel"], "; nearest names: h.0.norm.scale"),
        ("x", ["weight", "bias"], ""),
        ("*", ["weight"], ""),
        ("weight", [], ""),
    ],
)
def test_the_nearest_names_are_listed(wanted, names, sentence):
    assert nearest(wanted, names, "names") == sentence


@pytest.mark.parametrize(
    ("pattern", "before", "why"),
    [
        (
            "*:kernal",
            [],
            "names the unknown kind or owner 'kernal': the kinds are kernel, recurrent, bias, scale, table, buffer, "
            "other;",
        ),
        ("*.weight:bias", [], "matches nothing: parameters of these names have the kinds and owners Linear, kernel"),
        (
            "*:Linear",
            ["h.0.*", "*.bias", "*"],
            "is never used: 'h.0.*' or '*.bias' or '*' matches the same parameters first",
        ),
        ("*.c_prj.weight", [], "matches nothing; nearest names: h.{0..2}.c_proj.weight"),
        ("nothing.like.it", [], "matches nothing"),
    ],
)
def test_an_unused_pattern_has_a_reason(pattern, before, why):
    others = [as_pattern(each, "rules") for each in before]
    text = explain_unused("rule", Unused(as_pattern(pattern, "rules"), others), LAYERS)
    assert text.startswith(f"rule {pattern!r} {why}")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pos_embed", (1, 197, 8)),
        ("latents", (1, 32, 8)),
        ("absolute_pos_emb", (1, 14, 14, 8)),
        ("query_tokens", (4, 8)),
        ("relative_position_bias_table", (169, 4)),
        ("decoder.word_embeddings.weight", (100, 8)),
    ],
)
def test_the_advice_for_a_table_of_an_unknown_class_begins_with_a_rule(name, shape):
    parameter = Parameter(name, shape, owner="VisionTransformer")
    with pytest.raises(PlanError) as caught:
        plan([parameter], he_normal)
    _, _, advice = str(caught.value).partition("are inputs and outputs. ")
    assert advice.startswith('For a table or tokens, make {"')
    assert '": normal(std=0.02)} the first rule. For a kernel, pass axes={"' in advice


@pytest.mark.parametrize(("name", "shape"), [("mlp.up", (8, 8)), ("query.weight", (8, 8)), ("experts", (4, 8, 8))])
def test_the_advice_for_other_parameters_of_an_unknown_class_is_axes(name, shape):
    with pytest.raises(PlanError, match=r"are inputs and outputs\. Pass axes="):
        plan([Parameter(name, shape)], he_normal)


@pytest.mark.parametrize("name", ["cls_token", "cls"])
def test_the_advice_for_a_token_is_a_normal_distribution(name):
    for rules in (None, he_normal):
        with pytest.raises(PlanError, match=rf'Add the rule {{"{name}": normal\(std=0.02\)}}'):
            plan([Parameter(name, (1, 1, 8))], rules)
