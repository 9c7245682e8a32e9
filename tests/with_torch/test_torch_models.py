"""Real models of transformers and timm: a few rules give the package's own initialization, and the models train."""

import fnmatch
import math
import os

import pytest
import torch
import torchvision_names  # noqa: F401
from real_models import (
    RECORDS,
    SEEDS,
    SMALL,
    VOCABULARY,
    initialized,
    language,
    speech,
    start,
)

import initlib.adapters.torch as init

os.environ.setdefault("HF_HUB_OFFLINE", "1")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=RECORDS)
def made(request):
    """Return the record, a model that initlib has initialized, and the report."""
    record = RECORDS[request.param]
    torch.manual_seed(0)
    model = record.build()
    assert len(record.rules or ()) <= 6
    assert len(record.axes or ()) <= 3
    return record, model, initialized(record, model)


def test_a_few_rules_give_the_initialization_of_the_package(made):
    """The std of each parameter is that of the report and, over some seeds, of the package; constants are equal."""
    record, model, report = made
    own = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        own.append(dict(record.build().named_parameters()))
    for row in report.to_dicts():
        name, weight = row["name"], model.get_parameter(row["name"]).detach()
        expected = torch.stack([parameters[name].detach() for parameters in own])
        if row["std"] is None or any(fnmatch.fnmatch(name, pattern) for pattern in record.unlike):
            continue
        if row["std"] == 0:
            drawn_bias = name.endswith("bias") and expected.std() > 0  # the package draws small biases, initlib sets 0
            assert torch.equal(weight, expected[0]) or (drawn_bias and weight.eq(0).all()), name
            continue
        expected = expected[expected.abs() != 2]  # timm's truncated draws have weights at their bound, of 100 sigmas
        for weights in (weight, expected):
            count = weights.numel()
            if count >= 64:
                assert weights.std().item() == pytest.approx(row["std"], rel=6 / math.sqrt(2 * count)), name


def test_a_skeleton_gets_the_same_bits(made):
    """A model built on meta, whose weights were never read, has the same bits and valid buffers."""
    record, model, report = made
    with init.skeleton():
        late = record.build()
    assert initialized(record, late, device="cpu") == report
    expected = model.state_dict()
    for name, tensor in late.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert {name for name, _ in late.named_parameters()} == {name for name, _ in model.named_parameters()}


def state(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_the_models_own_code_draws_by_name(made):
    """Every draw follows from the seed and the name, and has the std of the package's own draw."""
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


def test_loaded_weights_stay(tmp_path):
    """The head that a checkpoint lacks is drawn by its name, by transformers' own code or by a rule."""
    package = pytest.importorskip("transformers")
    torch.manual_seed(0)
    RECORDS["llama"].build().save_pretrained(tmp_path)
    models = []
    for _ in range(2):
        model = package.LlamaForSequenceClassification.from_pretrained(tmp_path)
        loaded = state(model)
        lacked = pytest.warns(UserWarning, match=r"^score\.weight: not loaded from the checkpoint")
        with lacked, init.named(model, seed=0):
            model.init_weights()
        models.append(state(model))
    init.initialize(model, SMALL, seed=0, only="score.*")
    assert torch.equal(model.score.weight, models[0]["score.weight"])
    assert not torch.equal(model.score.weight, loaded["score.weight"])
    for name in loaded:
        if name != "score.weight":
            assert torch.equal(models[1][name], loaded[name]), name
    model.init_weights()  # afterwards, the guards keep every tensor
    assert torch.equal(model.score.weight, models[0]["score.weight"])


def test_a_resized_head_is_named_before_it_is_drawn(tmp_path):
    """transformers copies the head to a module with the same flag as a head that was initialized."""
    package = pytest.importorskip("transformers")
    config = package.LlamaConfig(
        vocab_size=48, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2
    )
    package.LlamaForCausalLM(config).save_pretrained(tmp_path)
    model = package.LlamaForCausalLM.from_pretrained(tmp_path)
    with init.named(model, seed=1):
        model.init_weights()
    model.resize_token_embeddings(53)
    before = state(model)
    copied = pytest.warns(UserWarning, match=r"^lm_head\.weight: not loaded .* resize_token_embeddings")
    with copied as seen, init.named(model, seed=1):
        model.init_weights()
    assert seen[0].filename == __file__
    assert not torch.equal(model.lm_head.weight, before["lm_head.weight"])
    model.lm_head.weight.data.copy_(before["lm_head.weight"])
    model.lm_head.weight._is_hf_initialized = True
    with init.named(model, seed=1):
        model.init_weights()
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())


def test_the_base_model_has_the_weights_of_the_full_model():
    record = RECORDS["llama"]
    whole, alone = record.build(), record.build().model
    initialized(record, whole)
    init.initialize(alone, record.default, 0, prefix="model")
    assert alone.state_dict().keys() == whole.model.state_dict().keys()
    assert all(torch.equal(alone.state_dict()[name], tensor) for name, tensor in whole.model.state_dict().items())


def test_the_model_trains(made):
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
