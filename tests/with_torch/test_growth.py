"""Growth recipes on real models: what the larger model computes, from a checkpoint that its library has saved."""

import numpy as np
import pytest
import torch
from real_models import TINY

import initlib.adapters.torch as init
from initlib import loaded, normal, recipes

transformers = pytest.importorskip("transformers")

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    **TINY,
}


def llama(**changes):
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**SIZES, **changes})).eval()


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A LLaMA with weights of ordinary size, saved by transformers."""
    model = llama()
    init.initialize(model, {"*norm*": normal(1, 0.1)}, seed=0, default=normal(std=0.2))
    folder = tmp_path_factory.mktemp("dense")
    model.save_pretrained(folder)
    return model, str(folder)


def logits(model):
    tokens = torch.arange(24).reshape(2, 12) % 100
    with torch.no_grad():
        return model(tokens).logits


def close(one, other):
    return float((one - other).abs().max()) <= 1e-5 * max(1.0, float(other.abs().max()))


def test_an_upcycled_mixtral_computes_what_its_dense_llama_computes(dense):
    model, folder = dense
    config = transformers.MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2)
    sparse = transformers.MixtralForCausalLM(config).eval()
    rules = {
        "*.mlp.gate.weight": normal(std=0.5),
        **recipes.upcycle(
            folder,
            {"*.experts.gate_up_proj": ("*.gate_proj.weight", "*.up_proj.weight")},
            {"*.experts.down_proj": "*.down_proj.weight"},
        ),
        "*": loaded(folder),
    }
    plan = init.initialize(sparse, rules, seed=0)
    assert close(logits(sparse), logits(model))
    assert not init.verify(sparse, plan, seed=0)


def test_redrawn_hidden_units_are_the_same_in_all_weights_of_an_expert(dense):
    model, folder = dense
    config = transformers.MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2)
    sparse = transformers.MixtralForCausalLM(config)
    up = {"*.experts.gate_up_proj": ("*.gate_proj.weight", "*.up_proj.weight")}
    drop = recipes.upcycle(folder, up, {"*.experts.down_proj": "*.down_proj.weight"}, redrawn=0.5)
    init.initialize(sparse, {"*.mlp.gate.weight": normal(std=0.5), **drop, "*": loaded(folder)}, seed=0)
    mlp, experts = model.model.layers[1].mlp, sparse.model.layers[1].mlp.experts
    chosen = []
    for i in range(4):
        gate, up_weight = experts.gate_up_proj[i].chunk(2)
        new = [
            (gate != mlp.gate_proj.weight).any(1),
            (up_weight != mlp.up_proj.weight).any(1),
            (experts.down_proj[i] != mlp.down_proj.weight).any(0),
        ]
        assert torch.equal(new[0], new[1])
        assert torch.equal(new[0], new[2])
        assert int(new[0].sum()) == 24  # int(0.5 * 48)
        chosen.append(tuple(new[0].tolist()))
        gate, old = gate.detach(), mlp.gate_proj.weight.detach()[new[0]]
        # 768 normal weights: 5 sigmas of their mean and of their std.
        assert abs(float(gate[new[0]].mean() - old.mean())) < 5 * float(old.std()) / 768**0.5
        assert abs(float(gate[new[0]].std() / old.std()) - 1) < 5 / (2 * 768) ** 0.5
    assert len(set(chosen)) == 4


def test_a_model_with_expanded_depth_computes_what_the_old_model_computes(dense):
    model, folder = dense
    for layers in (5, 6, 8):
        deep = llama(num_hidden_layers=layers)
        init.initialize(deep, {**recipes.grow_depth(folder, layers, scheme="expand"), "*": loaded(folder)}, seed=0)
        assert close(logits(deep), logits(model))


@pytest.mark.parametrize(
    ("scheme", "layers", "origins"),
    [("stack", 8, (0, 1, 2, 3, 0, 1, 2, 3)), ("stack", 6, (0, 1, 2, 3, 0, 1)), ("overlap", 6, (0, 1, 2, 1, 2, 3))],
)
def test_stacked_and_overlapping_layers_are_copies(dense, scheme, layers, origins):
    model, folder = dense
    deep = llama(num_hidden_layers=layers)
    init.initialize(deep, {**recipes.grow_depth(folder, layers, scheme=scheme), "*": loaded(folder)}, seed=0)
    for layer, origin in enumerate(origins):
        old, new = model.model.layers[origin].state_dict(), deep.model.layers[layer].state_dict()
        assert old.keys() == new.keys()
        assert all(torch.equal(old[name], new[name]) for name in old)


@pytest.mark.parametrize("times", [2, 3])
def test_a_wider_model_computes_what_the_old_model_computes(dense, times):
    model, folder = dense
    wide = llama(
        hidden_size=32 * times,
        intermediate_size=48 * times,
        num_attention_heads=4 * times,
        num_key_value_heads=2 * times,
        head_dim=8,
    )
    init.initialize(wide, recipes.grow_width(folder), seed=0)
    assert close(logits(wide), logits(model))


def test_a_wider_mlp_alone_computes_what_the_old_model_computes(dense):
    model, folder = dense
    wide = llama(intermediate_size=192)
    init.initialize(wide, recipes.grow_width(folder), seed=0)
    assert close(logits(wide), logits(model))


def test_a_deeper_vit_computes_what_the_old_vit_computes(tmp_path):
    from safetensors.torch import save_file

    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 16, "patch_size": 8}

    def vit(layers):
        return transformers.ViTModel(transformers.ViTConfig(num_hidden_layers=layers, **sizes)).eval()

    model, deep = vit(2), vit(4)
    init.initialize(model, {"*layernorm*.weight": normal(1, 0.1)}, seed=0, default=normal(std=0.2))
    old = tmp_path / "old.safetensors"
    save_file(model.state_dict(), old)  # save_pretrained gives old names to the weights of ViT
    ends = [f"*.{end}.{kind}" for end in ("o_proj", "fc2") for kind in ("weight", "bias")]
    rules = recipes.grow_depth(old, 4, scheme="expand", outputs=ends)
    init.initialize(deep, {**rules, "*": loaded(old)}, seed=0)
    picture = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)
    with torch.no_grad():
        assert close(deep(picture).last_hidden_state, model(picture).last_hidden_state)


def test_fused_weights_grow_inside_their_parts(tmp_path):
    sizes = {"n_layer": 2, "n_positions": 16, "vocab_size": 64, "attn_pdrop": 0.0, "tie_word_embeddings": False}
    sizes |= {"bos_token_id": 1, "eos_token_id": 2}

    def gpt2(width, heads):
        config = transformers.GPT2Config(n_embd=width, n_head=heads, **sizes)
        return transformers.GPT2LMHeadModel(config).eval()

    model, wide = gpt2(32, 4), gpt2(64, 8)
    init.initialize(model, {"*ln*.weight": normal(1, 0.1)}, seed=0, default=normal(std=0.2))
    model.save_pretrained(tmp_path)
    axes = {"*.c_attn.weight": "I(3 O)", "*.c_attn.bias": "(3 O)"}
    init.initialize(wide, recipes.grow_width(str(tmp_path)), seed=0, axes=axes)
    tokens = torch.arange(12)[None]
    with torch.no_grad():
        assert close(wide(tokens).logits, model(tokens).logits)


def test_a_grown_vocabulary_keeps_the_old_logits_and_has_rows_like_the_old_ones(dense):
    model, folder = dense
    grown = llama(vocab_size=TINY["vocab_size"] + 4000)
    rules = recipes.grow_vocabulary(folder, ["*.embed_tokens.weight", "lm_head.weight"])
    plan = init.initialize(grown, {**rules, "*": loaded(folder)}, seed=0)
    old = TINY["vocab_size"]
    assert torch.equal(logits(grown)[..., :old], logits(model))
    table = model.model.embed_tokens.weight.detach().double()
    new = grown.model.embed_tokens.weight.detach()[old:].double()
    std = table.std(0, correction=0)
    assert float(((new.mean(0) - table.mean(0)) / std).abs().max()) < 5 / 4000**0.5
    assert float((new.std(0) / std - 1).abs().max()) < 5 / 8000**0.5
    assert not init.verify(grown, plan, seed=0)


def test_new_rows_may_have_the_covariance_of_the_old_rows(tmp_path):
    from safetensors.numpy import save_file

    from initlib import Parameter
    from initlib import plan as make_plan

    mixing = np.random.default_rng(0).normal(size=(6, 6))
    old = (np.random.default_rng(1).normal(size=(200, 6)) @ mixing + 3).astype("float32")
    save_file({"table": old}, tmp_path / "old.safetensors")
    rules = recipes.grow_vocabulary(tmp_path / "old.safetensors", "table", covariance=True)
    plan = make_plan([Parameter("table", (200 + 20_000, 6), kind="table")], rules)
    table = plan.draw(seed=0)["table"]
    np.testing.assert_array_equal(table[:200], old)
    new, covariance = table[200:].astype("float64"), np.cov(old.T.astype("float64"), bias=True)
    std = np.sqrt(np.diag(covariance))
    assert (np.abs(new.mean(0) - old.mean(0)) < 5 * std / 20_000**0.5).all()
    # The standard error of a covariance of normal numbers.
    error = np.sqrt((covariance**2 + np.outer(std, std) ** 2) / 20_000)
    assert (np.abs(np.cov(new.T, bias=True) - covariance) < 5 * error).all()
    for index in (slice(150, 300), (slice(190, 210), slice(1, 6, 2)), (205, 3), (slice(None, None, 50), -1)):
        np.testing.assert_allclose(plan.draw_one("table", 0, index), table[index], rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 12])
def test_input_channels_are_those_of_timm(tmp_path, channels):
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    model = timm.create_model("resnet10t", num_classes=3)
    save_file(dict(model.state_dict()), tmp_path / "old.safetensors")
    adapted = timm.create_model("resnet10t", num_classes=3, in_chans=channels)
    old = tmp_path / "old.safetensors"
    init.initialize(adapted, {**recipes.input_channels(old, "conv1.0.weight"), "*": loaded(old)}, seed=0)
    weight = model.conv1[0].weight.detach()
    expected = timm.models.adapt_input_conv(channels, weight)
    torch.testing.assert_close(adapted.conv1[0].weight.detach(), expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(adapted.fc.weight, model.fc.weight, rtol=0, atol=0)
