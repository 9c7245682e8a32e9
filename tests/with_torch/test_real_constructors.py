"""Real models: values that their constructors set are unchanged, noted in the plan, or replaced by a rule.

The test builds each model under two seeds. Tensors that are equal in both builds were set. No model needs more than one
round of rules, and the errors propose all of the rules.
"""

import fnmatch
import os
import re
import warnings

import pytest
import torch
from real_models import RECORDS, SMALL, TINY, timm, transformers

import initlib.adapters.torch as init
from initlib import PlanError, he_normal, keep, ones, zeros

os.environ.setdefault("HF_HUB_OFFLINE", "1")

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def adapted(method, **arguments):
    """Return a tiny LLaMA with frozen weights and an adapter."""

    def build():
        peft = pytest.importorskip("peft")
        model = transformers("LlamaForCausalLM", "LlamaConfig", num_key_value_heads=2, **SIZES, **TINY)()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of transformers, which peft's code calls
            return peft.get_peft_model(model, getattr(peft, f"{method}Config")(**arguments))

    return build


MODELS = {
    **{name: record.build for name, record in RECORDS.items()},
    "wav2vec2": transformers("Wav2Vec2Model", "Wav2Vec2Config", conv_dim=[16] * 7, num_conv_pos_embeddings=8, **SIZES),
    "clip": transformers(
        "CLIPVisionModel", "CLIPVisionConfig", image_size=32, patch_size=8, **SIZES
    ),  # a class embedding of one axis
    "informer": transformers("InformerModel", "InformerConfig", prediction_length=4, context_length=8, d_model=16),
    "gpt_oss": transformers(
        "GptOssForCausalLM", "GptOssConfig", num_local_experts=4, num_key_value_heads=2, head_dim=8, **SIZES, **TINY
    ),
    "mamba2": transformers(
        "Mamba2Model", "Mamba2Config", hidden_size=32, num_heads=8, head_dim=8, num_hidden_layers=2, **TINY
    ),
    "cait": timm("cait_xxs24_224", img_size=32, depth=2),
    "convit": timm("convit_tiny", img_size=32, depth=2),
    "dm_nfnet": timm("nf_resnet26"),
    "lora": adapted("Lora", r=4, target_modules=["q_proj", "v_proj"]),
    "dora": adapted("Lora", r=4, target_modules=["q_proj"], use_dora=True),
    "ia3": adapted("IA3", target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
}
PROPOSAL = re.compile(r'(?:Add the rule|make) \{"([^"]+)": (keep|ones|normal\(std=0\.02\))\}')
AXES = re.compile(r'Pass axes=\{"([^"]+)": "([^"]+)"\}')
VALUES = {"keep": keep, "ones": ones, "zeros": zeros, "normal(std=0.02)": SMALL}


@pytest.fixture(scope="module", params=MODELS)
def build(request):
    return MODELS[request.param]


def built(build, seed):
    torch.manual_seed(seed)
    return build()


def state(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict(keep_vars=True).items()}


def entry_of(plan, name):
    """Return the entry of a name in a state dictionary, which may name a part of a weight."""
    name = re.sub(r"parametrizations\.(\w+)\.original\d", r"\1", name)
    return next((entry for entry in plan.entries if name in entry.parameter.names), None)


@pytest.mark.parametrize("default", [SMALL, he_normal], ids=["normal", "he_normal"])
def test_values_of_constructors_are_unchanged_or_noted(build, default):
    model, other = built(build, 1), state(built(build, 2))
    before = state(model)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    rules, axes = {}, {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*all weights are zeros.*")
        try:
            init.plan(model, default=default)
        except PlanError as error:
            for problem in error.problems:
                proposals, meanings = PROPOSAL.findall(problem), AXES.findall(problem)
                assert proposals or meanings, problem
                rules |= {pattern: VALUES[value] for pattern, value in proposals}
                axes |= dict(meanings)
        plan = init.initialize(model, rules, 0, default=default, axes=axes)
    after = state(model)
    for name, tensor in before.items():
        was_set = torch.equal(tensor, other[name]) or name in frozen
        if not was_set or torch.equal(tensor, after[name]):
            continue
        entry = entry_of(plan, name)
        assert entry is not None, name
        noted = any(not note.startswith(("tied: ", "row ")) for note in entry.notes)
        by_rule = any(fnmatch.fnmatch(each, pattern) for each in entry.parameter.names for pattern in rules)
        assert noted or by_rule, f"{name} was set by its constructor, and {entry.filling!r} fills it without a note"
