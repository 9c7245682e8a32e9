"""The fill of a model's tensors by one call: the bits of a plan, in memory of any kind, and all checks first."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import initlib.adapters.torch as init
from initlib import Key, constant, get_num_threads, he_normal, normal, orthogonal, set_num_threads, values
from initlib.adapters.torch.drawing import memory
from initlib.adapters.torch.drawing.fill import fill_boxes


class Model(nn.Module):
    """Parameters of every dtype and memory that one call fills, and some that it does not."""

    def __init__(self):
        super().__init__()
        last = torch.full((6, 8, 3, 3), 9.0).to(memory_format=torch.channels_last)
        self.last = nn.Parameter(last)
        self.turned = nn.Parameter(torch.full((8, 6), 9.0).T)
        self.base = torch.full((9, 20), 9.0)
        self.view = nn.Parameter(self.base[1:7, 2:18:2])
        self.of_float16 = nn.Parameter(torch.full((6, 8), 9.0, dtype=torch.float16))
        self.of_bfloat16 = nn.Parameter(torch.full((6, 8), 9.0, dtype=torch.bfloat16))
        self.of_float64 = nn.Parameter(torch.full((6, 8), 9.0, dtype=torch.float64))
        self.of_complex64 = nn.Parameter(torch.full((6, 8), 9.0, dtype=torch.complex64))
        self.square = nn.Parameter(torch.full((6, 8), 9.0))
        self.given = nn.Parameter(torch.full((6, 8), 9.0))
        self.table = nn.Embedding(10, 4, padding_idx=3)
        self.large = nn.Linear(1024, 1100)
        self.empty = nn.Parameter(torch.empty(0, 8))


RULES = {
    "square": orthogonal(),
    "given": values(np.arange(48.0).reshape(6, 8)),
    "of_float16": constant(-0.0),
    "*.bias": normal(1.0),
    "*": normal(std=0.02),
}


def filled(threads=2):
    before = get_num_threads()
    set_num_threads(threads)
    try:
        model = Model()
        made = init.initialize(model, RULES, seed=3, axes={"square": "OI"})
    finally:
        set_num_threads(before)
    return model, made


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_a_model_gets_the_bits_of_its_plan_on_any_number_of_threads(threads):
    model, made = filled(threads)
    drawn = made.draw(3)
    for name, parameter in model.named_parameters():
        bits = memory.read_array(parameter)
        assert bits.tobytes() == drawn[name].tobytes(), name
    assert model.last.is_contiguous(memory_format=torch.channels_last)
    assert int((model.base == 9).sum()) == 9 * 20 - 6 * 8


def targets(model):
    made, tensors = init.plan(model, RULES, axes={"square": "OI"}), dict(model.named_parameters())
    drawn = [(entry, tensors[entry.parameter.name].detach()) for entry in made.entries]
    return [(entry, ..., tensor) for entry, tensor in drawn if tensor.numel()]


def test_autograd_notices_the_fill_of_each_tensor_and_each_storage_can_be_resized():
    filled = targets(Model())
    before = [tensor._version for _, _, tensor in filled]
    fill_boxes(filled, Key(0))
    for version, (_, _, tensor) in zip(before, filled, strict=True):
        assert tensor._version > version
        if tensor.untyped_storage().nbytes() == tensor.nbytes and tensor.dtype != torch.complex64:
            tensor.untyped_storage().resize_(0)


@pytest.mark.parametrize("freed", ["large.weight", "square", "of_complex64"])
def test_nothing_is_written_if_the_storage_of_one_tensor_was_freed(freed):
    filled = targets(Model())
    before = {entry.parameter.name: tensor.clone() for entry, _, tensor in filled}
    (stored,) = (tensor for entry, _, tensor in filled if entry.parameter.name == freed)
    stored.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="its storage was freed or shrunk"):
        fill_boxes(filled, Key(0))
    for entry, _, tensor in filled:
        assert tensor is stored or torch.equal(tensor, before[entry.parameter.name])


def test_modes_see_the_fill_of_each_tensor():
    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            calls.append(str(func))
            return func(*args, **(kwargs or {}))

    calls = []
    expected, _ = filled()
    model = Model()
    with Seen():
        init.initialize(model, RULES, seed=3, axes={"square": "OI"})
    assert sum("copy_" in call for call in calls) >= 12
    for (name, one), other in zip(model.named_parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_a_tensor_of_the_model_gets_what_it_gets_alone():
    model, _ = filled()
    assert torch.equal(
        model.of_bfloat16,
        init.normal_(torch.empty(6, 8, dtype=torch.bfloat16), std=0.02, axes="...", seed=3, name="of_bfloat16"),
    )
    layer = nn.Sequential(nn.Linear(8, 6))
    init.initialize(layer, he_normal, seed=0)
    assert torch.equal(layer[0].weight, init.he_normal_(torch.empty(6, 8), seed=0, name="0.weight"))
