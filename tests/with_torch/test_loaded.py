"""Old weights in models of PyTorch."""

import numpy as np
import pytest
import torch
from checkpoints import save
from torch import nn

import initlib.adapters.torch as init
from initlib import Plan, PlanError, keep, loaded, normal, orthogonal, parts

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.complex64]


def bits(tensor):
    return tensor.detach().contiguous().view(torch.uint8)


def model(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6), nn.Linear(6, 3)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_copy_has_the_bits_of_the_tensor(dtype):
    old = nn.Module()
    every = torch.arange(256, dtype=torch.uint8).repeat_interleave(8).roll(3)  # NaN among them
    old.weight = nn.Parameter(every.view(dtype).reshape(16, -1), requires_grad=False)
    new = nn.Module()
    new.weight = nn.Parameter(torch.zeros_like(old.weight), requires_grad=False)
    made = init.initialize(new, {"weight": loaded(old.state_dict())}, seed=0)
    assert torch.equal(bits(new.weight), bits(old.weight))
    assert not init.verify(new, made, seed=0)


def test_a_model_from_a_file_of_the_safetensors_library(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    old, new = model(torch.bfloat16), model(torch.float32)
    save_file(old.state_dict(), tmp_path / "old.safetensors")
    source = loaded(tmp_path / "old.safetensors")
    made = init.initialize(new, {"0.weight": source + normal(std=0.01), "*": source}, seed=3)
    noise = torch.from_numpy(normal(std=0.01)((6, 8), axes="OI", seed=3, name="0.weight"))
    assert torch.equal(new[0].weight, old[0].weight.float() + noise)
    for part in (1, 2):
        for first, second in zip(old[part].parameters(), new[part].parameters(), strict=True):
            assert torch.equal(first.float(), second)
    assert not init.verify(new, made, seed=3)
    assert len(init.verify(new, made, seed=4)) == 1


def test_a_checkpoint_of_pytorch_that_is_mapped(tmp_path):
    old, new = model(torch.bfloat16), model(torch.bfloat16)
    torch.save(old.state_dict(), tmp_path / "old.pt")
    state = torch.load(tmp_path / "old.pt", mmap=True, weights_only=True)
    init.initialize(new, {"2.weight": normal(), "*": loaded(state)}, seed=0)
    assert torch.equal(bits(new[0].weight), bits(old[0].weight))
    assert not torch.equal(new[2].weight, old[2].weight)


def test_a_model_is_no_source():
    with pytest.raises(TypeError, match=r"source must be a path .*, got Sequential. Pass its state_dict\(\)"):
        loaded(model())


@pytest.mark.parametrize("as_array", [torch.Tensor.detach, lambda tensor: tensor.detach().numpy()])
def test_a_model_is_not_read_while_it_is_written(as_array):
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    first, second = (layer.weight.detach().clone() for layer in model)
    old = {name: as_array(tensor) for name, tensor in model.state_dict().items()}
    swapped = {"0.weight": loaded(old, "1.weight"), "1.weight": loaded(old, "0.weight")}
    with pytest.raises(
        PlanError, match=r"must not share memory with the model, because the fill overwrites it\. Pass copies"
    ):
        init.initialize(model, swapped, seed=0)
    assert torch.equal(model[0].weight, first)
    clones = {"0.weight": first, "1.weight": second}
    init.initialize(model, {"0.weight": loaded(clones, "1.weight"), "1.weight": loaded(clones, "0.weight")}, seed=0)
    assert torch.equal(model[0].weight, second)
    assert torch.equal(model[1].weight, first)
    init.initialize(model, {"0.weight": loaded(old, "1.weight"), "1.weight": keep}, seed=0)  # is not written to
    assert torch.equal(model[0].weight, first)


@pytest.mark.parametrize("tensor", [torch.empty(4, 4, device="meta"), torch.eye(4).to_sparse()])
def test_a_tensor_that_cannot_be_read_is_a_problem_of_the_plan(tensor):
    model = nn.Linear(4, 4, bias=False)
    before = model.weight.detach().clone()
    with pytest.raises(PlanError, match="that is loaded must be dense and in memory, got a tensor with"):
        init.initialize(model, {"weight": loaded({"weight": tensor})}, seed=0)
    assert torch.equal(model.weight, before)


def test_memory_of_any_strides():
    old = {"weight": np.arange(48, dtype="float32").reshape(6, 8)}
    new = nn.Module()
    new.weight = nn.Parameter(torch.zeros(8, 6).t())
    init.initialize(new, {"weight": loaded(old)}, seed=0)
    assert np.array_equal(new.weight.detach(), old["weight"])


def test_a_kernel_of_another_framework():
    old = {"dense.kernel": np.arange(48, dtype="float32").reshape(8, 6), "dense.bias": np.ones(6, "float32")}
    new = nn.Sequential(nn.Linear(8, 6))
    names = {"*.weight": "dense.kernel", "*.bias": "dense.bias"}
    init.initialize(new, {pattern: loaded(old, name, axes="IO") for pattern, name in names.items()}, seed=0)
    assert np.array_equal(new[0].weight.detach(), old["dense.kernel"].T)


def test_a_grown_vocabulary_keeps_its_old_logits(tmp_path):
    old, new = nn.Embedding(10, 8, padding_idx=0), nn.Embedding(12, 8, padding_idx=0)
    path = save(tmp_path / "old", {"weight": old.weight.detach().numpy()})
    rows = parts({"old": (10, loaded(path, "weight")), "new": (2, normal(std=0.02))}, replaces=0)
    init.initialize(new, {"weight": rows}, seed=0)
    assert torch.equal(new.weight[:10], old.weight)
    assert np.array_equal(new.weight[10:].detach(), normal(std=0.02)((2, 8), seed=0, name="weight.new"))


def test_a_model_on_the_meta_device(tmp_path):
    old = model()
    path = save(tmp_path / "old", {name: tensor.numpy() for name, tensor in old.state_dict().items()})
    with init.skeleton():
        new = model()
    init.initialize(new, {"*": loaded(path)}, seed=0, device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters(), strict=True))


def test_the_plan_draws_the_same_bits_in_numpy(tmp_path):
    path = save(tmp_path / "old", {name: tensor.numpy() for name, tensor in model().state_dict().items()})
    new = model(torch.bfloat16)
    rules = {"0.weight": loaded(path) * 0.3 + orthogonal(0.1), "*": loaded(path) + normal(std=0.1)}
    drawn = init.initialize(new, rules, seed=7).draw(7)
    for name, tensor in new.state_dict().items():
        assert bytes(bits(tensor).flatten().tolist()) == drawn[name].tobytes()


def test_errors_leave_the_model_unchanged(tmp_path):
    new = model()
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    with pytest.raises(PlanError, match="cannot be read"):
        init.initialize(new, {"0.weight": normal(), "*": loaded(tmp_path / "none")}, seed=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in new.state_dict().items())
    with pytest.raises(PlanError, match="dtype must be one of"):
        init.plan(nn.Linear(8, 6, bias=False), {"*": loaded({"weight": torch.ones(6, 8).char()})})


def test_an_existing_plan_whose_sources_cannot_be_read_changes_nothing(tmp_path):
    old, new = model(), model()
    old_file = save(tmp_path / "old.safetensors", {name: each.numpy() for name, each in old.state_dict().items()})
    made = init.plan(new, {"0.weight": normal(), "*": loaded(old_file)})
    before = [each.detach().clone() for each in new.parameters()]
    with pytest.raises(PlanError, match="must be named before it is read"):
        init.initialize(new, Plan.from_json(made.to_json()), seed=0)
    save(old_file, {name: each.numpy() + 1 for name, each in old.state_dict().items()})
    with pytest.raises(PlanError, match="a file that has changed"):
        init.initialize(new, made, seed=0)
    assert all(torch.equal(first, second) for first, second in zip(before, new.parameters(), strict=True))
