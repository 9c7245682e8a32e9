"""Recipes against the packages that they follow, if installed."""

import dataclasses
import math
import re
import sys

import numpy as np
import pytest
from recipe_models import drawn_std, parameters_of

from initlib import Parameter, constant, normal, ones, plan, recipes, uniform, zeros
from initlib.plans.rules.constructor_value import ConstructorValue

LAYERS = 4


def assert_like_its_own(model, rules, **options):
    """Check that every weight has the mean, std and constants of the model's own initialization."""
    parameters = parameters_of(model)
    own = {name: tensor.detach().double().numpy() for name, tensor in model.named_parameters()}
    drawn = plan(parameters, rules, **options).draw(seed=0)
    assert len(parameters) == len(own)
    groups = {}  # repeated layers as one, which have more weights
    for name, weights in drawn.items():
        groups.setdefault((re.sub(r"\d+", "0", name), weights.shape), []).append(
            (own[name].ravel(), weights.astype(float).ravel())
        )
    for (name, _), pairs in groups.items():
        assert_alike(*(np.concatenate(each) for each in zip(*pairs, strict=True)), name)


def assert_alike(expected, weights, name):
    """Check that two samples have equal means and stds, or are equal constants."""
    if len(np.unique(expected[: 1 << 12])) <= 2 or len(np.unique(weights[: 1 << 12])) <= 2 or expected.size < 8:
        assert np.allclose(expected, weights, atol=1e-5), name
        return
    # Of two normal samples; a uniform one varies less. Seven sigmas.
    error = 7 * math.sqrt(2 / expected.size)
    assert abs(expected.mean() - weights.mean()) < error * expected.std(), name
    assert abs(expected.std() / weights.std() - 1) < error / math.sqrt(2), name


def assert_alike_over_seeds(make, rules, names):
    """Check that weights of the models that `make` returns are alike over several seeds of both sides.

    `names` maps the names of the model to names and axes for the recipe.
    """
    torch = pytest.importorskip("torch")
    expected, weights = {}, {}
    for seed in range(4):
        torch.manual_seed(seed)
        model = make()
        parameters = {parameter.name: parameter for parameter in parameters_of(model)}
        values = dict(model.named_parameters())
        chosen = [
            dataclasses.replace(parameters[old], name=new, axes=axes, kind="kernel" if axes else "other")
            for old, (new, axes) in names.items()
        ]
        drawn = plan(chosen, rules, default=zeros).draw(seed=seed)
        for old, (new, _) in names.items():
            expected.setdefault(new, []).append(values[old].detach().double().numpy().ravel())
            weights.setdefault(new, []).append(drawn[new].astype(float).ravel())
    for name in expected:
        assert_alike(np.concatenate(expected[name]), np.concatenate(weights[name]), name)


@pytest.fixture
def torch():
    """PyTorch, seeded."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    if "tensorflow" in sys.modules:
        sys.modules.setdefault("triton", None)  # two LLVMs in one process end it
    import torchvision_names  # noqa: F401

    return torch


@pytest.fixture
def transformers(torch):
    return pytest.importorskip("transformers")


@pytest.fixture
def timm(torch):
    return pytest.importorskip("timm")


def test_gpt2_follows_transformers(transformers):
    config = transformers.GPT2Config(vocab_size=500, n_positions=64, n_embd=64, n_layer=LAYERS, n_head=4)
    assert_like_its_own(transformers.GPT2LMHeadModel(config), recipes.gpt2(LAYERS))


def test_bert_follows_transformers(transformers):
    config = transformers.BertConfig(
        vocab_size=500, hidden_size=64, num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=128
    )
    assert_like_its_own(transformers.BertForMaskedLM(config), recipes.bert())


@pytest.mark.parametrize("gated", [False, True])
def test_t5_follows_transformers(transformers, gated):
    config = transformers.T5Config(
        vocab_size=500,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=LAYERS,
        num_heads=8,
        feed_forward_proj="gated-gelu" if gated else "relu",
    )
    assert_like_its_own(transformers.T5ForConditionalGeneration(config), recipes.t5(64, 16))


@pytest.mark.parametrize("layers", [None, LAYERS])
def test_mamba_follows_transformers(transformers, layers):
    config = transformers.MambaConfig(
        vocab_size=500,
        hidden_size=64,
        state_size=8,
        num_hidden_layers=LAYERS,
        rescale_prenorm_residual=layers is not None,
    )
    assert_like_its_own(transformers.MambaForCausalLM(config), recipes.mamba(layers))


def test_gated_deltanet(transformers):
    config = transformers.Qwen3NextConfig(
        vocab_size=500,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        linear_num_value_heads=64,
        linear_num_key_heads=16,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=32,
        shared_expert_intermediate_size=32,
    )
    model = transformers.Qwen3NextForCausalLM(config)
    special = {"*.dt_bias": ones, "*linear_attn.norm.weight": ones, "*norm.weight": zeros}
    experts = {"*.experts.*": normal(std=0.02), "*.gate.weight": normal(std=0.02)}
    assert_like_its_own(model, [special, experts, recipes.gated_deltanet()])


def test_mamba2(transformers):
    config = transformers.Mamba2Config(
        vocab_size=50, hidden_size=64, num_hidden_layers=2, num_heads=16, head_dim=8, state_size=16, n_groups=1,
        rescale_prenorm_residual=True,
    )  # fmt: skip
    block = "layers.1.mixer"
    axes = {"dt_bias": None, "D": None, "conv1d.weight": "(160 O)IK", "out_proj.weight": "OI"}
    names = {f"{block}.{name}": (f"{block}.{name}", letters) for name, letters in axes.items()}
    # transformers sets A_log to log(1..n), and draws the input projections as in its other models.
    rules = {pattern: rule for pattern, rule in recipes.mamba2(2).items() if "A_log" not in pattern}
    assert_alike_over_seeds(lambda: transformers.Mamba2Model(config), rules, names)


def test_rg_lru(transformers):
    config = transformers.RecurrentGemmaConfig(
        vocab_size=50, hidden_size=64, intermediate_size=64, lru_width=64, num_hidden_layers=1, num_attention_heads=4,
        w_init_variance_scale=1.0,
    )  # fmt: skip
    block = "layers.0.temporal_block.rg_lru"
    names = {
        f"{block}.recurrent_param": ("rg_lru.a_param", None),
        f"{block}.input_gate_weight": ("rg_lru.input_gate.w", "BIO"),
        f"{block}.recurrent_gate_weight": ("rg_lru.a_gate.w", "BIO"),
        f"{block}.input_gate_bias": ("rg_lru.input_gate.b", None),
        f"{block}.recurrent_gate_bias": ("rg_lru.a_gate.b", None),
    }
    assert_alike_over_seeds(lambda: transformers.RecurrentGemmaModel(config), recipes.rg_lru(), names)


def test_small_init_and_wang(transformers, torch):
    from transformers.models.xlstm.modeling_xlstm import small_init_method, wang_init_method

    def make():
        model = torch.nn.ModuleDict({name: torch.nn.Linear(64, 64, bias=False) for name in ("up", "down")})
        small_init_method(64)(model["up"].weight)
        wang_init_method(12, 64)(model["down"].weight)
        return model

    names = {"up.weight": ("h.7.up.weight", "OI"), "down.weight": ("h.7.down.weight", "OI")}
    assert_alike_over_seeds(make, recipes.wang(12, 64, residual="*.down.weight"), names)


@pytest.mark.parametrize("rank", [None, 8])
def test_lora(torch, rank):
    peft = pytest.importorskip("peft")

    def make():
        model = torch.nn.Sequential(torch.nn.Linear(256, 64, bias=False), torch.nn.Embedding(300, 16))
        start = True if rank is None else "gaussian"
        return peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules=["0", "1"], init_lora_weights=start))

    linear, table = "base_model.model.0", "base_model.model.1"
    names = {f"{linear}.lora_{which}.default.weight": (f"q.lora_{which}.default.weight", "OI") for which in "AB"}
    names |= {f"{table}.lora_embedding_{which}.default": (f"t.lora_embedding_{which}.default", "OI") for which in "AB"}
    assert_alike_over_seeds(make, recipes.lora(rank), names)


def test_switch_fills_the_tables_of_transformers(transformers):
    config = transformers.SwitchTransformersConfig(
        vocab_size=500, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, num_experts=4
    )
    actual = drawn_std(parameters_of(transformers.SwitchTransformersForConditionalGeneration(config)), recipes.switch())
    assert actual["shared.weight"] == 1
    assert {std for name, std in actual.items() if name.endswith(".wi.weight")} == {math.sqrt(0.1 / 64)}


def test_vit_follows_timm(timm):
    model = timm.create_model("vit_tiny_patch16_224", depth=LAYERS, num_classes=10)
    assert_like_its_own(model, recipes.vit())


def test_vit_jax_follows_timm(timm):
    model = timm.create_model("vit_tiny_patch16_224", depth=LAYERS, num_classes=10, weight_init="jax")
    assert_like_its_own(model, recipes.vit_jax())


def test_resnet_follows_torchvision(timm):
    model = timm.create_model("resnet18", num_classes=10)
    parameters = parameters_of(model)
    assert plan(parameters, recipes.resnet(512, "*.bn2.weight"))["layer4.1.bn2.weight"].filling == zeros
    assert_like_its_own(model, recipes.resnet(512, "*.bn2.weight"))


def test_lstm_follows_its_formula(torch):
    model = torch.nn.LSTM(8, 16, num_layers=2)
    drawn = plan(parameters_of(model), recipes.lstm()).draw(0)
    for gate in drawn["weight_hh_l1"].reshape(4, 16, 16):
        assert np.allclose(gate @ gate.T, np.eye(16), atol=1e-5)
    assert drawn["bias_ih_l0"].reshape(4, 16).T.tolist() == [[0, 1, 0, 0]] * 16
    assert not drawn["bias_hh_l0"].any()
    assert np.abs(drawn["weight_ih_l0"]).max() <= math.sqrt(6 / (8 + 16))


def modules(torch):
    nn = torch.nn
    return {
        "Linear": nn.Linear(64, 512),
        "Conv1d": nn.Conv1d(16, 128, 5),
        "Conv2d": nn.Conv2d(32, 128, 3, groups=4),
        "Conv3d": nn.Conv3d(8, 64, 3),
        "ConvTranspose2d": nn.ConvTranspose2d(32, 64, 3, groups=2),
        "Bilinear": nn.Bilinear(24, 16, 32),
        "Embedding": nn.Embedding(100, 64, padding_idx=3),
        "EmbeddingBag": nn.EmbeddingBag(100, 64),
        "RNN": nn.RNN(32, 96, bidirectional=True),
        "GRU": nn.GRU(32, 96),
        "LSTM": nn.LSTM(32, 96, num_layers=2, proj_size=48),
        "RNNCell": nn.RNNCell(32, 96),
        "GRUCell": nn.GRUCell(32, 96),
        "LSTMCell": nn.LSTMCell(32, 96),
        "MultiheadAttention": nn.MultiheadAttention(96, 4, add_bias_kv=True),
        "Transformer": nn.TransformerEncoderLayer(96, 4, 128),
        "separate": nn.MultiheadAttention(96, 4, kdim=64, vdim=32),
        "BatchNorm2d": nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64)),
    }


def test_torch_default_follows_pytorch(torch):
    for name, module in modules(torch).items():
        try:
            assert_like_its_own(module, recipes.torch_default)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def test_torch_default_applies_to_a_part_of_a_model(torch):
    model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Linear(4, 2))
    parameters = parameters_of(model)
    table = plan(parameters, {"0.*": constant(2), **recipes.torch_default(parameters[2:])})
    assert table["0.bias"].filling == constant(2)
    assert table["1.bias"].filling.bounds(2) == (-0.5, 0.5)


def test_torch_default_goes_by_the_class_and_not_by_its_name():
    def linear(value):
        return Parameter("fc.weight", (10, 64), axes="OI", kind="kernel", owner="Linear", constructor=value)

    assert recipes.torch_default([linear(ConstructorValue())]) == {}
    own = ConstructorValue(draws_like="Linear")
    assert list(recipes.torch_default([linear(own)]).values()) == [uniform(-0.125, 0.125)]


def test_torch_default_ignores_other_classes_of_the_same_name(torch):
    import initlib.adapters.torch as init

    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(8, 4))

    class Own(torch.nn.Linear):
        pass

    class Redrawn(torch.nn.Linear):
        def reset_parameters(self):
            torch.nn.init.normal_(self.weight)

    model = torch.nn.ModuleDict({"a": Linear(), "b": Own(4, 8), "c": Redrawn(4, 8, bias=False)})
    made = init.plan(model, recipes.torch_default, default=zeros)
    fills = {entry.stream: entry.filling for entry in made.entries}
    half = uniform(-0.5, 0.5)
    assert fills == {"a.weight": zeros, "b.weight": half, "b.bias": half, "c.weight": zeros}


def test_torch_default_may_follow_rules_of_the_user():
    parameters = [
        Parameter("fc.weight", (10, 64), axes="OI", kind="kernel", owner="Linear"),
        Parameter("fc.bias", (10,), kind="bias", owner="Linear"),
    ]
    table = plan(parameters, [{"*:bias": constant(2)}, recipes.torch_default])
    assert [entry.filling for entry in table.entries] == [uniform(-0.125, 0.125), constant(2)]


def test_every_recipe_names_a_source():
    for name in set(recipes.__all__) - {"analytic"}:  # which computes its gains
        assert "Reference:" in getattr(recipes, name).__doc__, name
