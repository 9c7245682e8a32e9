"""Parameters that share memory: the same elements are a tie, a part of them is an error, disjoint parts are filled."""

import pytest
import torch
from torch import nn

from initlib import PlanError, he_normal, keep, normal
from initlib.adapters.torch import initialize, plan

SMALL = normal(std=0.02)


def test_another_parameter_of_the_same_elements_is_a_tie():
    model = nn.ModuleDict({"emb": nn.Embedding(8, 4), "head": nn.Linear(4, 8, bias=False)})
    model["head"].weight = nn.Parameter(model["emb"].weight)  # as load_state_dict(assign=True) leaves a tie
    made = initialize(model, SMALL, seed=0)
    assert made["head.weight"] is made["emb.weight"]
    assert torch.equal(model["head"].weight, torch.from_numpy(made.draw(0)["emb.weight"]))
    assert model["head"].weight is not model["emb"].weight  # no parameter is replaced
    assert model["head"].weight.data_ptr() == model["emb"].weight.data_ptr()


def test_data_of_another_parameter_is_a_tie():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[0].weight.data = model[1].weight.data
    assert plan(model, SMALL)["0.weight"].parameter.tied == ("1.weight",)


class Views(nn.Module):
    """Query, key and value as parameters that share the memory of one buffer, or of another parameter of the model."""

    def __init__(self, fused):
        super().__init__()
        memory = torch.randn(12, 4)
        if fused:
            self.fused = nn.Parameter(memory)
        self.q, self.k, self.v = (nn.Parameter(memory[i : i + 4]) for i in (0, 4, 8))


def test_a_part_of_another_parameter_is_an_error():
    model, before = Views(fused=True), {}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(PlanError, match=r"fused: shares a part of its memory with q\. Keep one of the two") as raised:
        initialize(model, SMALL, seed=0)
    assert len(raised.value.problems) == 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    made = initialize(model, {"fused": keep}, seed=0, default=SMALL)
    assert torch.equal(model.k, torch.from_numpy(made.draw(0)["k"]))


def test_disjoint_parts_of_one_buffer_are_filled():
    model = Views(fused=False)
    table = torch.randn(4, 8)
    model.left, model.right = nn.Parameter(table[:, :4]), nn.Parameter(table[:, 4:])  # interleaved in memory
    made = initialize(model, SMALL, seed=0)
    for name, array in made.draw(0).items():
        assert torch.equal(model.get_parameter(name), torch.from_numpy(array)), name


def test_overlaps_of_other_strides_are_found():
    table = torch.randn(4, 8)
    model = nn.Module()
    model.left, model.middle = nn.Parameter(table[:, :4]), nn.Parameter(table[:, 3:6])
    with pytest.raises(PlanError, match="left: shares a part of its memory with middle"):
        initialize(model, he_normal, seed=0, axes={"*": "OI"})
