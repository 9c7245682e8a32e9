"""Real models of transformers and timm: a few rules give each parameter what the package gives it, and they train."""

import fnmatch
import math
import os
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torchvision_names  # noqa: F401

import initlib
import initlib.adapters.torch as init
from initlib import keep, normal, values, variance_scaling

os.environ.setdefault("HF_HUB_OFFLINE", "1")

VOCABULARY = 211
SMALL = normal(std=0.02)
# What the constructors of torch.nn start kernels with: uniform between -1 / sqrt(fan_in) and 1 / sqrt(fan_in).
TORCH = variance_scaling(1 / 3, "fan_in", "uniform")
HE = variance_scaling(2, "fan_out", "normal")
TINY = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2}
LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}


class Record(NamedTuple):
    """A model, the arguments of `initialize`, and the parameters that the package starts in another way."""

    build: Any
    batch: Any
    rules: Any = None
    axes: Any = None
    default: Any = SMALL
    unlike: tuple[str, ...] = ()
    surprise: float = 0.1  # how far the first loss may be from that of a uniform guess


def transformers(model, config, **arguments):
    def build():
        package = pytest.importorskip("transformers")
        return getattr(package, model)(getattr(package, config)(**arguments)).eval()

    return build


def timm(name, **arguments):
    def build():
        return pytest.importorskip("timm").create_model(name, num_classes=10, **arguments)

    return build


def language():
    tokens = torch.randint(4, VOCABULARY, (4, 24))
    return {"input_ids": tokens, "labels": tokens}


def speech():
    return {"input_features": torch.randn(2, 16, 100), "labels": language()["labels"][:2]}


def pictures(size):
    def batch():
        return {"pixel_values": torch.randn(4, 3, size, size), "labels": torch.arange(4) % 2}

    return batch


def log_states(parameter):
    """Mamba's start of A: the states decay at the rates 1 to n (Gu, Dao 2023, arXiv 2312.00752)."""
    return values(np.broadcast_to(np.log(np.arange(1, parameter.shape[1] + 1)), parameter.shape))


RECORDS = {
    "gpt2": Record(
        transformers("GPT2LMHeadModel", "GPT2Config", n_layer=2, n_head=2, n_embd=32, n_positions=64, **TINY),
        language,
        {"*.c_proj.weight": SMALL * 4**-0.5},
        {"*.c_attn.weight": "I(3 O)"},
    ),
    "llama": Record(
        transformers(
            "LlamaForCausalLM", "LlamaConfig", tie_word_embeddings=True, pad_token_id=0, **LAYERS, **HEADS, **TINY
        ),
        language,
        unlike=("model.embed_tokens.weight",),  # its padding row
    ),
    "bert": Record(
        transformers("BertForMaskedLM", "BertConfig", num_attention_heads=4, **LAYERS, **TINY),
        language,
    ),
    "mixtral": Record(
        transformers("MixtralForCausalLM", "MixtralConfig", num_local_experts=4, **LAYERS, **HEADS, **TINY),
        language,
        axes={"*.gate_up_proj": "B(2 O)I", "*.down_proj": "BOI", "*.gate.weight": "OI"},
    ),
    "mamba": Record(
        transformers("MambaForCausalLM", "MambaConfig", hidden_size=32, state_size=8, num_hidden_layers=2, **TINY),
        language,
        {
            "*.A_log": log_states,
            "*.dt_proj.weight": TORCH,
            "*.dt_proj.bias": initlib.inverse_softplus(initlib.log_uniform(1e-3, 0.1)),
            "*.conv1d.weight": TORCH,
            "*.out_proj.weight": TORCH,
        },
        default=normal(std=0.1),
        surprise=0.3,  # from a table of std 0.1, tied to the head: so it is with the package's own start
    ),
    "vit": Record(
        transformers(
            "ViTForImageClassification",
            "ViTConfig",
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
            **LAYERS,
        ),
        pictures(32),
    ),
    "whisper": Record(
        transformers(
            "WhisperForConditionalGeneration",
            "WhisperConfig",
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            num_mel_bins=16,
            max_source_positions=50,
            max_target_positions=40,
            pad_token_id=0,
            decoder_start_token_id=3,
            **TINY,
        ),
        speech,
        {"*.encoder.embed_positions.weight": keep},
    ),
    "resnet50": Record(timm("resnet50"), pictures(32), {"fc.weight": TORCH}, default=HE),
    "vit_tiny": Record(
        timm("vit_tiny_patch16_224", img_size=32),
        pictures(32),
        {"cls_token": normal(std=1e-6), "patch_embed.proj.weight": TORCH},
    ),
    "convnext": Record(timm("convnext_atto"), pictures(32)),
    "efficientnet": Record(
        timm("efficientnet_b0"),
        pictures(32),
        {"classifier.weight": variance_scaling(1 / 3, "fan_out", "uniform")},
        default=HE,
    ),
    "swin": Record(
        timm("swin_tiny_patch4_window7_224", img_size=56, embed_dim=24, depths=(2, 2), num_heads=(2, 4), window_size=7),
        pictures(56),
        {"patch_embed.proj.weight": TORCH},
    ),
}
SEEDS = (0, 1, 2)


def initialized(record, model, **more):
    return init.initialize(model, record.rules, 0, default=record.default, axes=record.axes, **more)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the models are small
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=RECORDS)
def made(request):
    """The record, a model that we have initialized, and the report."""
    record = RECORDS[request.param]
    torch.manual_seed(0)
    model = record.build()
    assert len(record.rules or ()) <= 6
    assert len(record.axes or ()) <= 3
    return record, model, initialized(record, model)


def test_a_few_rules_say_what_the_package_does(made):
    """Each parameter's std is the report's, and so is the package's own over some seeds; constants are equal."""
    record, model, report = made
    own = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        own.append(dict(record.build().named_parameters()))
    for row in report.to_dicts():
        name, ours = row["name"], model.get_parameter(row["name"]).detach()
        theirs = torch.stack([parameters[name].detach() for parameters in own])
        if row["std"] is None or any(fnmatch.fnmatch(name, pattern) for pattern in record.unlike):
            continue
        if row["std"] == 0:
            drawn_bias = name.endswith("bias") and theirs.std() > 0  # theirs are small and drawn; ours 0
            assert torch.equal(ours, theirs[0]) or (drawn_bias and ours.eq(0).all()), name
            continue
        theirs = theirs[theirs.abs() != 2]  # timm's truncated draws have weights at their bound, of 100 sigmas
        for weights in (ours, theirs):
            count = weights.numel()
            if count >= 64:
                assert weights.std().item() == pytest.approx(row["std"], rel=6 / math.sqrt(2 * count)), name


def test_from_a_skeleton(made):
    """Built on meta, without a look at the weights: the same bits, and buffers that work."""
    record, model, report = made
    with init.skeleton():
        late = record.build()
    if any(fill is keep for fill in (record.rules or {}).values()):
        with pytest.raises(initlib.PlanError, match="it is kept"):
            initialized(record, late, device="cpu")
        return
    assert initialized(record, late, device="cpu") == report
    expected = model.state_dict()
    for name, tensor in late.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert {name for name, _ in late.named_parameters()} == {name for name, _ in model.named_parameters()}


def start(model):
    """The model's own initialization."""
    if hasattr(model, "init_weights"):
        model.init_weights()
    else:
        for part in model.modules():
            getattr(part, "reset_parameters", lambda: None)()


def state(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_its_own_code_draws_by_name(made):
    """Every draw follows from the seed and the name, and has the std that it has without us."""
    record, _, _ = made
    models = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        models.append(record.build())
    states = []
    for model, seed in ((models[0], 1), (models[0], 0), (models[1], 0)):
        with init.named(model, seed):
            start(model)
        states.append(state(model))
    other, first, second = states
    drawn = [name for name in first if not torch.equal(first[name], other[name])]
    assert len(drawn) >= sum(tensor.ndim > 1 for tensor in first.values()) / 2
    start(models[2])
    usual = state(models[2])
    for name in drawn:
        assert torch.equal(first[name], second[name]), name
        weights, count = usual[name][usual[name].abs() != 2], first[name].numel()
        if count >= 64:
            assert first[name].std().item() == pytest.approx(weights.std().item(), rel=6 / math.sqrt(count)), name


def test_what_was_loaded_stays(tmp_path):
    """The head that a checkpoint lacks is drawn by its name, by transformers' own code or by a rule."""
    package = pytest.importorskip("transformers")
    torch.manual_seed(0)
    RECORDS["llama"].build().save_pretrained(tmp_path)
    models = []
    for _ in range(2):
        model = package.LlamaForSequenceClassification.from_pretrained(tmp_path)
        loaded = state(model)
        with init.named(model, seed=0):
            model.init_weights()
        models.append(state(model))
    init.initialize(model, SMALL, seed=0, only="score.*")
    assert torch.equal(model.score.weight, models[0]["score.weight"])
    assert not torch.equal(model.score.weight, loaded["score.weight"])
    for name in loaded:
        if name != "score.weight":
            assert torch.equal(models[1][name], loaded[name]), name
    model.init_weights()  # and then nobody draws over it
    assert torch.equal(model.score.weight, models[0]["score.weight"])


def test_the_base_model_of_a_head():
    record = RECORDS["llama"]
    whole, alone = record.build(), record.build().model
    initialized(record, whole)
    init.initialize(alone, record.default, 0, prefix="model")
    assert alone.state_dict().keys() == whole.model.state_dict().keys()
    assert all(torch.equal(alone.state_dict()[name], tensor) for name, tensor in whole.model.state_dict().items())


def test_it_trains(made):
    record, model, _ = made
    torch.manual_seed(0)
    batch = record.batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(3):
        if "pixel_values" in batch and not hasattr(model, "config"):
            loss = torch.nn.functional.cross_entropy(model(batch["pixel_values"]), batch["labels"])
        else:
            loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.99 * losses[0]
    if record.batch in (language, speech):
        assert losses[0] == pytest.approx(math.log(VOCABULARY), abs=record.surprise)
