"""Recipes against the packages that they follow, if installed, or against their formulas."""

import dataclasses
import math
import re
import sys

import numpy as np
import pytest

from initlib import Parameter, PlanError, constant, normal, ones, plan, recipes, uniform, zeros
from initlib.plans.rules.constructor_value import ConstructorValue

LAYERS = 4


def parameters_of(model):
    """Return the parameters of a PyTorch model, with the facts that its modules state."""
    nn = pytest.importorskip("torch").nn
    fields_of = {}
    for prefix, module in model.named_modules():
        kind = type(module).__name__
        for attribute, tensor in module.named_parameters(recurse=False):
            name = f"{prefix}.{attribute}".lstrip(".")
            axes, role = None, "other"
            if "bias" in attribute and tensor.ndim == 1:
                role = "bias"
            elif kind == "Conv1D":
                axes, role = "IO", "kernel"
            elif isinstance(module, (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)):
                groups = getattr(module, "groups", 1)
                first, second = "IO" if "Transpose" in kind else "OI"
                first = f"({groups} {first})" if groups > 1 else first
                axes = "OII" if kind == "Bilinear" else first + second + "DHW"[5 - tensor.ndim :] * (tensor.ndim > 2)
                role = "kernel"
            elif isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
                axes, role = "IO", "table"
            elif isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
                gates = {"LSTM": 4, "GRU": 3}.get(re.sub("Cell", "", kind), 1)
                axes, role = f"({gates} O)I", "recurrent" if "hh" in attribute else "kernel"
            elif "proj_weight" in attribute:
                axes, role = "(3 O)I" if attribute.startswith("in") else "OI", "kernel"
            elif tensor.ndim == 1:
                role = "scale"
            padding = getattr(module, "padding_idx", None) if role == "table" else None
            if id(tensor) in fields_of:
                first = fields_of[id(tensor)]
                fields_of[id(tensor)] = first | {"tied": (*first.get("tied", ()), name)}
            else:
                fields_of[id(tensor)] = {
                    "name": name,
                    "shape": tuple(tensor.shape),
                    "axes": axes,
                    "kind": role,
                    "owner": kind,
                    "padding": padding,
                }
    return [Parameter(**fields) for fields in fields_of.values()]


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


@pytest.fixture(scope="module")
def torch():
    """PyTorch, seeded."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    if "tensorflow" in sys.modules:
        sys.modules.setdefault("triton", None)  # two LLVMs in one process end it
    import torchvision_names  # noqa: F401

    return torch


@pytest.fixture(scope="module")
def transformers(torch):
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
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


# Recipes that are tested by their formulas: names of the libraries, with small shapes.

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


def kernels(**shapes):
    return [Parameter(name.replace("_", "."), shape, axes="OI", kind="kernel") for name, shape in shapes.items()]


def drawn_std(parameters, rules):
    return {row["name"]: row["std"] for row in plan(parameters, rules).to_dicts()}


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


# Layers that a model lacks.


def test_a_classifier_of_another_width_is_an_error():
    model = [*kernels(fc_weight=(10, 32)), Parameter("layer1.bn3.weight", (8,))]
    assert plan(model, recipes.resnet(32))["fc.weight"].filling.bounds((10, 32))[1] == 32**-0.5
    with pytest.raises(PlanError, match=r"features of recipes\.resnet must be the fan_in of the head, got 64 for 32"):
        plan(model, recipes.resnet(64))


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


def test_switch_fills_the_tables_of_transformers(transformers):
    config = transformers.SwitchTransformersConfig(
        vocab_size=500, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, num_experts=4
    )
    actual = drawn_std(parameters_of(transformers.SwitchTransformersForConditionalGeneration(config)), recipes.switch())
    assert actual["shared.weight"] == 1
    up = [std for name, std in actual.items() if name.endswith(".wi.weight")]
    assert up == [pytest.approx(math.sqrt(0.1 / 64))] * len(up)


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


def test_every_recipe_names_a_source():
    for name in set(recipes.__all__) - {"analytic"}:  # which computes its gains
        assert re.search(r"Reference:|OLMo", getattr(recipes, name).__doc__), name
