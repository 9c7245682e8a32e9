"""Draws of constructors: the parameters that each class draws, and the bounds, agree with the class."""

import copy

import pytest
import torch
from torch import nn

from initlib import he_normal, normal, zeros
from initlib.adapters.torch import plan
from initlib.adapters.torch.models.known_classes import KNOWN_CLASSES
from initlib.adapters.torch.models.layers import roles
from initlib.adapters.torch.models.parameters import parameters
from initlib.adapters.torch.models.tensors import model_tensors, walk

BUILDS = [
    lambda: nn.Linear(4, 30),
    lambda: nn.Bilinear(4, 5, 30),
    lambda: nn.Conv2d(4, 30, 3, groups=2),
    lambda: nn.ConvTranspose2d(30, 4, 3),
    lambda: nn.Embedding(7, 4),
    lambda: nn.EmbeddingBag(7, 4),
    lambda: nn.RNN(4, 5, num_layers=2, bidirectional=True),
    lambda: nn.GRU(4, 5),
    lambda: nn.LSTM(4, 6, proj_size=2),
    lambda: nn.LSTMCell(4, 5),
    lambda: nn.GRUCell(4, 5),
    lambda: nn.RNNCell(4, 5),
    lambda: nn.MultiheadAttention(4, 2, add_bias_kv=True),
    lambda: nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
    lambda: nn.BatchNorm2d(4),
    lambda: nn.LayerNorm((3, 4)),
    lambda: nn.GroupNorm(2, 4),
    lambda: nn.RMSNorm(4),
    lambda: nn.PReLU(4),
]


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: type(build()).__name__)
def test_classes_of_torch_nn_draw_within_known_bounds(build):
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(build())
    first, second = (dict(model.named_parameters()) for model in models)
    for parameter in parameters(model_tensors(walk(models[0]))):
        value, weight = parameter.constructor, first[parameter.name]
        assert value.draws is not torch.equal(weight, second[parameter.name]), parameter.name
        if parameter.kind == "bias" and value.draws:
            assert 0.5 * value.bound < weight.abs().max() <= value.bound, parameter.name
            assert value.draws_like in type(models[0]).__name__


def test_a_derived_class_draws_like_its_base_unless_it_resets_parameters():
    class Mine(nn.Linear):
        pass

    class Redrawn(nn.Linear):
        def reset_parameters(self):
            nn.init.normal_(self.weight)

    (weight, bias) = parameters(model_tensors(walk(Mine(4, 4))))
    assert (weight.constructor.draws, weight.constructor.draws_like) == (True, "Linear")
    assert (bias.constructor.draws, bias.constructor.bound) == (True, 0.5)
    (weight,) = parameters(model_tensors(walk(Redrawn(4, 4, bias=False))))
    assert (weight.constructor.draws, weight.constructor.draws_like) == (True, None)


def module(cls, **shapes):
    """Return a module of a class of another library, by its full name."""
    path, _, name = cls.rpartition(".")
    made = type(name, (nn.Module,), {"__module__": path})()
    for attribute, shape in shapes.items():
        setattr(made, attribute, nn.Parameter(torch.randn(shape)))
    return made


@pytest.mark.parametrize(
    ("cls", "shapes", "axes"),
    [
        ("torch_geometric.nn.dense.linear.Linear", {"weight": (6, 4)}, {"weight": "OI"}),
        ("torch_geometric.nn.conv.dna_conv.Linear", {"weight": (2, 6, 4)}, {"weight": "BIO"}),
        ("torch_geometric.nn.conv.rgcn_conv.RGCNConv", {"weight": (2, 6, 4), "root": (6, 4)}, {"root": "IO"}),
        ("torch_geometric.nn.conv.gat_conv.GATConv", {"att_src": (1, 2, 4)}, {"att_src": "BBI"}),
        ("transformers.pytorch_utils.Conv1D", {"weight": (4, 6)}, {"weight": "IO"}),
        ("transformers.models.a.modeling_a.ATopKRouter", {"weight": (4, 6)}, {"weight": "OI"}),
        (
            "transformers.models.a.modeling_a.AExperts",
            {"gate_up_proj": (2, 12, 4), "down_proj": (2, 4, 6)},
            {"gate_up_proj": "B(2 O)I", "down_proj": "BOI"},
        ),
        ("transformers.models.a.modeling_a.GptOssExperts", {"down_proj": (2, 6, 4)}, {"down_proj": "BIO"}),
    ],
)
def test_known_classes_need_no_declaration(cls, shapes, axes):
    layer = module(cls, **shapes)
    known = roles(layer)
    assert {name: known[name].axes for name in axes} == axes
    made = plan(layer, he_normal)
    assert all(made[name].filling == he_normal for name in axes)


def test_a_class_of_the_same_name_in_another_library_is_not_known():
    assert roles(module("mylib.Linear", weight=(6, 4))) == {}
    assert roles(module("mylib.Experts", down_proj=(2, 4, 6))) == {}


def test_parameters_of_other_shapes_are_not_known():
    assert roles(module("transformers.models.a.modeling_a.AExperts", down_proj=(8, 6))) == {}


def test_the_bias_of_a_known_class_is_drawn_within_its_bound():
    layer = module("torch_geometric.nn.dense.linear.Linear", weight=(6, 4), bias=(6,))
    nn.init.uniform_(layer.bias, -0.5, 0.5)
    assert plan(layer, normal())["bias"].filling == zeros
    other = copy.deepcopy(layer)
    other.bias.data[0] = 0.6
    with pytest.raises(ValueError, match=r'\{"bias": keep\}'):
        plan(other, normal())


def test_every_pattern_names_one_kind_of_class():
    assert len(set(KNOWN_CLASSES)) == len(KNOWN_CLASSES)
    assert all(known.axes or known.scales for known in KNOWN_CLASSES.values())
