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
    with pytest.raises(PlanError, match=r"fused: shares a part of its memory with q\. Keep both") as raised:
        initialize(model, SMALL, seed=0)
    assert len(raised.value.problems) == 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(PlanError, match="shares a part of its memory with fused, which is kept") as raised:
        initialize(model, {"fused": keep}, seed=0, default=SMALL)
    assert len(raised.value.problems) == 3


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


def chain(build_second=lambda memory: memory[3:]):
    model, memory = nn.Sequential(nn.Linear(8, 6), nn.Linear(8, 6)), torch.randn(9, 8)
    model[0].weight, model[1].weight = nn.Parameter(memory[:6]), nn.Parameter(build_second(memory))
    return model


def values(model):
    return {name: tensor.tolist() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    "second",
    [
        lambda memory: memory[3:],
        lambda memory: memory.as_strided((6, 8), (1, 2)),
        lambda memory: memory[0:1].expand(6, 8),
        lambda memory: memory[5:6].expand(6, 8),
    ],
)
@pytest.mark.parametrize(
    "arguments",
    [
        {"rules": {"1.weight": keep}, "default": SMALL},
        {"rules": SMALL, "only": "0.weight"},
        {"rules": plan(nn.Sequential(nn.Linear(8, 6), nn.Linear(8, 6)), {"1.weight": keep}, default=SMALL)},
    ],
)
def test_a_filled_tensor_over_a_kept_one_is_an_error_and_changes_nothing(arguments, second):
    model = chain(second)
    before = values(model)
    with pytest.raises(
        PlanError, match=r"0\.weight: shares a part of its memory with 1\.weight, which is kept"
    ) as raised:
        initialize(model, seed=0, **arguments)
    assert len(raised.value.problems) == 1
    assert values(model) == before


@pytest.mark.parametrize("rules", [{}, {"0.weight": keep}, {"1.weight": keep}])
def test_both_pieces_of_advice_for_shared_memory_work(rules):
    model = chain()
    with pytest.raises(PlanError, match="Keep both") as raised:
        initialize(model, rules, seed=0, default=SMALL)
    assert 'Keep both: {"' in str(raised.value)
    before = values(model)
    made = initialize(model, {"0.weight": keep, "1.weight": keep}, seed=0, default=SMALL)
    assert [entry.kept for entry in made.entries] == [True, False, True, False]
    assert values(model)["1.weight"] == before["1.weight"]
    parameter = model[1].weight
    parameter.data = parameter.data.clone()
    made = initialize(model, rules, seed=0, default=SMALL)
    for name, array in made.draw(0).items():
        assert torch.equal(model.get_parameter(name), torch.from_numpy(array)), name


def test_a_kept_buffer_under_a_filled_parameter_is_an_error_that_names_the_kind():
    model = nn.Linear(4, 4)
    model.register_buffer("rows", model.weight.data[1:])
    with pytest.raises(PlanError, match=r'rows, which is kept\. Keep both: {"weight": keep, "rows:buffer": keep}'):
        initialize(model, {"rows:buffer": keep}, seed=0, default=SMALL)


def test_two_kept_tensors_may_share_memory():
    model = chain()
    before = values(model)
    initialize(model, SMALL, seed=0, only="*.bias")
    assert values(model)["0.weight"] == before["0.weight"]
    assert values(model)["1.weight"] == before["1.weight"]
    assert not model[0].bias.any()


@pytest.mark.parametrize("is_warm", [False, True])
def test_tensors_without_storage_share_no_memory(is_warm):
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(4)])
    if is_warm:
        initialize(model, SMALL, seed=0)
    for layer in (model[0], model[1]):
        layer.weight.untyped_storage().resize_(0)
    made = initialize(model, SMALL, seed=0, only=["2.weight"])
    assert len(made.entries) == 8
    assert torch.equal(model[2].weight, torch.from_numpy(made.draw(0)["2.weight"]))


@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize("rules", [{}, {"1.weight": SMALL}])
@pytest.mark.parametrize("size", [0, 16])
def test_the_error_of_a_freed_storage_names_its_tensor_only(is_warm, rules, size):
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    if is_warm:
        initialize(model, he_normal, seed=0)
    model[1].weight.untyped_storage().resize_(size)
    before = values(model[0])
    with pytest.raises(ValueError, match=r"^1\.weight: tensor of shape .* its storage was freed or shrunk"):
        initialize(model, rules, seed=1, default=he_normal)
    assert values(model[0]) == before


def test_a_kept_tensor_may_have_no_storage():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    model[1].weight.untyped_storage().resize_(0)
    made = initialize(model, {"1.weight": keep}, seed=0, default=he_normal)
    assert torch.equal(model[0].weight, torch.from_numpy(made.draw(0)["0.weight"]))
    assert model[1].weight.untyped_storage().nbytes() == 0


def test_a_fused_parameter_is_compared_with_every_part():
    model, memory = nn.Module(), torch.randn(12, 4)
    model.fused, model.first, model.last = (nn.Parameter(part) for part in (memory, memory[:4], memory[8:]))
    with pytest.raises(PlanError) as raised:
        initialize(model, {"fused": SMALL}, seed=0, default=keep)
    assert sorted(problem.split(".")[0] for problem in raised.value.problems) == [
        f"fused: shares a part of its memory with {part}, which is kept" for part in ("first", "last")
    ]
