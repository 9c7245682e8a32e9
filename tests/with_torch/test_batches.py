"""Batches of functions that run a model: an error of the model names the argument if the batch holds no tensors."""

import pytest
import torch
from torch import nn

import initlib.adapters.torch as init
from initlib import recipes


def model(width=4):
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 2))


def sgd(model, width):
    return torch.optim.SGD(model.parameters(), 0.1)


RUNS = {
    "signals": lambda batch: init.signals(model(), batch),
    "lsuv_": lambda batch: init.lsuv_(model(), batch, seed=0),
    "coordinate_check": lambda batch: init.coordinate_check(
        lambda width, _: model(width), [4, 8], batch, optimizer=sgd
    ),
    "analytic": lambda batch: recipes.analytic(model(), batch),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("batch", [8, 1.5, [4, 8], [[0.5] * 8] * 4, (), {"input": 8}], ids=repr)
def test_a_batch_without_tensors_is_an_error_that_names_the_argument(name, batch):
    argument = "input_shape" if name == "analytic" else "batch"
    with pytest.raises(TypeError, match=rf"{argument} must be a tensor, .*, or a shape, got .* A shape is a") as raised:
        RUNS[name](batch)
    assert isinstance(raised.value.__cause__, TypeError)


def test_the_error_of_a_model_that_fails_on_tensors_is_unchanged():
    class Broken(nn.Linear):
        def forward(self, x):
            raise OSError("no such file")

    for batch in (torch.randn(4, 8), [torch.randn(4, 8)], {"x": torch.randn(4, 8)}):
        with pytest.raises(OSError, match="no such file") as raised:
            init.signals(Broken(8, 4), batch)
        assert not hasattr(raised.value, "__notes__")


def test_a_model_may_take_a_batch_without_tensors():
    class Constant(nn.Linear):
        def forward(self, count):
            return super().forward(torch.arange(8.0 * count).reshape(count, 8))

    assert [row.shape for row in init.signals(Constant(8, 4), 3).activations] == [(3, 4)]


def test_the_error_of_a_model_that_fails_on_a_shape_has_a_note():
    with pytest.raises(RuntimeError, match="Expected tensor for argument #1 'indices'") as raised:
        init.signals(nn.Embedding(5, 3), (4, 8))
    assert raised.value.__notes__ == [
        "batch=(4, 8) stands for standard normal inputs of this shape. Pass other inputs, such as indices, instead of "
        "the shape."
    ]
