"""Recipes of recent models against the formulas of their sources."""

import copy
import math

import numpy as np
import pytest

from initlib import Parameter, PlanError, logarithm, mup_learning_rates, plan, recipes, uniform
from initlib.plans.fills.parts import Split

WIDTH, LAYERS = 256, 6


def kernel(name, shape, axes="OI"):
    return Parameter(name, shape, axes=axes, kind="kernel")


def drawn(parameters, rules):
    return plan(parameters, rules).draw(seed=0)


def std(array, expected):
    """Return whether the std of many weights is the expected one, to seven standard errors of a normal sample."""
    return abs(array.std() / expected - 1) < 7 / math.sqrt(2 * array.size)


def cut(sigma):
    """Return the std of PyTorch's `trunc_normal_` at 3 sigmas."""
    return 0.98658 * sigma


LLAMA = [
    Parameter("embed_tokens.weight", (500, WIDTH), kind="table"),
    *(kernel(f"layers.{i}.self_attn.q_proj.weight", (WIDTH, WIDTH)) for i in range(LAYERS)),
    *(kernel(f"layers.{i}.self_attn.o_proj.weight", (WIDTH, WIDTH)) for i in range(LAYERS)),
    *(kernel(f"layers.{i}.mlp.down_proj.weight", (WIDTH, 4 * WIDTH)) for i in range(LAYERS)),
    kernel("lm_head.weight", (500, WIDTH)),
]


def test_small_init_and_wang_have_the_std_of_gpt_neox():
    small, wang = math.sqrt(2 / (5 * WIDTH)), 2 / LAYERS / math.sqrt(WIDTH)
    weights = drawn(LLAMA, recipes.small_init(WIDTH))
    assert all(std(array, small) for array in weights.values())
    weights = drawn(LLAMA, recipes.wang(LAYERS, WIDTH))
    for name, array in weights.items():
        assert std(array, wang if "o_proj" in name or "down_proj" in name else small), name


def test_mitchell_divides_outputs_by_the_layer():
    weights = drawn(LLAMA, recipes.mitchell(WIDTH))
    assert std(weights["embed_tokens.weight"], cut(WIDTH**-0.5))
    assert std(weights["lm_head.weight"], cut(WIDTH**-0.5))
    for i in range(LAYERS):
        assert std(weights[f"layers.{i}.self_attn.q_proj.weight"], cut(WIDTH**-0.5))
        assert std(weights[f"layers.{i}.self_attn.o_proj.weight"], cut(1 / math.sqrt(2 * WIDTH * (i + 1))))
        down = weights[f"layers.{i}.mlp.down_proj.weight"]
        assert std(down, cut(1 / math.sqrt(2 * 4 * WIDTH * (i + 1))))
        assert np.abs(down).max() <= 3 / math.sqrt(2 * 4 * WIDTH * (i + 1))


def test_full_megatron_and_fan_in_have_the_std_of_olmo():
    weights = drawn(LLAMA, recipes.full_megatron(LAYERS, WIDTH, std=0.03))
    assert std(weights["lm_head.weight"], cut(WIDTH**-0.5))
    assert std(weights["embed_tokens.weight"], cut(0.03))
    assert std(weights["layers.2.self_attn.q_proj.weight"], cut(0.03))
    assert std(weights["layers.2.mlp.down_proj.weight"], cut(0.03 / math.sqrt(2 * LAYERS)))
    names = ["transformer.blocks.5.attn_out.weight", "transformer.blocks.5.ff_out.weight", "transformer.ff_out.weight"]
    weights = drawn([kernel(name, (WIDTH, WIDTH)) for name in names], recipes.full_megatron(LAYERS, WIDTH))
    expected = [0.02 / math.sqrt(2 * LAYERS)] * 2 + [WIDTH**-0.5]
    assert all(std(array, cut(value)) for array, value in zip(weights.values(), expected, strict=True))
    weights = drawn(LLAMA, recipes.olmo_fan_in())
    assert std(weights["embed_tokens.weight"], 1.0)
    assert std(weights["layers.0.mlp.down_proj.weight"], cut((4 * WIDTH) ** -0.5))
    assert std(weights["lm_head.weight"], cut(WIDTH**-0.5))


def test_nanochat_starts_with_zero_outputs():
    names = {"attn.c_q": (WIDTH, WIDTH), "attn.c_k": (64, WIDTH), "mlp.c_fc": (4 * WIDTH, WIDTH)}
    parameters = [
        Parameter("transformer.wte.weight", (500, WIDTH), kind="table"),
        kernel("lm_head.weight", (50, WIDTH)),
    ]
    parameters += [kernel(f"transformer.h.0.{name}.weight", shape) for name, shape in names.items()]
    parameters += [kernel(f"transformer.h.0.{name}.c_proj.weight", (WIDTH, WIDTH)) for name in ("attn", "mlp")]
    weights = drawn(parameters, recipes.nanochat())
    assert std(weights["transformer.wte.weight"], 1.0)
    for name in ("lm_head.weight", "transformer.h.0.attn.c_proj.weight", "transformer.h.0.mlp.c_proj.weight"):
        assert not weights[name].any()
    for name, (fan_out, fan_in) in names.items():
        expected = min(1.0, math.sqrt(fan_out / fan_in)) / math.sqrt(fan_in)
        assert std(weights[f"transformer.h.0.{name}.weight"], expected)


def test_mamba2_draws_a_and_the_step_sizes():
    heads = 4000
    parameters = [
        *(Parameter(f"layers.8.mixer.{name}", (heads,)) for name in ("A_log", "dt_bias", "D")),
        kernel("layers.8.mixer.in_proj.weight", (512, WIDTH)),
        kernel("layers.8.mixer.out_proj.weight", (WIDTH, 512)),
        kernel("layers.8.mixer.conv1d.weight", (512, 1, 4), "(512 O)IK"),
    ]
    weights = drawn(parameters, recipes.mamba2(layers=9))
    a = np.exp(weights["layers.8.mixer.A_log"].astype(float))
    assert 1 <= a.min() < 1.1
    assert 15.9 < a.max() <= 16.0001
    assert a.mean() == pytest.approx(8.5, abs=7 * 15 / math.sqrt(12 * heads))
    steps = np.log(np.log1p(np.exp(weights["layers.8.mixer.dt_bias"].astype(float))))
    assert math.log(0.00099) < steps.min()
    assert steps.max() < math.log(0.101)
    assert steps.mean() == pytest.approx(math.log(0.01), abs=7 * math.log(100) / math.sqrt(12 * heads))
    assert (weights["layers.8.mixer.D"] == 1).all()
    for name, limit in {"in_proj": WIDTH**-0.5, "conv1d": 0.5, "out_proj": 512**-0.5 / 3}.items():
        assert 0.99 * limit < np.abs(weights[f"layers.8.mixer.{name}.weight"]).max() <= limit


def test_mamba3_sets_constants_and_draws_the_step_sizes():
    heads, rank = 4000, 4
    parameters = [
        *(Parameter(f"layers.8.mixer.{name}", (heads,)) for name in ("dt_bias", "D")),
        *(Parameter(f"layers.8.mixer.{name}", (2, rank, 8)) for name in ("B_bias", "C_bias")),
        *(Parameter(f"layers.8.mixer.mimo_{name}", (2, rank, 16)) for name in "xzo"),
        kernel("layers.8.mixer.in_proj.weight", (512, WIDTH)),
        kernel("layers.8.mixer.out_proj.weight", (WIDTH, 512)),
        Parameter("embedding.weight", (500, WIDTH), kind="table"),
    ]
    weights = {name.removeprefix("layers.8.mixer."): w for name, w in drawn(parameters, recipes.mamba3(9)).items()}
    steps = np.log(np.log1p(np.exp(weights["dt_bias"].astype(float))))
    assert math.log(0.00099) < steps.min()
    assert steps.max() < math.log(0.101)
    assert steps.mean() == pytest.approx(math.log(0.01), abs=7 * math.log(100) / math.sqrt(12 * heads))
    for name, value in {"D": 1, "B_bias": 1, "C_bias": 1, "mimo_x": 1 / rank, "mimo_z": 1, "mimo_o": 1 / rank}.items():
        assert (weights[name] == value).all(), name
    for name, limit in {"in_proj": WIDTH**-0.5, "out_proj": 512**-0.5 / 3}.items():
        assert 0.99 * limit < np.abs(weights[f"{name}.weight"]).max() <= limit
    assert std(weights["embedding.weight"], 0.02)


def test_gated_deltanet_draws_a_and_the_step_sizes():
    heads = 4000
    parameters = [
        *(Parameter(f"layers.0.attn.{name}", (heads,)) for name in ("A_log", "dt_bias", "D")),
        kernel("layers.0.attn.q_proj.weight", (WIDTH, WIDTH)),
        kernel("layers.0.attn.q_conv1d.weight", (4096, 1, 4), "(4096 O)IK"),
    ]
    weights = drawn(parameters, recipes.gated_deltanet())
    a = np.exp(weights["layers.0.attn.A_log"].astype(float))
    assert a.min() >= 0.0099
    assert a.max() <= 16.0001
    assert a.mean() == pytest.approx(8.005, abs=7 * 16 / math.sqrt(12 * heads))
    steps = np.log(np.log1p(np.exp(weights["layers.0.attn.dt_bias"].astype(float))))
    assert steps.mean() == pytest.approx(math.log(0.01), abs=7 * math.log(100) / math.sqrt(12 * heads))
    assert (weights["layers.0.attn.D"] == 1).all()
    assert std(weights["layers.0.attn.q_proj.weight"], 0.02)
    assert std(weights["layers.0.attn.q_conv1d.weight"], 0.02)


def test_the_recurrence_of_the_rg_lru_is_uniform_on_a_ring():
    parameters = [
        Parameter("rg_lru.a_param", (20_000,)),
        kernel("rg_lru.a_gate.w", (8, 32, 32), "BIO"),
        Parameter("rg_lru.a_gate.b", (8, 32), kind="bias"),
    ]
    weights = drawn(parameters, recipes.rg_lru())
    radius = np.exp(-np.log1p(np.exp(weights["rg_lru.a_param"].astype(float))))
    shares = (radius**2 - 0.9**2) / (0.999**2 - 0.9**2)
    assert shares.min() > -1e-4
    assert shares.max() < 1 + 1e-4
    assert shares.mean() == pytest.approx(0.5, abs=7 / math.sqrt(12 * 20_000))
    assert std(weights["rg_lru.a_gate.w"], 32**-0.5)
    assert not weights["rg_lru.a_gate.b"].any()
    with pytest.raises(ValueError, match="high must be above low and below 1"):
        recipes.rg_lru(0.9, 1.0)


def test_the_gates_of_xlstm_start_open():
    block = "blocks.11.xlstm"
    parameters = [
        Parameter("token_embedding.weight", (500, WIDTH), kind="table"),
        kernel(f"{block}.proj_up.weight", (4 * WIDTH, WIDTH)),
        kernel(f"{block}.proj_down.weight", (WIDTH, 2 * WIDTH)),
        Parameter(f"{block}.q_proj.weight", (128, 4, 4)),
        Parameter(f"{block}.learnable_skip", (512,)),
        *(kernel(f"{block}.mlstm_cell.{gate}.weight", (4, 6 * WIDTH)) for gate in ("igate", "fgate")),
        *(Parameter(f"{block}.mlstm_cell.{gate}.bias", (4,), kind="bias") for gate in ("igate", "fgate")),
    ]
    weights = drawn(parameters, recipes.xlstm(12, WIDTH))
    small = math.sqrt(2 / (5 * WIDTH))
    assert all(std(weights[name], small) for name in ("token_embedding.weight", f"{block}.proj_up.weight"))
    assert std(weights[f"{block}.q_proj.weight"], small)
    assert std(weights[f"{block}.proj_down.weight"], 2 / 12 / math.sqrt(WIDTH))
    assert not weights[f"{block}.mlstm_cell.igate.weight"].any()
    assert not weights[f"{block}.mlstm_cell.fgate.weight"].any()
    assert weights[f"{block}.mlstm_cell.fgate.bias"].tolist() == [3, 4, 5, 6]
    assert 0 < np.abs(weights[f"{block}.mlstm_cell.igate.bias"]).max() < 0.7
    assert (weights[f"{block}.learnable_skip"] == 1).all()


def test_scales_of_residual_branches_follow_their_papers():
    scale = Parameter("layers.3.resweight", (1,), kind="scale")
    assert drawn([scale], recipes.rezero())["layers.3.resweight"] == 0
    gamma = Parameter("blocks.0.gamma_1", (8,), kind="scale")
    for layers, value in ((1, 0.1), (18, 0.1), (19, 1e-5), (24, 1e-5), (25, 1e-6), (48, 1e-6)):
        weights = drawn([gamma], recipes.layer_scale(layers))["blocks.0.gamma_1"]
        assert weights == pytest.approx(np.full(8, value))


def test_the_product_of_lora_starts_at_zero():
    a, b = (kernel(f"q.lora_{which}.default.weight", shape) for which, shape in (("A", (8, 512)), ("B", (512, 8))))
    weights = drawn([a, b], recipes.lora())
    first = weights["q.lora_A.default.weight"]
    assert 0.98 / math.sqrt(512) < np.abs(first).max() <= 1 / math.sqrt(512)
    assert not weights["q.lora_B.default.weight"].any()
    assert std(drawn([a, b], recipes.lora(rank=8))["q.lora_A.default.weight"], 1 / 8)


@pytest.mark.parametrize("recipe", ["pissa", "olora"])
@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
def test_factors_of_adapted_weights_are_those_of_peft_up_to_signs(recipe, shape):
    torch = pytest.importorskip("torch")
    import torchvision_names  # noqa: F401

    peft = pytest.importorskip("peft")
    import initlib.adapters.torch as init

    torch.manual_seed(0)
    layer = torch.nn.Linear(shape[1], shape[0])
    weight, inputs = layer.weight.detach().clone(), torch.randn(5, shape[1])
    before = layer(inputs).detach()

    def adapted(start):
        config = peft.LoraConfig(r=6, lora_alpha=15, target_modules=["0"], init_lora_weights=start)
        return peft.get_peft_model(torch.nn.Sequential(copy.deepcopy(layer)), config)

    expected, model = adapted(recipe), adapted(True)
    name = "base_model.model.0.base_layer.weight"
    rules = getattr(recipes, recipe)({name: weight.numpy()}, 6, 15 / 6)
    init.initialize(model, rules, 0, unmatched="keep")
    own, other = dict(model.named_parameters()), dict(expected.named_parameters())
    assert torch.allclose(own[name], other[name], atol=2e-6)
    assert torch.allclose(model(inputs), before, atol=2e-5)
    a, b = ("base_model.model.0.lora_A.default.weight", "base_model.model.0.lora_B.default.weight")
    assert torch.allclose(own[a].abs(), other[a].abs(), atol=2e-5)
    assert torch.allclose(own[b] @ own[a], other[b] @ other[a], atol=2e-6)
    largest = own[b].abs().argmax(0)
    assert (own[b][largest, range(6)] > 0).all()


def test_adapted_weights_must_be_matrices_of_the_rank():
    with pytest.raises(ValueError, match=r"weights must be matrices of at least rank 4, got shape \(3, 8\) for 'q'"):
        recipes.pissa({"q": np.zeros((3, 8))}, 4)
    with pytest.raises(ValueError, match="scaling must be above 0"):
        recipes.olora({}, 4, 0.0)
    with pytest.raises(TypeError, match="weights must be a mapping from names to arrays, got str"):
        recipes.pissa("model.safetensors", 4)


@pytest.mark.parametrize("base", [64, "model", [np.zeros(3)]])
def test_a_base_that_is_no_plan_is_an_error_that_says_how_to_make_one(base):
    with pytest.raises(
        TypeError, match=r"base must be a plan or an iterable of Parameter, got .*plan\(model, \.\.\.\)"
    ):
        recipes.mup(base)
    with pytest.raises(TypeError, match="base must be a plan or an iterable of Parameter"):
        mup_learning_rates(network(64), base)
    with pytest.raises(TypeError, match="plan must be a plan or an iterable of Parameter"):
        mup_learning_rates(base, network(64))


def test_logarithm_gives_the_logarithm_of_another_draw():
    scheme = logarithm(uniform(1.0, 16.0), -0.5)
    weights = scheme((1000,), "float64", seed=0)
    assert np.allclose(weights, -0.5 * np.log(uniform(1.0, 16.0)((1000,), "float64", seed=0)))
    assert scheme.bounds((3,)) == pytest.approx((-0.5 * math.log(16), 0))
    with pytest.raises(ValueError, match="initializer of logarithm must draw weights above 0"):
        logarithm(uniform(-1.0, 1.0))((3,))


# --- muP


def network(width, heads=4):
    return [
        Parameter("embed.weight", (50, width), kind="table"),
        kernel("patches.weight", (width, 3, 4, 4), "OIHW"),
        kernel("depthwise.weight", (width, 1, 3, 3), f"({width} O)IHW"),
        kernel("qkv.weight", (width + 2 * width // heads, width)),
        kernel("mlp.weight", (4 * width, width)),
        Parameter("mlp.bias", (4 * width,), kind="bias"),
        Parameter("norm.weight", (width,), kind="scale"),
        kernel("head.weight", (10, width)),
        Parameter("head.bias", (10,), kind="bias"),
    ]


def stds(rules, parameters=None):
    return {row["name"]: row["std"] for row in plan(parameters or network(1024), rules).to_dicts()}


def test_mup_compares_each_weight_with_the_base():
    scaled_stds = stds(recipes.mup(network(64)))
    assert scaled_stds["embed.weight"] == scaled_stds["patches.weight"] == scaled_stds["depthwise.weight"] == 0.02
    assert scaled_stds["qkv.weight"] == scaled_stds["mlp.weight"] == pytest.approx(0.02 / 4)
    assert scaled_stds["head.weight"] == pytest.approx(0.02 / 16)
    assert stds(recipes.mup(network(64), readout="multiplier"))["head.weight"] == 0.02
    assert stds(recipes.mup(network(64), zero_readout=True))["head.weight"] == 0
    assert stds(recipes.completep(network(64))) == stds(recipes.mup(network(64), readout="multiplier"))


def test_mup_scales_the_initializers_of_a_base_plan():
    from initlib import he_normal, normal, parts

    base = plan(network(64), {"*:table": normal(), "*:kernel": he_normal})
    scaled_stds = stds(recipes.mup(base))
    assert scaled_stds["embed.weight"] == 1.0
    assert scaled_stds["patches.weight"] == pytest.approx(math.sqrt(2 / 48))
    assert scaled_stds["mlp.weight"] == pytest.approx(math.sqrt(2 / 1024))
    assert scaled_stds["head.weight"] == pytest.approx(math.sqrt(2 / 64) / 16)
    qkv = parts({"q.weight": 4, "k.weight": 1, "v.weight": (1, normal(std=0.05))}, he_normal)
    base = plan(network(64), {"qkv.weight": qkv, "*:table": normal(), "*:kernel": he_normal})
    wide = plan(network(1024), recipes.mup(base))
    assert isinstance(wide["qkv.weight"].filling, Split)
    fused = {piece.stream: piece.initializer.std(piece.shape, piece.axes) for piece in wide["qkv.weight"].pieces}
    assert fused["q.weight"] == fused["k.weight"] == pytest.approx(math.sqrt(2 / 1024))
    assert fused["v.weight"] == pytest.approx(0.05 / 4)


def test_a_weight_that_the_base_lacks_is_an_error_that_names_it():
    with pytest.raises(
        PlanError, match=r"head\.weight: base of recipes\.mup must have every parameter.*'head\.weight'"
    ):
        plan(network(1024), recipes.mup(network(64)[:-2]))
    other = [kernel("head.weight", (10, 64, 1), "OIK")]
    with pytest.raises(PlanError, match=r"base of recipes\.mup must have 'head\.weight' with 2 axes, got 3"):
        plan([kernel("head.weight", (10, 1024))], recipes.mup(other))
    with pytest.raises(ValueError, match="readout must be one of weight, multiplier, got 'heads'"):
        recipes.mup(network(64), readout="heads")


def test_learning_rates_of_mup_are_those_of_table_8():
    import initlib

    def rates(optimizer, readout="weight"):
        rates = initlib.mup_learning_rates(network(1024), network(64), optimizer, readout=readout)
        return {name: (each["lr"], each["weight_decay"]) for name, each in rates.items()}

    adam = rates("adamw")
    assert adam["mlp.weight"] == adam["qkv.weight"] == adam["head.weight"] == (1 / 16, 16)
    others = ("embed.weight", "patches.weight", "depthwise.weight", "mlp.bias", "norm.weight", "head.bias")
    assert all(adam[name] == (1, 1) for name in others)
    assert rates("adam")["head.weight"] == (1 / 16, 256)
    assert rates("adam", "multiplier")["head.weight"] == (1, 1)
    sgd = rates("sgd", "multiplier")
    assert sgd["mlp.weight"] == sgd["head.bias"] == (1, 1)
    assert sgd["head.weight"] == sgd["mlp.bias"] == sgd["embed.weight"] == sgd["depthwise.weight"] == (16, 1 / 16)
    assert rates("sgd")["head.weight"] == (1 / 16, 16)
    uneven = [[kernel("w", shape)] for shape in ((256, 64), (64, 32))]
    assert initlib.mup_learning_rates(*uneven, "sgd")["w"]["lr"] == pytest.approx(4 / 2)
    with pytest.raises(ValueError, match=r"axes of 'w' must be known, because two axes grow"):
        initlib.mup_learning_rates([Parameter("w", (4, 4))], [Parameter("w", (2, 2))])


def decoder(width, layers=4):
    names = [f"h.{layer}.{name}" for layer in range(layers) for name in ("norm.weight", "mlp.weight", "mlp.bias")]
    return [
        Parameter("embed.weight", (50, width), kind="table"),
        *(kernel(name, (width, width)) if name.endswith("mlp.weight") else Parameter(name, (width,)) for name in names),
        Parameter("norm.weight", (width,), kind="scale"),
        kernel("head.weight", (50, width)),
    ]


@pytest.mark.parametrize(("alpha", "rate"), [(1, 1), (0.5, 1 / 3)])
def test_learning_rates_of_completep_are_those_of_table_1(alpha, rate):
    import initlib

    found = initlib.mup_learning_rates(
        decoder(64), decoder(16), "adamw", readout="multiplier", blocks="h.*", depth=9, alpha=alpha
    )
    epsilon = 1 / (4 * 9**alpha)
    assert found["h.3.mlp.weight"] == pytest.approx({"lr": rate / 4, "weight_decay": 4, "eps": epsilon})
    assert found["h.0.norm.weight"] == pytest.approx({"lr": rate, "weight_decay": 1, "eps": epsilon})
    assert found["h.0.mlp.bias"] == found["h.0.norm.weight"]
    for name in ("embed.weight", "norm.weight", "head.weight"):
        assert found[name] == {"lr": 1, "weight_decay": 1, "eps": 1}
    width_alone = initlib.mup_learning_rates(decoder(64), decoder(16), "adamw", readout="multiplier", blocks="h.*")
    assert width_alone["h.0.mlp.bias"] == {"lr": 1, "weight_decay": 1, "eps": 1 / 4}


def test_the_depth_needs_blocks_that_match_and_an_optimizer_of_adam():
    import initlib

    def rates(*options, **named):
        return initlib.mup_learning_rates(decoder(64), decoder(16), *options, **named)

    assert rates()["h.0.mlp.weight"]["eps"] == 1  # as in the package mup
    for options, named in (((), {}), (("sgd",), {"blocks": "h.*"})):
        with pytest.raises(ValueError, match=r"depth must be 1 without blocks and for sgd, got 2\.0"):
            rates(*options, depth=2, **named)
    with pytest.raises(ValueError, match=r"blocks must match parameters of the plan, got 'layers\.\*'"):
        rates(blocks="layers.*")
    with pytest.raises(ValueError, match="depth must be above 0"):
        rates(blocks="h.*", depth=0)


def test_a_table_that_is_also_the_head_is_an_input():
    import initlib

    wide, narrow = ([Parameter("embed.weight", (50, width), kind="table", tied=("head.weight",))] for width in (64, 16))
    for base in (narrow, plan(narrow, initlib.normal(std=0.02))):
        assert stds(recipes.mup(base), wide)["embed.weight"] == 0.02
    assert initlib.mup_learning_rates(wide, narrow)["embed.weight"]["lr"] == 1
    assert initlib.mup_learning_rates(wide, narrow, "sgd")["embed.weight"]["lr"] == 4
