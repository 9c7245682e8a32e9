"""Recipes against their formulas: names of the libraries, with small shapes."""

import math
import re

import numpy as np
import pytest
from recipe_models import drawn_std, kernels

from initlib import Parameter, plan, recipes

LAYERS = 4
WIDTH, HIDDEN = 64, 128
NAMES = {
    "torchtitan": ("layers.{}.attention.{}", ("wq", "wo"), "layers.{}.feed_forward.{}", ("w1", "w2", "w3"), "output"),
    "OLMo-core": (
        "blocks.{}.attention.{}",
        ("w_q", "w_out"),
        "blocks.{}.feed_forward.{}",
        ("w1", "w2", "w3"),
        "lm_head.w_out",
    ),
    "transformers": (
        "model.layers.{}.self_attn.{}",
        ("q_proj", "o_proj"),
        "model.layers.{}.mlp.{}",
        ("gate_proj", "down_proj", "up_proj"),
        "lm_head",
    ),
}


def llama_of(library, tied=False):
    """Return the parameters of a small LLaMA: per layer query, output, gate, down, up; then the head and the table."""
    attention, (query, output), feed_forward, (gate, down, up), head = NAMES[library]
    shapes = []
    for i in range(LAYERS):
        shapes += [(attention.format(i, name), (WIDTH, WIDTH)) for name in (query, output)]
        shapes += [(feed_forward.format(i, name), (HIDDEN, WIDTH)) for name in (gate, up)]
        shapes += [(feed_forward.format(i, down), (WIDTH, HIDDEN))]
    if not tied:
        shapes.append((head, (500, WIDTH)))
    kernels = [Parameter(f"{name}.weight", shape, axes="OI", kind="kernel") for name, shape in shapes]
    tie = (f"{head}.weight",) if tied else ()
    norms = [Parameter(f"norms.{i}.weight", (WIDTH,), kind="scale") for i in range(LAYERS)]
    return [*kernels, *norms, Parameter("embeddings.weight", (500, WIDTH), kind="table", tied=tie)]


def stds(parameters, rules):
    """Return the std before truncation, by the last components of the name and the layer."""
    stds_by_name = {}
    for entry in plan(parameters, rules).entries:
        if len(entry.parameter.shape) > 1:
            stds_by_name[entry.stream] = getattr(entry.filling, "sigma", None)
    return stds_by_name


@pytest.mark.parametrize("library", NAMES)
@pytest.mark.parametrize("depth", [False, True])
def test_llama_follows_its_formula(library, depth):
    attention, (query, output), feed_forward, (gate, down, up), head = NAMES[library]
    rules = recipes.llama_depth(WIDTH) if depth else recipes.llama(LAYERS, WIDTH)
    actual = stds(llama_of(library), rules)
    for i in range(LAYERS):
        residual = 0.02 / math.sqrt(2 * (i + 1 if depth else LAYERS))
        assert actual[f"{attention.format(i, query)}.weight"] == 0.02
        assert actual[f"{feed_forward.format(i, gate)}.weight"] == 0.02
        for name in (attention.format(i, output), feed_forward.format(i, down), feed_forward.format(i, up)):
            assert actual[f"{name}.weight"] == pytest.approx(residual)
    assert actual[f"{head}.weight"] == WIDTH**-0.5
    assert actual["embeddings.weight"] == 1


@pytest.mark.parametrize("library", NAMES)
def test_a_tied_head_has_the_std_of_the_head(library):
    actual = stds(llama_of(library, tied=True), recipes.llama(LAYERS, WIDTH, tied=True))
    assert actual["embeddings.weight"] == WIDTH**-0.5
    with pytest.raises(ValueError, match="tied names must have the same fill"):
        plan(llama_of(library, tied=True), recipes.llama(LAYERS, WIDTH))


def test_olmo_normal_and_normalized_follow_their_formulas():
    attention, (_, output), feed_forward, (_, down, _), _ = NAMES["OLMo-core"]
    assert set(stds(llama_of("OLMo-core"), recipes.olmo_normal()).values()) == {0.02}
    actual = stds(llama_of("OLMo-core"), recipes.normalized(LAYERS, WIDTH))
    residual = {f"{attention.format(i, output)}.weight" for i in range(LAYERS)}
    residual |= {f"{feed_forward.format(i, down)}.weight" for i in range(LAYERS)}
    for name, std in actual.items():
        expected = WIDTH**-0.5 / (math.sqrt(2 * LAYERS) if name in residual else 1)
        assert std == pytest.approx(expected), name


def test_switch_follows_its_formula():
    experts = Parameter("mlp.experts.up", (8, 64, 256), axes="BIO", kind="kernel")
    actual = drawn_std([experts, *kernels(router_weight=(8, 64))], recipes.switch())
    assert actual == {"mlp.experts.up": math.sqrt(0.1 / 64), "router.weight": math.sqrt(0.1 / 64)}


def test_deepnorm_follows_its_formula():
    shapes = {"q_proj": (64, 64), "v_proj": (64, 64), "out_proj": (64, 64), "fc1": (256, 64), "fc2": (64, 256)}
    parameters = [Parameter(f"{name}.weight", shape, axes="OI", kind="kernel") for name, shape in shapes.items()]
    actual = drawn_std(parameters, recipes.deepnorm(18))
    beta = (8 * 18) ** -0.25
    assert actual["q_proj.weight"] == pytest.approx(math.sqrt(2 / 128))
    assert actual["v_proj.weight"] == actual["out_proj.weight"] == pytest.approx(beta * math.sqrt(2 / 128))
    assert actual["fc1.weight"] == actual["fc2.weight"] == pytest.approx(beta * math.sqrt(2 / 320))


@pytest.mark.parametrize("convolutions", [2, 3])
def test_fixup_follows_its_formula(convolutions):
    names = [f"layer1.{i}.conv{k + 1}.weight" for i in range(8) for k in range(convolutions)]
    parameters = [Parameter(name, (16, 16, 3, 3), axes="OIHW", kind="kernel") for name in ["conv1.weight", *names]]
    parameters += [Parameter("fc.weight", (10, 16), axes="OI", kind="kernel"), Parameter("fc.bias", (10,), kind="bias")]
    inner = re.compile(rf"layer.*\.conv[1-{convolutions - 1}]\.weight")
    rules = recipes.fixup(8, convolutions, inner=inner, last=f"layer*.conv{convolutions}.weight")
    actual = drawn_std(parameters, rules)
    he = math.sqrt(2 / (16 * 9))
    assert actual["conv1.weight"] == pytest.approx(he)
    assert actual["layer1.3.conv1.weight"] == pytest.approx(he * 8 ** (-1 / (2 * convolutions - 2)))
    assert actual[f"layer1.3.conv{convolutions}.weight"] == actual["fc.weight"] == 0


def test_siren_network_follows_its_formula():
    table = plan(kernels(net_0_weight=(256, 2), net_2_weight=(256, 256)), recipes.siren_network("net.0.weight"))
    drawn = table.draw(0)
    assert 0.499 < np.abs(drawn["net.0.weight"]).max() <= 0.5
    limit = math.sqrt(6 / 256) / 30
    assert 0.999 * limit < np.abs(drawn["net.2.weight"]).max() <= limit
