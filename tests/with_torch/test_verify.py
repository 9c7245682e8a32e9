"""Comparison of a model of PyTorch with the plan and the seed that filled it."""

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn

import initlib.adapters.torch as init
from initlib import Key, Parameter, Plan, keep, normal, orthogonal, parts, plan, uniform, zeros
from initlib.adapters.torch.drawing import read


class Attention(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.q, self.k = (nn.Linear(width, width) for _ in range(2))
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        return self.norm(self.q(x) * self.k(x))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(100, 32, padding_idx=3)
        self.attention = Attention()
        self.steps = nn.Parameter(torch.arange(5), requires_grad=False)
        self.head = nn.Linear(32, 100, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        return self.head(self.attention(self.table(tokens)))


def made(cls=Model, rules=None, **options):
    model = cls()
    return model, init.initialize(model, rules, seed=0, default=normal(std=0.02), **options)


def reports(*arguments, **options):
    return [str(difference) for difference in init.verify(*arguments, **options)]


@pytest.mark.parametrize("whole", [False, True])
def test_nothing_differs_after_initialize(whole):
    model, plan = made()
    result = init.verify(model, plan, seed=0, whole=whole)
    assert not result
    assert result.summary.startswith("nothing differs: compared 8 tensors, ")  # the tie counts once
    for other in (nn.DataParallel(model), copy.deepcopy(model)):
        assert not init.verify(other, plan, Key(0), whole=whole)
    assert not init.verify(model, Plan.from_json(plan.to_json()), 0, whole=whole)
    plan = init.initialize(model, seed=np.random.default_rng(5), default=normal())
    assert not init.verify(model, plan, np.random.default_rng(5), whole=whole)


def test_another_seed_differs():
    model, plan = made()
    assert reports(model, plan, 1) == [
        f"'{name}.weight' has other values from index (0, 0) on" for name in ("table", "attention.q", "attention.k")
    ]
    with pytest.raises(TypeError, match="seed must be the seed under which the model was initialized, got None"):
        init.verify(model, plan, None)


def test_one_changed_weight_needs_a_full_comparison():
    model, plan = made(lambda: nn.Linear(1024, 512))
    with torch.no_grad():
        model.weight[100, 200] += 1e-6
    assert reports(model, plan, 0) == []
    assert reports(model, plan, 0, whole=True) == ["'weight' has other values from index (100, 200) on"]


def test_swapped_rows_and_weights_are_named():
    model, plan = made()
    q, k = model.attention.q.weight.data, model.attention.k.weight.data
    model.table.weight.data[[10, 40]] = model.table.weight.data[[40, 10]]
    q.copy_(k), k.copy_(torch.from_numpy(plan.draw_one("attention.q.weight", 0)))
    assert reports(model, plan, 0, whole=True) == [
        "'table.weight' has other values from index (10, 0) on: holds row 40 of the same weight",
        "'attention.q.weight' has other values from index (0, 0) on: holds attention.k.weight",
        "'attention.k.weight' has other values from index (0, 0) on: holds attention.q.weight",
    ]


def test_transposed_and_shifted_weights_differ():
    model, plan = made()
    weight = model.attention.q.weight.data
    weight.copy_(weight.T.clone())
    assert reports(model, plan, 0) == ["'attention.q.weight' has other values from index (0, 1) on"]
    weight.copy_(weight.T.clone().roll(1, 1))
    assert reports(model, plan, 0) == ["'attention.q.weight' has other values from index (0, 0) on"]


def test_swapped_parts_of_a_fused_weight_are_named():
    model, plan = made(lambda: nn.Linear(16, 48, bias=False), {"weight": parts({"q": 16, "k": 16, "v": 16}, normal())})
    model.weight.data[:32] = model.weight.data[:32].roll(16, 0)
    assert reports(model, plan, 0) == [
        "'weight' has other values from index (0, 0) on: holds rows 16..31 of the same weight"
    ]


def test_missing_and_additional_tensors_are_differences():
    model, plan = made()
    del model.attention.norm.bias
    model.attention.more = nn.Parameter(torch.zeros(3))
    model.attention.q = nn.Linear(32, 16, bias=False)
    model.attention.k.half()
    assert reports(model, plan, 0) == [
        "'attention.q.weight' has shape (16, 32), but the plan has (32, 32)",
        "'attention.q.bias' is missing",
        "'attention.k.weight' has dtype float16, but the plan has float32",
        "'attention.k.bias' has dtype float16, but the plan has float32",
        "'attention.norm.bias' is missing",
        "'attention.more' is not in the plan",
    ]


def test_padding_rows_are_zero():
    model, plan = made()
    model.table.weight.data[3, 5] = 0.01
    assert reports(model, plan, 0, whole=True) == ["'table.weight' has other values from index (3, 5) on"]


def test_kept_tensors_are_compared_by_shape_and_dtype():
    model, plan = made(rules={"attention.k.*": keep})
    model.attention.k.weight.data.fill_(7)
    model.steps.data.fill_(7)
    assert reports(model, plan, 0, whole=True) == []
    model.steps.data = model.steps.data.int()
    assert reports(model, plan, 0) == ["'steps' has dtype int32, but the plan has int64"]


def test_a_lost_tie_is_compared_under_both_names():
    model, plan = made()
    model.head.weight = nn.Parameter(model.table.weight.detach().clone())
    assert reports(model, plan, 0, whole=True) == []
    model.head.weight.data[7, 7] = 0
    assert reports(model, plan, 0, whole=True) == ["'head.weight' has other values from index (7, 7) on"]


def test_only_and_prefix_select_and_name_tensors():
    model, plan = made(prefix="encoder")
    model.attention.q.weight.data.zero_()
    assert [difference.name for difference in init.verify(model, plan, 0, prefix="encoder")] == [
        "encoder.attention.q.weight"
    ]
    assert reports(model, plan, 0, prefix="encoder", only="*.k.*") == []
    assert reports(model, plan, 0, prefix="encoder", only=["encoder.attention.k.weight"]) == []
    assert len(reports(model, plan, 0, prefix="encoder", only=["encoder.attention.q.weight"])) == 1
    assert len(reports(model, plan, 0)) == 2 * 8
    with pytest.raises(ValueError, match=r"only must name parameters or buffers, got 'encoder\.attention\.q\.wight'"):
        init.verify(model, plan, 0, prefix="encoder", only=["encoder.attention.q.wight"])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "complex64", "float32"])
def test_every_dtype_is_compared(dtype):
    pytest.importorskip("ml_dtypes")
    model, plan = made(lambda: nn.Linear(64, 48, dtype=getattr(torch, dtype)), {"bias": normal()})
    for whole in (False, True):
        assert reports(model, plan, 0, whole=whole) == []
    bits = model.weight.data.view(torch.uint8)
    bits[40, 100] ^= 1
    (difference,) = init.verify(model, plan, 0, whole=True)
    assert difference.index == (40, 100 // model.weight.itemsize)


def test_memory_of_any_order_is_compared():
    model = nn.Conv2d(8, 16, 3).to(memory_format=torch.channels_last)
    plan = init.initialize(model, normal(), seed=0)
    assert reports(model, plan, 0, whole=True) == []
    model.weight.data[5, 4, 1, 2] = 0
    assert reports(model, plan, 0, whole=True) == ["'weight' has other values from index (5, 4, 1, 2) on"]


@pytest.mark.parametrize("initializer", [orthogonal(), uniform(0.5, 1.0)])
def test_products_of_matrices_are_compared_to_1e_6(initializer):
    model, plan = made(lambda: nn.Linear(48, 64, bias=False), {"weight": initializer})
    model.weight.data.copy_(model.weight.data.nextafter(torch.tensor(9.0)))
    assert reports(model, plan, 0, whole=True) == []
    model.weight.data[63, 47] += 1e-3
    assert reports(model, plan, 0, whole=True) == ["'weight' has other values from index (63, 47) on"]


@pytest.mark.parametrize("dim", [0, 1, -1, None])
@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_weight_norm_is_compared_by_the_computed_weight(norm, dim):
    for rule in (normal(std=0.02), zeros):
        model = norm(nn.Linear(16, 24), dim=dim)
        plan = init.initialize(model, {"weight": rule}, seed=0)
        assert reports(model, plan, 0, whole=True) == []
    plan = init.initialize(model, {"weight": normal(std=0.02)}, seed=0)
    direction, magnitude = sorted(
        (each for name, each in model.named_parameters() if name != "bias"), key=torch.numel, reverse=True
    )
    direction.data.mul_(3)
    assert reports(model, plan, 0, whole=True) == []
    magnitude.data.mul_(1.01)
    assert reports(model, plan, 0, whole=True) == ["'weight' has other values from index (0, 0) on"]


def test_buffers_count_where_the_plan_names_them():
    model = nn.BatchNorm1d(8)
    written = plan([Parameter(name, (8,)) for name in ("weight", "bias", "running_mean")], normal())
    assert reports(model, written, 0) == [
        f"'{name}' has other values from index (0,) on" for name in ("weight", "bias", "running_mean")
    ]
    assert reports(model, init.plan(model), 0) == []


def test_tensors_without_readable_memory_are_differences():
    with init.skeleton():
        model = nn.Linear(8, 8)
    plan = init.plan(model, normal())
    assert reports(model, plan, 0) == [
        f"'{name}' cannot be read: the tensor has no values in memory" for name in ("weight", "bias")
    ]
    model.to_empty(device="cpu")
    plan = init.initialize(model, normal(), seed=0)
    model.weight.untyped_storage().resize_(0)
    (difference,) = init.verify(model, plan, 0)
    assert "its storage was freed or shrunk" in difference.what


def test_wrong_arguments_are_errors():
    model, plan = made()
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module, got int"):
        init.verify(3, plan, 0)
    with pytest.raises(TypeError, match=r"plan must be an initlib\.Plan"):
        init.verify(model, {}, 0)


def test_samples_read_a_small_share_of_a_large_model(monkeypatch):
    model, plan = made(lambda: nn.Linear(2048, 2048, bias=False, dtype=torch.float16))
    taken = []
    monkeypatch.setattr(read, "read_array", lambda view, own=read.read_array: taken.append(view.nbytes) or own(view))
    assert not init.verify(model, plan, 0)
    assert 0 < sum(taken) < 0.01 * model.weight.nbytes


def test_the_model_is_unchanged():
    model, plan = made()
    before = {name: (tensor._version, tensor.clone()) for name, tensor in model.state_dict().items()}
    init.verify(model, plan, 1, whole=True)
    for name, tensor in model.state_dict().items():
        version, values = before[name]
        assert tensor._version == version
        assert torch.equal(tensor, values)


def test_a_saved_and_loaded_state_has_no_differences():
    model, plan = made()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    loaded = Model()
    loaded.load_state_dict(torch.load(file))
    assert not init.verify(loaded, plan, 0, whole=True)
