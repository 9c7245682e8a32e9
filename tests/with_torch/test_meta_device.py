"""Skeleton: parameters on meta, buffers real, and modules that remember what `to_empty()` loses."""

import copy
import mmap
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

import initlib.adapters.torch as init
from initlib import PlanError, constant, he_normal, keep, normal, ones, zeros
from initlib.adapters.torch import initialize, plan, skeleton
from initlib.adapters.torch.models import huge_pages


class Model(nn.Module):
    initlib_axes = {"first": "OI"}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 4, padding_idx=0)
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        layer.norm1.weight.data.fill_(0.5)
        self.encoder = nn.TransformerEncoder(layer, 2)  # copies the layer
        self.lstm = nn.LSTM(4, 3)
        self.gamma = nn.Parameter(torch.empty(4))
        nn.init.constant_(self.gamma, 1e-6)  # after it was registered
        self.logit = nn.Parameter(torch.tensor(2.66))
        self.steps = nn.Parameter(torch.arange(4.0))
        self.again = self.gamma
        twice = nn.Parameter(torch.randn(4, 4))
        self.first, self.second = twice, twice
        self.head = nn.Linear(4, 7)
        self.head.weight = self.table.weight
        self.frozen = nn.Parameter(torch.ones(3, 3), requires_grad=False)
        self.register_buffer("frequencies", 10000.0 ** -torch.arange(4.0), persistent=False)
        self.norm = nn.BatchNorm1d(4)


RULES = {"steps": normal(), "frozen": normal()}


def test_parameters_are_on_meta_and_buffers_real():
    with skeleton():
        model = Model()
    assert [name for name, parameter in model.named_parameters() if not parameter.is_meta] == ["steps"]  # computed
    assert torch.equal(model.frequencies, 10000.0 ** -torch.arange(4.0))
    assert not any(buffer.is_meta for buffer in model.buffers())
    assert model.head.weight is model.table.weight
    assert model.again is model.gamma
    assert model.first is model.second
    assert not model.frozen.requires_grad
    assert all(weight is getattr(model.lstm, name) for weight, name in zip(*_flat(model.lstm), strict=True))


def _flat(lstm):
    return lstm._flat_weights, lstm._flat_weights_names


def test_the_plan_is_that_of_a_built_model():
    with skeleton():
        model = Model()
    assert plan(model, RULES, default=he_normal) == plan(Model(), RULES, default=he_normal)


@pytest.mark.parametrize(
    "make",
    [
        lambda model: initialize(model, RULES, 0, default=he_normal, device="cpu"),
        lambda model: initialize(model.to_empty(device="cpu"), RULES, 0, default=he_normal),
        lambda model: initialize(torch.compile(model, backend="eager"), RULES, 0, default=he_normal, device="cpu"),
    ],
)
@pytest.mark.parametrize("through", [lambda model: model, copy.deepcopy])
def test_the_weights_are_those_of_a_built_model(make, through):
    built = Model()
    with skeleton():
        model = Model()
    model = through(model)
    frequencies = model.frequencies.clone()
    made = make(model)
    assert made == initialize(built, RULES, 0, default=he_normal)
    model.frequencies = frequencies  # `to_empty` loses these values in any model
    assert {name: tensor.tolist() for name, tensor in model.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in built.state_dict().items()
    }
    assert model.head.weight is model.table.weight
    assert model.again is model.gamma
    assert not model.frozen.requires_grad
    out, _ = model.lstm(torch.ones(2, 1, 4))
    assert torch.equal(out, built.lstm(torch.ones(2, 1, 4))[0])


def test_attributes_of_parameters_stay():
    with skeleton():
        model = nn.Linear(3, 3)
        model.weight.tag = "kept"
    initialize(model, he_normal, 0, device="cpu")
    assert model.weight.tag == "kept"


def test_skeletons_can_be_nested():
    with skeleton():
        first = Model()
        with skeleton():
            inner = Model()
        last = Model()
    plans = [plan(model, RULES, default=he_normal) for model in (first, inner, last)]
    assert plans[0] == plans[1] == plans[2]


def test_modules_built_before_stay_real():
    before = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    with skeleton():
        model = nn.Sequential(before, nn.LayerNorm(3))
    assert [parameter.is_meta for parameter in model.parameters()] == [False] * 4 + [True] * 2


def test_other_threads_build_real_models():
    built = []
    with skeleton():
        thread = threading.Thread(target=lambda: built.append(nn.Linear(3, 3)))
        thread.start()
        thread.join()
    assert not built[0].weight.is_meta


def test_skeletons_begin_and_end_while_another_thread_registers_a_module():
    with skeleton():
        pass  # the first skeleton adds hooks
    built = []

    def build():
        with skeleton():
            built.append(nn.Sequential(nn.Linear(300, 300)))

    def run_another_thread(module, name, added):
        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=build)
            thread.start()
            thread.join()

    hooks = [  # PyTorch goes on to the second hook of each kind
        register(hook)
        for register in (
            nn.modules.module.register_module_parameter_registration_hook,
            nn.modules.module.register_module_module_registration_hook,
        )
        for hook in (run_another_thread, lambda *added: None)
    ]
    try:
        module = nn.Sequential(nn.Linear(300, 300, bias=False))
    finally:
        for hook in hooks:
            hook.remove()
    assert not module[0].weight.is_meta
    assert [each[0].weight.is_meta for each in built] == [True, True]


def test_an_error_ends_the_skeleton():
    with pytest.raises(RuntimeError, match="stop"), skeleton():
        raise RuntimeError("stop")
    assert not nn.Linear(3, 3).weight.is_meta
    assert not nn.Linear(300, 300).weight.is_meta  # large, so a skeleton replaces it where it is registered


def test_models_built_on_meta_have_no_records():
    with skeleton(), torch.device("meta"):
        model = Model()
    with pytest.raises(PlanError, match="logit: no rule matches, and the value that the constructor set is unknown"):
        plan(model, RULES, default=he_normal)


@pytest.mark.parametrize("build", [lambda: nn.Linear(300, 300), lambda: nn.LayerNorm(300), Model])
def test_initialize_in_a_skeleton_is_an_error_and_changes_nothing(build):
    with skeleton():
        model = build()
        devices = [parameter.device for parameter in model.parameters()]
        with skeleton():
            pass
        for make in (
            lambda: initialize(model, RULES, seed=0, default=he_normal, device="cpu"),
            lambda: initialize(model, he_normal, seed=0),
            lambda: plan(model, he_normal),
        ):
            with pytest.raises(RuntimeError, match=r"outside of `with skeleton\(\):`\. Leave the block first"):
                make()
        assert [parameter.device for parameter in model.parameters()] == devices
    rules = RULES if build is Model else {}
    initialize(model, rules, seed=0, default=he_normal, device="cpu")
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_initialize_in_another_thread_than_a_skeleton_works():
    made = []
    with skeleton():
        thread = threading.Thread(target=lambda: made.append(initialize(nn.Linear(3, 3), he_normal, seed=0)))
        thread.start()
        thread.join()
    assert len(made) == 1


def test_lazy_modules_stay_lazy():
    with skeleton():
        model = nn.Sequential(nn.LazyLinear(3))
    assert isinstance(model[0].weight, nn.UninitializedParameter)


class Computed(nn.Module):
    """Parameters that a constructor sets, draws, copies or computes, before and after they are registered."""

    def __init__(self, size=300):
        super().__init__()
        self.linear = nn.Linear(size, size)
        self.zero = nn.Conv2d(size, size, 1)
        nn.init.zeros_(self.zero.weight)
        nn.init.zeros_(self.zero.bias)
        self.scale = nn.Parameter(1e-6 * torch.ones(size, 1, size))
        self.late = nn.Parameter(torch.empty(size, 1, size))
        nn.init.ones_(self.late)
        self.late.data.mul_(0.5)
        self.drawn = nn.Parameter(torch.zeros(1, size, size))
        nn.init.trunc_normal_(self.drawn, std=0.02)  # draws nothing on the meta device
        self.scaled = nn.Parameter(torch.randn(size, size) * 0.02)
        self.table = nn.Embedding(size, size, padding_idx=0)
        self.sinusoids = nn.Parameter(sinusoids(size))
        self.copied = nn.Embedding(size, size)
        with torch.no_grad():
            self.copied.weight.copy_(sinusoids(size))


def sinusoids(size):
    return torch.sin(torch.arange(size)[:, None] / 100 ** (torch.arange(size) / size))


COMPUTED = {"sinusoids": keep, "copied.weight": keep}


def test_a_skeleton_sees_what_a_constructor_does():
    with skeleton():
        model = Computed()
    made = plan(model, COMPUTED, default=normal())
    fills = {entry.parameter.name: entry.filling for entry in made.entries}
    assert fills["zero.weight"] == zeros
    assert fills["scale"] == constant(1e-6)
    assert fills["late"] == constant(0.5)
    assert all(fills[name] == normal() for name in ("linear.weight", "drawn", "scaled", "table.weight"))
    with pytest.raises(PlanError) as raised:
        plan(model, normal())
    assert sorted(problem.split(":")[0] for problem in raised.value.problems) == ["copied.weight", "sinusoids"]


def test_computed_parameters_stay_real():
    with skeleton():
        model = Computed()
    made = initialize(model, COMPUTED, 0, default=normal(), device="cpu")
    assert torch.equal(model.sinusoids, sinusoids(300))
    assert torch.equal(model.copied.weight, sinusoids(300))
    built = Computed()
    assert initialize(built, COMPUTED, 0, default=normal()) == made
    assert all(torch.equal(tensor, built.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_draws_of_this_adapter_are_observed():
    class Model(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.weight = nn.Parameter(init.he_normal_(torch.empty(size, size)))
            self.after = nn.Parameter(torch.zeros(size, size))
            init.he_normal_(self.after)
            self.ones = nn.Parameter(init.ones_(torch.empty(size, size)))

    for size in (8, 300):
        with skeleton():
            model = Model(size)
        made = plan(model, normal())
        assert [entry.filling for entry in made.entries] == [normal(), normal(), ones]


class Norms(nn.Module):
    def __init__(self, compute):
        super().__init__()
        self.linear = nn.Linear(300, 300)
        compute(self)


def norms(model):
    model.norms = nn.Parameter(model.linear.weight.norm(dim=1).detach())


def buffer(model):
    model.register_buffer("start", model.linear.weight.detach().clone())


def test_a_tensor_computed_from_weights_is_an_error_with_the_fix():
    with skeleton():
        models = [Norms(norms), Norms(buffer)]
    with pytest.raises(
        PlanError, match=r"norms: .* computed this tensor from weights, which a skeleton does not have. Add a rule"
    ):
        initialize(models[0], normal(), 0, device="cpu")
    initialize(models[0], {"norms": ones}, 0, default=normal(), device="cpu")
    with pytest.raises(PlanError, match=r"start: the constructor computed this buffer from weights, .* without"):
        initialize(models[1], normal(), 0, device="cpu")


@pytest.mark.parametrize("compute", [lambda m: m.linear.weight.to("cpu"), lambda m: m.linear.weight.sum().item()])
def test_a_constructor_that_reads_weights_is_an_error_with_the_fix(compute):
    message = r"reads the values of weights, but a skeleton has no values .* without `skeleton\(\)`"
    with pytest.raises(RuntimeError, match=message), skeleton():
        Norms(compute)
    assert not nn.Linear(3, 3).weight.is_meta


def test_large_new_memory_asks_for_huge_pages_and_stays_resizable(monkeypatch):
    asked = []
    monkeypatch.setattr(huge_pages, "_madvise", lambda: lambda *advice: asked.append(advice))
    with skeleton():
        model = nn.Sequential(nn.Linear(1024, 1100), nn.Linear(1100, 300), nn.LayerNorm(300))
    initialize(model, he_normal, seed=0, device="cpu")
    large = model[0].weight
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        assert asked == []
        return
    ((start, size, advice),) = asked
    assert advice == mmap.MADV_HUGEPAGE
    assert start % mmap.PAGESIZE == 0
    assert 0 <= start - large.data_ptr() < mmap.PAGESIZE
    assert start + size == large.data_ptr() + large.nbytes
    assert torch.equal(large, init.he_normal_(torch.empty(1100, 1024), seed=0, name="0.weight"))
    assert large.untyped_storage().nbytes() == large.nbytes
    large.untyped_storage().resize_(0)


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="huge pages of Linux")
def test_the_system_takes_the_advice():
    with skeleton():
        model = nn.Sequential(nn.Linear(2048, 2048))
    initialize(model, he_normal, seed=0, device="cpu")
    middle, flags, inside = model[0].weight.data_ptr() + model[0].weight.nbytes // 2, None, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if "-" in first and not first.endswith(":"):
            start, stop = (int(address, 16) for address in first.split("-"))
            inside = start <= middle < stop
        elif first == "VmFlags:" and inside:
            flags = line.split()[1:]
    assert "hg" in flags


def test_a_skeleton_and_its_weights_load_no_compiler():
    program = """
import sys, torch, initlib.adapters.torch as init, initlib
slow = {"sympy", "torch._dynamo"} - set(sys.modules)
with init.skeleton():
    model = torch.nn.Sequential(torch.nn.Linear(300, 300), torch.nn.LayerNorm(300))
    torch.nn.init.trunc_normal_(model[0].weight)
init.initialize(model, initlib.he_normal, seed=0, device="cpu")
print(sorted(slow), sorted(slow & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['sympy', 'torch._dynamo'] []"


def test_draws_on_the_meta_device_are_still_observed():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.drawn = nn.Parameter(torch.empty(300, 300).normal_())
            self.scaled = nn.Parameter(torch.empty(300, 300))
            self.turned = nn.Parameter(torch.empty(300, 300))
            with torch.no_grad():
                self.scaled.fill_(2.0).mul_(0.25)
                assert self.turned.t_().erfinv_().shape == (300, 300)
                self.turned[0].uniform_().add_(self.scaled[0])

    with skeleton():
        model = Scaled()
    initialize(model, {"drawn": normal(), "turned": normal()}, seed=0, device="cpu")
    assert torch.equal(model.scaled, torch.full((300, 300), 0.5))


def test_a_skeleton_in_another_skeleton_hides_no_operation_from_it():
    with skeleton():
        outer = nn.Linear(300, 300)
        nn.init.ones_(outer.weight)
        with skeleton():
            nn.init.constant_(outer.weight, 2.0)
    initialize(outer, {"bias": zeros}, seed=0, device="cpu")
    assert torch.equal(outer.weight, torch.full((300, 300), 2.0))


def test_a_skeleton_sees_writes_to_several_tensors_in_one_call():
    with skeleton(), torch.no_grad():
        layers = nn.ModuleList([nn.Linear(300, 300, bias=False) for _ in range(2)])
        for layer in layers:
            nn.init.zeros_(layer.weight)
        torch._foreach_add_([layer.weight for layer in layers], 1.0)
    made = plan(layers, default=he_normal)
    assert [entry.filling for entry in made.entries] == [he_normal, he_normal]


@pytest.mark.parametrize(
    "write",
    [
        lambda weight: weight.normal_(0.0, -1.0),
        lambda weight: weight.geometric_(2.0),
        lambda weight: weight.clamp_(),
        lambda weight: weight.div_(2.0, rounding_mode="up"),
        lambda weight: weight.int().normal_(),
        lambda weight: weight.bool().add_(1),
    ],
)
def test_an_operation_with_wrong_arguments_is_an_error_in_a_skeleton(write):
    with skeleton(), torch.no_grad():
        weight = nn.Linear(300, 300).weight
        with pytest.raises((RuntimeError, ValueError)):
            write(weight)


def test_operations_of_a_skeleton_draw_no_random_numbers():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with skeleton():
        torch.empty(300, 300, device="meta").normal_().uniform_().bernoulli_(0.5)
    assert torch.equal(torch.get_rng_state(), state)
