"""Recipes and the layers of a model: missing layers, other names, and the number of layers."""

import re

import pytest
from recipe_models import kernels

from initlib import Parameter, PlanError, plan, recipes, uniform, zeros


def test_a_classifier_of_another_width_is_an_error():
    model = [*kernels(fc_weight=(10, 32)), Parameter("layer1.bn3.weight", (8,))]
    assert plan(model, recipes.resnet(32))["fc.weight"].filling.bounds((10, 32))[1] == 32**-0.5
    with pytest.raises(PlanError, match=r"features of recipes\.resnet must be the fan_in of the head, got 64 for 32"):
        plan(model, recipes.resnet(64))


PATCHES = [
    ((192, 3, 8, 8), "OIHW", 192, "patch=8, channels=3"),
    ((16, 16, 1, 192), "HWIO", 256, "patch=16, channels=1"),
    ((192, 3, 16, 8), "OIHW", 384, "patch=1, channels=384"),  # patches that are not square
    ((192, 48), "OI", 48, "patch=1, channels=48"),
]


@pytest.mark.parametrize(("shape", "axes", "fan_in", "advice"), PATCHES)
def test_a_patch_embedding_of_another_size_is_an_error_whose_advice_works(shape, axes, fan_in, advice):
    name = "patch_embed.proj"
    model = [Parameter(f"{name}.weight", shape, axes=axes, kind="kernel"), Parameter(f"{name}.bias", (192,))]
    message = (
        "patch**2 * channels of recipes.vit must be the fan_in of the patch embedding, got 16**2 * 3 = 768 for "
        f"{fan_in}. Pass {advice}"
    )
    with pytest.raises(PlanError, match=re.escape(message)):
        plan(model, recipes.vit())
    patch, channels = (int(part.partition("=")[2]) for part in advice.split(", "))
    entries = plan(model, recipes.vit(patch, channels)).entries
    assert [entry.filling for entry in entries] == 2 * [uniform(-(fan_in**-0.5), fan_in**-0.5)]


def test_tables_are_optional():
    layer = kernels(attention_weight=(64, 64))
    for rules in (recipes.bert(), recipes.olmo_normal(), recipes.switch()):
        assert len(plan(layer, rules).entries) == 1


MISSING = [
    (recipes.gpt2(2), "recipes.gpt2 finds no output of a residual branch: rule '*.c_proj.weight' matches nothing"),
    (recipes.gpt2(2), "Pass residual=, the pattern of your layers"),
    (recipes.t5(64, 16), "Pass rename=, from your names to the recipe's names, which match '*Attention.q.weight'"),
    (recipes.gpt2(2, residual=["*.a", re.compile("b")]), "rule '*.a or b' matches nothing"),
    (
        recipes.llama(2, 64),
        "finds no output of a residual branch: rule '*(attention.wo|attention.w_out|self_attn.o_proj|",
    ),
    (recipes.vit(), "recipes.vit finds no patch embedding: rule 'patch_embed.proj.*' matches nothing. Pass rename="),
    (recipes.llama_depth(64), "recipes.llama_depth finds no output of a residual branch"),
    (recipes.normalized(2, 64), "recipes.normalized finds no output of a residual branch"),
    (recipes.t5(64, 16), "recipes.t5 finds no queries"),
    (recipes.deepnorm(2), "Pass smaller=, the pattern of your layers"),
    (recipes.resnet(64), "recipes.resnet finds no last scale of a residual branch: rule '*.bn3.weight'"),
    (recipes.fixup(2, inner=re.compile("x")), "Pass inner=, the pattern of your layers"),
    (recipes.siren_network("net.0"), "recipes.siren_network finds no first layer"),
    (recipes.wang(2, 64), "recipes.wang finds no output of a residual branch"),
    (recipes.mitchell(64), "Pass residual=, the pattern of your layers"),
    (recipes.full_megatron(2, 64), "recipes.full_megatron finds no output of a residual branch"),
    (recipes.nanochat(), "recipes.nanochat finds no output of a residual branch"),
    (recipes.mamba2(), "recipes.mamba2 finds no A_log"),
    (recipes.rg_lru(), "recipes.rg_lru finds no a_param"),
    (recipes.xlstm(2, 64), "recipes.xlstm finds no output of a residual branch"),
    (recipes.rezero(), "recipes.rezero finds no scales of residual branches"),
    (recipes.layer_scale(12), "Pass scale=, the pattern of your layers"),
    (recipes.lora(), "recipes.lora finds no factors A"),
    (recipes.lstm(), "recipes.lstm finds no bias with a forget gate: rule '*bias_ih*' matches nothing. Pass bias="),
]


@pytest.mark.parametrize(("rules", "message"), MISSING)
def test_a_recipe_that_finds_no_layers_names_the_argument(rules, message):
    with pytest.raises(PlanError) as caught:
        plan(kernels(other_weight=(64, 64)), rules, default=zeros)
    assert any(message in problem for problem in caught.value.problems)


VECTORS = ["*.bias", ["*a.bias", "*b.bias"], re.compile(r".*\.bias"), "*.norm.weight"]


@pytest.mark.parametrize("residual", VECTORS, ids=str)
def test_a_pattern_of_residual_outputs_that_matches_only_vectors_is_an_error(residual):
    layers = [
        *(Parameter(f"h.{i}.{name}.weight", (8, 8), axes="OI", kind="kernel") for i in range(2) for name in "ab"),
        *(Parameter(f"h.{i}.{name}.bias", (8,), kind="bias") for i in range(2) for name in "ab"),
        *(Parameter(f"h.{i}.norm.weight", (8,), kind="scale") for i in range(2)),
    ]
    with pytest.raises(PlanError) as caught:
        plan(layers, recipes.gpt2(2, residual=residual))
    (problem,) = caught.value.problems
    assert problem.startswith("residual of recipes.gpt2 must match kernels, got ")
    vectors = "h.{0..1}.norm.weight" if residual == "*.norm.weight" else "h.{0..1}.a.bias, h.{0..1}.b.bias"
    assert problem.endswith(
        f"which matches only the vectors {vectors}. Pass residual=, the pattern of your layers. "
        "The kernels in layers are h.{0..1}.a.weight, h.{0..1}.b.weight"
    )


def test_a_pattern_of_residual_outputs_that_matches_nothing_lists_the_kernels():
    layers = kernels(h_0_a_weight=(8, 8), h_1_a_weight=(8, 8), head_weight=(8, 8))
    for residual in ("*.c_proj.weight", ["0.a.weight", "1.a.weight"]):
        with pytest.raises(PlanError) as caught:
            plan(layers, recipes.gpt2(2, residual=residual))
        (problem,) = caught.value.problems
        assert problem.endswith(
            "Pass residual=, the pattern of your layers. The kernels in layers are h.{0..1}.a.weight"
        )
        assert "compile" not in problem


def test_a_list_of_patterns_names_the_outputs_of_residual_branches():
    made = plan(kernels(h_0_a_weight=(64, 64), h_0_b_weight=(64, 64)), recipes.gpt2(1, residual=["*a.*", "*b.*"]))
    assert [row["std"] for row in made.to_dicts()] == pytest.approx([0.02 * 2**-0.5] * 2)


def test_a_rename_gives_a_recipe_its_names():
    parameters = kernels(h_1_out_weight=(64, 64), h_1_in_weight=(64, 64))
    table = plan(parameters, recipes.gpt2(2), rename={"*.out.weight": "*.c_proj.weight"})
    assert {row["name"]: row["std"] for row in table.to_dicts()} == {"h.1.out.weight": 0.01, "h.1.in.weight": 0.02}


def outputs(*layers, names=("attn.c_proj", "mlp.c_proj"), prefix="h"):
    return [
        Parameter(f"{prefix}.{layer}.{name}.weight", (8, 8), axes="OI", kind="kernel")
        for layer in layers
        for name in names
    ]


OF_LAYERS = {
    "gpt2": (recipes.gpt2, "c_proj"),
    "llama": (lambda layers: recipes.llama(layers, 64, residual="*.out.weight"), "out"),
    "normalized": (lambda layers: recipes.normalized(layers, 64, residual="*.out.weight"), "out"),
    "wang": (lambda layers: recipes.wang(layers, 64, residual="*.out.weight"), "out"),
    "full_megatron": (lambda layers: recipes.full_megatron(layers, 64, residual="*.out.weight"), "out"),
    "mamba2": (lambda layers: {"*.A_log": zeros} | recipes.mamba2(layers, residual="*.out.weight"), "out"),
    "mamba3": (lambda layers: {"*.dt_bias": zeros} | recipes.mamba3(layers, residual="*.out.weight"), "out"),
    "xlstm": (lambda blocks: recipes.xlstm(blocks, 64, residual="*.out.weight"), "out"),
    "deepnorm": (lambda layers: recipes.deepnorm(layers, smaller="*.out.weight"), "out"),
    "fixup": (lambda n: {"fc.*": zeros} | recipes.fixup(n, inner="*.up.weight", last="*.out.weight"), "out"),
}


@pytest.mark.parametrize("recipe", OF_LAYERS)
def test_another_number_of_layers_names_the_argument(recipe):
    make, name = OF_LAYERS[recipe]
    argument = {"xlstm": "blocks", "fixup": "blocks"}.get(recipe, "layers")
    model = outputs(0, 1, 2, names=(f"attn.{name}", f"mlp.{name}"))
    model += [Parameter(f"h.0.{each}", (8,), kind="other") for each in ("A_log", "dt_bias")]
    model += [*outputs(0, names=("mlp.up",)), Parameter("fc.weight", (8, 8), kind="other")]
    plan(model, make(3), default=zeros)
    with pytest.warns(
        UserWarning, match=rf"recipes.{recipe} matches 6 outputs .* {argument}=12 needs at least (12|24)"
    ):
        plan(model, make(12), default=zeros)
    with pytest.raises(
        PlanError, match=f"{argument} of recipes.{recipe} must be .*, got 2 for 3 layers. Pass {argument}=3"
    ):
        plan(model, make(2), default=zeros)


def test_residual_branches_of_other_names_are_a_warning():
    model = outputs(*range(4), names=("attn.c_proj", "mlp.proj_out"))
    with pytest.warns(UserWarning, match="recipes.gpt2 matches 4 outputs of residual branches, and layers=4 needs"):
        plan(model, recipes.gpt2(4))
    made = plan(model, recipes.gpt2(4, residual=re.compile(r".*\.(c_proj|proj_out)\.weight")))
    assert {entry.filling.std((8, 8)) for entry in made.entries} == {0.02 * 8**-0.5}


@pytest.mark.parametrize(
    "model",
    [
        outputs(*range(12)),
        outputs(8, 9, 10, 11),  # a stage of a pipeline
        outputs(3),  # one layer alone
        outputs(*range(6), prefix="encoder") + outputs(*range(6), prefix="decoder"),
        [each for layer in range(12) for each in outputs(*range(16), names=("c_proj",), prefix=f"h.{layer}.experts")],
        outputs(*range(12), prefix="module.0.h"),
        [Parameter("h.c_proj.weight", (12, 8, 8), axes="BIO", kind="kernel")],  # stacked layers
    ],
    ids=["full", "stage", "layer", "two stacks", "experts", "nested", "stacked"],
)
def test_the_layers_of_a_model_are_those_of_the_recipe(model):
    assert plan(model, recipes.gpt2(12)).entries


def test_rules_of_the_user_are_never_optional():
    with pytest.raises(PlanError, match=r"rule '\*:table' matches nothing"):
        plan(kernels(fc_weight=(64, 64)), [recipes.bert(), {"*:table": zeros}])


def test_a_recipe_without_kernels_is_an_error_with_the_fix():
    with pytest.raises(PlanError, match=r'No parameter is known to be a kernel; axes={"\*\.weight": "OI"} makes'):
        plan([Parameter("experts.up", (8, 8))], recipes.bert(), default=zeros)


@pytest.mark.parametrize(
    ("recipe", "arguments"),
    [
        (recipes.gpt2, (0,)),
        (recipes.llama, (0, 64)),
        (recipes.llama_depth, (0,)),
        (recipes.normalized, (4, 0)),
        (recipes.t5, (64, 0)),
        (recipes.mamba, (0,)),
        (recipes.resnet, (0,)),
        (recipes.fixup, (8, 1)),
        (recipes.vit, (0,)),
        (recipes.deepnorm, (0,)),
        (recipes.small_init, (0,)),
        (recipes.wang, (0, 64)),
        (recipes.mitchell, (0,)),
        (recipes.full_megatron, (4, 0)),
        (recipes.mamba2, (0,)),
        (recipes.xlstm, (0, 64)),
        (recipes.layer_scale, (0,)),
        (recipes.lora, (0,)),
    ],
)
def test_sizes_are_checked(recipe, arguments):
    with pytest.raises(ValueError, match="must be at least"):
        recipe(*arguments)
