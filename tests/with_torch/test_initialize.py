"""Initialize: every parameter of a model is filled by its plan and its name, or the model stays unchanged."""

import contextlib
import copy
import re
import warnings

import numpy as np
import pytest
import torch
from fresh_memory import emptied
from torch import nn
from torch.nn.utils import parametrizations

from initlib import (
    Key,
    Plan,
    PlanError,
    _progress,
    constant,
    fans,
    he_normal,
    keep,
    normal,
    ones,
    orthogonal,
    parts,
    truncated_normal,
    values,
    zeros,
)
from initlib.adapters.torch import initialize, plan, skeleton


class Model(nn.Module):
    """A model with a tied and padded table, packed gates and attention, groups, norms and bare parameters."""

    initlib_axes = {"experts": "B(2 O)I"}  # noqa: RUF012

    def __init__(self, order=1):
        super().__init__()
        children = {
            "table": nn.Embedding(11, 8, padding_idx=3),
            "conv": nn.Conv2d(8, 8, 3, groups=4),
            "back": nn.ConvTranspose1d(8, 4, 2, groups=2),
            "lstm": nn.LSTM(8, 6, proj_size=4),
            "attention": nn.MultiheadAttention(8, 2, add_bias_kv=True),
            "norm": nn.BatchNorm1d(8),
            "head": nn.Linear(8, 11),
            "small": nn.Linear(8, 3).bfloat16(),
        }
        for name in list(children)[::order]:
            self.add_module(name, children[name])
        self.head.weight = self.table.weight
        self.experts = nn.Parameter(torch.randn(3, 4, 8))
        self.gamma = nn.Parameter(torch.full((8,), 0.25))


def bits(model):
    """Return the bits of the state, by name."""
    return {name: tensor.view(torch.uint8).flatten().tolist() for name, tensor in _states(model)}


def _states(model):
    return ((name, tensor.reshape(-1).contiguous()) for name, tensor in model.state_dict().items())


def drawn(made, seed):
    """Return the weights of a plan as PyTorch tensors."""
    return {
        name: torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
        if array.dtype.name == "bfloat16"
        else torch.from_numpy(array)
        for name, array in made.draw(seed).items()
    }


def test_the_plan_draws_the_weights_of_the_model():
    model = Model()
    made = initialize(model, he_normal, seed=7)
    assert isinstance(made, Plan)
    weights = drawn(made, 7)
    assert list(weights) == [name for name, _ in model.named_parameters()]
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights[name]), name


def test_a_default_fills_the_usual_layers():
    model = Model()
    made = initialize(model, he_normal, seed=0)
    rows = {row["name"]: row for row in made.to_dicts()}
    assert rows["conv.weight"]["axes"] == "(4 O)IHW"
    assert rows["conv.weight"]["std"] == pytest.approx(he_normal.std((8, 2, 3, 3), "(4 O)IHW"))
    assert (rows["experts"]["fan_in"], rows["experts"]["fan_out"]) == fans((3, 4, 8), "B(2 O)I")
    for gate in model.lstm.weight_hh_l0.detach().split(6):  # orthogonal, each
        assert torch.allclose(gate.T @ gate, torch.eye(4), atol=1e-5)
    assert model.table.weight[3].eq(0).all()
    assert not model.table.weight[2].eq(0).any()
    assert model.head.weight is model.table.weight
    assert model.gamma.eq(0.25).all()
    assert model.norm.weight.eq(1).all()
    assert model.attention.in_proj_bias.eq(0).all()
    assert model.small.weight.dtype is torch.bfloat16
    assert made["head.weight"] is made["table.weight"]


def test_neither_order_nor_wrappers_matter():
    models = [Model(), torch.compile(Model(), backend="eager"), nn.DataParallel(Model())]
    for model in models:
        initialize(model, he_normal, seed=0)
    assert bits(models[0]) == bits(models[1]._orig_mod) == bits(models[2].module)
    there, back = Model(), Model(order=-1)
    for model in (there, back):
        model.head.weight = nn.Parameter(torch.randn(11, 8))  # a tied weight goes by the name that comes first
        initialize(model, he_normal, seed=0)
    assert bits(there) == bits(back)


def test_a_part_of_a_model_can_be_filled_alone():
    model, alone = Model(), Model()
    initialize(model, he_normal, seed=0)
    initialize(alone.lstm, he_normal, seed=0, rename=lambda name: f"lstm.{name}")
    assert bits(alone.lstm) == bits(model.lstm)


def test_seeds_of_every_kind_are_accepted():
    models = [Model() for _ in range(5)]
    for model, seed in zip(models, [3, Key(3), np.random.default_rng(3), 4, None], strict=True):
        torch.manual_seed(3)
        initialize(model, he_normal, seed)
    again = Model()
    torch.manual_seed(3)
    initialize(again, he_normal)
    assert bits(models[0]) == bits(models[1])
    assert bits(models[4]) == bits(again)
    assert len({str(bits(model)) for model in models}) == 4


def test_rules_axes_and_parts_apply():
    split = nn.ModuleDict({name: nn.Linear(8, 4 if name == "q" else 2, bias=False) for name in "qkv"})
    fused = nn.ModuleDict({"qkv": nn.Linear(8, 8, bias=False)})
    initialize(split, {"[qk].weight": he_normal, "v.weight": zeros}, seed=0)
    initialize(
        fused,
        {"qkv.weight": parts({"q.weight": 2, "k.weight": 1, "v.weight": (1, zeros)}, he_normal)},
        seed=0,
    )
    assert torch.equal(fused["qkv"].weight, torch.cat([split[name].weight for name in "qkv"]))

    module = nn.Module()
    module.weight = nn.Parameter(torch.randn(3, 4))
    module.state = nn.Parameter(torch.randn(4))
    table = np.log(np.arange(1, 5))
    initialize(module, {"state": values(table)}, seed=0, default=he_normal, axes={"weight": "IO"})
    assert np.array_equal(module.state.detach().numpy(), table.astype("float32"))
    assert torch.equal(module.weight, torch.from_numpy(he_normal((3, 4), seed=0, name="weight")))


def test_kept_parameters_stay():
    model = Model()
    before = model.conv.weight.detach().clone()
    made = initialize(model, {"conv.weight": keep}, seed=0, default=he_normal)
    assert torch.equal(model.conv.weight, before)
    assert "conv.weight" not in made.draw(0)


def test_memory_of_any_order_is_filled_in_place():
    model = Model()
    model.conv.to(memory_format=torch.channels_last)
    model.experts = nn.Parameter(torch.randn(8, 4, 3).permute(2, 1, 0))
    held = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    made = initialize(model, truncated_normal(std=0.02), seed=0)
    for name, weight in drawn(made, 0).items():
        assert torch.equal(model.get_parameter(name), weight), name
    assert held == {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    assert all(parameter._version > 0 for parameter in model.parameters())


def test_a_trained_model_can_be_initialized_again():
    model = nn.Sequential(nn.Linear(4, 4), nn.PReLU(), Model())
    first = bits(model) if initialize(model, he_normal, seed=0) else None
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand_like(parameter))
        for buffer in model.buffers():
            buffer.add_(3)
    initialize(model, he_normal, seed=0)
    assert bits(model) == first


def test_only_buffers_of_norms_are_reset():
    model = nn.Sequential(
        nn.BatchNorm1d(3), nn.InstanceNorm1d(3, track_running_stats=True), nn.BatchNorm1d(3, affine=False)
    )
    model.register_buffer("own", torch.full((2,), 7.0))
    with torch.no_grad():
        for part in model:
            part.running_var.fill_(9)
            part.num_batches_tracked.fill_(9)
    initialize(model, he_normal, seed=0)
    assert all(part.running_var.eq(1).all() and part.num_batches_tracked == 0 for part in model)
    assert model.own.eq(7).all()


def normed(dim):
    yield nn.Sequential(parametrizations.weight_norm(nn.Conv1d(4, 6, 3), dim=dim))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield nn.Sequential(nn.utils.weight_norm(nn.Conv1d(4, 6, 3), dim=dim))


@pytest.mark.parametrize("dim", [0, 1, -1, None])
@pytest.mark.parametrize("initializer", [he_normal, zeros, ones])
def test_weight_norm_gets_the_drawn_weight(dim, initializer):
    plain = nn.Sequential(nn.Conv1d(4, 6, 3))
    initialize(plain, {"0.weight": initializer}, seed=0)
    for model in normed(dim):
        initialize(model, {"0.weight": initializer}, seed=0)
        assert torch.allclose(model[0].weight, plain[0].weight, rtol=1e-6, atol=0)
        assert torch.allclose(model(torch.ones(1, 4, 5)), plain(torch.ones(1, 4, 5)), atol=1e-6)


def spectral():
    return (
        nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 4))),
        nn.Sequential(nn.utils.spectral_norm(nn.Linear(6, 4))),
    )


def test_spectral_norm_needs_a_rule_for_the_stored_tensor():
    weights = []
    for model, name in zip(spectral(), ["0.parametrizations.weight.original", "0.weight_orig"], strict=True):
        with pytest.raises(
            PlanError, match=f"{name}: no rule matches, and the model applies _?SpectralNorm to the stored tensor"
        ):
            initialize(model, he_normal, seed=0)
        for _ in range(2):
            with torch.no_grad():
                for buffer in model.buffers():
                    buffer.zero_()
            initialize(model, {"w": he_normal}, seed=0, rename={name: "w"})
            weights.append(model[0].weight.detach().clone())
        assert torch.linalg.matrix_norm(weights[-1], 2) == pytest.approx(1, abs=1e-3)
    assert torch.allclose(weights[0], weights[1])
    assert torch.allclose(weights[0], weights[2], atol=1e-3)


def untouched(model, call):
    """Return the error of a call, and check that the call changes no weight."""
    before = bits(model)
    with pytest.raises(PlanError) as raised:
        call()
    assert bits(model) == before
    return raised.value


def freed(weight):
    weight.untyped_storage().resize_(0)


def pointed_at(tensor):
    return lambda model: setattr(model[0].weight, "data", tensor)


CHANGES = {
    "half": ("cpu", lambda model: model.half()),
    "double": ("cpu", lambda model: model.double()),
    "half on meta": ("meta", lambda model: model.half()),
    "to meta": ("cpu", lambda model: model.to("meta")),
    "from meta": ("meta", lambda model: model.to_empty(device="cpu")),
    "removed": ("cpu", lambda model: setattr(model[0], "weight", None)),
    "module replaced": ("cpu", lambda model: model.__setitem__(0, nn.Linear(6, 2))),
    "module removed": ("cpu", lambda model: model.__delitem__(0)),
    "module added": ("cpu", lambda model: model.append(nn.Sequential(nn.Linear(6, 6)))),
    "parameter added": ("cpu", lambda model: setattr(model[0], "scale", nn.Parameter(torch.ones(6)))),
    "replaced": ("cpu", lambda model: setattr(model[0], "weight", nn.Parameter(torch.zeros(6, 6)))),
    "freed": ("cpu", lambda model: freed(model[0].weight)),
    "data of another dtype": ("cpu", pointed_at(torch.zeros(6, 6, dtype=torch.float16))),
    "data of another shape": ("cpu", pointed_at(torch.zeros(2, 2))),
    "data of every second column": ("cpu", pointed_at(torch.zeros(6, 12)[:, ::2])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_rule_that_changes_the_model_is_an_error(change):
    device, apply = CHANGES[change]
    model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)).to(device)
    after = []

    def normal_after_a_change(parameter):
        if parameter.name == "1.weight":
            apply(model)
            after.append(copy.deepcopy(model[-1]))
        return normal()

    with pytest.raises(PlanError, match="model changed while its plan was made") as raised:
        initialize(model, {"*": normal_after_a_change}, seed=0, device="cpu" if device == "meta" else None)
    assert len(raised.value.problems) == len({problem.split(":")[0] for problem in raised.value.problems})
    for parameter, before in zip(model[-1].parameters(), after[0].parameters(), strict=True):
        assert parameter.is_meta == before.is_meta
        assert before.is_meta or torch.equal(parameter, before)


@pytest.mark.parametrize("argument", ["rules", "default", "rename"])
def test_every_function_that_replaces_a_module_is_noticed(argument):
    model = nn.Sequential(nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6)))

    def change(given):
        model[1] = nn.Sequential(nn.Linear(6, 2))
        return {} if argument == "rules" else normal() if argument == "default" else given

    arguments = {"default": normal(), argument: change}
    for make in (plan, lambda *given, **options: initialize(*given, seed=0, **options)):
        with pytest.raises(PlanError, match=r"1: the model changed .* another module, of class Sequential\.") as raised:
            make(model, **arguments)
        assert len(raised.value.problems) == 1


def test_a_function_that_moves_a_kept_tensor_is_noticed():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))

    def moved(parameter):
        model[1].to("meta")
        return normal()

    with pytest.raises(PlanError, match=r"1\.weight: the model changed .* on meta\."):
        initialize(model, {"0.weight": moved}, seed=0, default=keep)


def test_nothing_is_written_after_an_error():
    model = Model()
    model.strange = nn.Parameter(torch.randn(2, 2))
    model.vector = nn.Parameter(torch.arange(3.0))
    error = untouched(model, lambda: initialize(model, {"nothing.*": zeros}, seed=0, default=he_normal))
    text = str(error)
    assert "strange" in text
    assert "vector: no rule matches" in text
    assert "nothing.*" in text


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Linear(8, 1),
        lambda: nn.Conv2d(3, 1, 3),
        lambda: nn.ConvTranspose1d(2, 1, 3),
        lambda: nn.Bilinear(2, 9, 1),
        lambda: nn.RNNCell(3, 1),
    ],
)
def test_a_drawn_bias_of_one_weight_is_no_constant(build):
    """A single weight equals all weights of its tensor, but a drawn weight is no constant."""
    for context in (contextlib.nullcontext, skeleton):
        for seed in range(3):
            torch.manual_seed(seed)
            with context():
                layer = build()
            initialize(layer, he_normal, seed=0, device="cpu")
            assert all(parameter.eq(0).all() for name, parameter in layer.named_parameters() if "bias" in name)


def test_a_constant_of_one_weight_stays():
    gate, norm, scale = nn.Linear(64, 1), nn.BatchNorm1d(1), nn.ParameterDict({"logit": torch.tensor([2.6592])})
    nn.init.constant_(gate.bias, -2.0)
    nn.init.constant_(norm.weight, 0.0)
    model = nn.ModuleDict({"gate": gate, "norm": norm, "prelu": nn.PReLU(), "scale": scale})
    initialize(model, he_normal, seed=0)
    kept = gate.bias, norm.weight, model["prelu"].weight, scale["logit"]
    assert [round(weight.item(), 4) for weight in kept] == [-2.0, 0.0, 0.25, 2.6592]


def test_memory_that_cannot_be_filled_is_an_error():
    model = nn.ModuleDict({"a": nn.Linear(3, 3)})
    model["a"].weight = nn.Parameter(torch.zeros(3, 3, dtype=torch.float8_e4m3fnuz))
    assert "to be drawn, got float8_e4m3fnuz" in str(untouched(model["a"], lambda: initialize(model, normal(), seed=0)))
    model["a"].weight = nn.Parameter(torch.ones(3).expand(3, 3))
    model["a"].bias = None
    error = untouched(model["a"], lambda: initialize(model, {"*": ones}, seed=0))
    assert "a.weight: tensor must not overlap itself, got shape (3, 3) and strides (0, 1)" in str(error)


def test_models_on_meta_get_memory_and_weights():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.BatchNorm1d(3))
        model.register_buffer("table", torch.arange(3.0))
    with pytest.raises(PlanError, match=r"0.weight and 5 more: on the meta device.*initialize\(..., device='cpu'\)"):
        initialize(model, he_normal, seed=0)
    with pytest.raises(PlanError, match="table: the values of this buffer on the meta device are lost"):
        initialize(model, he_normal, seed=0, device="cpu")
    with pytest.raises(ValueError, match="device must have memory, got 'meta'"):
        initialize(model, he_normal, seed=0, device="meta")
    model.table = torch.arange(3.0)
    with pytest.raises(PlanError, match=r"0.weight: the plan keeps values, but the meta device has no"):
        initialize(model, {"0.weight": keep}, seed=0, default=he_normal, device="cpu")
    assert all(parameter.is_meta for parameter in model.parameters())
    initialize(model, he_normal, seed=0, device="cpu")
    built = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.BatchNorm1d(3))
    built.register_buffer("table", torch.arange(3.0))
    initialize(built, he_normal, seed=0)
    assert bits(model) == bits(built)


def test_a_plan_writes_nothing():
    model = Model()
    before = bits(model)
    assert plan(model, orthogonal(), axes={"attention.bias_[kv]": "BIO"}) == plan(
        copy.deepcopy(model), orthogonal(), axes={"attention.bias_[kv]": "BIO"}
    )
    assert bits(model) == before


def test_only_selects_parameters():
    model = Model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    whole = Model()
    initialize(whole, he_normal, seed=0)
    made = initialize(model, he_normal, seed=0, only="conv.*")
    assert list(made.draw(0)) == ["conv.weight", "conv.bias"]
    assert made["lstm.bias_ih_l0"].notes == ("not selected by only",)
    for name, parameter in model.named_parameters():
        expected = whole.get_parameter(name) if name.startswith("conv") else before[name]
        assert torch.equal(parameter, expected), name
    initialize(model, {"conv.*": ones}, seed=0, only=re.compile("conv.bias"))  # rules may be for others too
    assert torch.equal(model.conv.weight, whole.conv.weight)
    assert model.conv.bias.eq(1).all()


def test_only_fills_the_parameters_that_a_checkpoint_lacked():
    model, whole = Model(), Model()
    initialize(whole, he_normal, seed=0)
    state = {name: tensor for name, tensor in whole.state_dict().items() if name.split(".")[0] not in ("lstm", "norm")}
    del state["head.weight"]  # as files do that hold a tied tensor once
    with torch.no_grad():
        model.norm.running_mean.fill_(3)
    missing = model.load_state_dict(state, strict=False).missing_keys
    assert "norm.running_mean" in missing
    made = initialize(model, he_normal, seed=0, only=missing)
    assert not made["conv.weight"].pieces
    assert bits(model) == bits(whole)
    assert initialize(model, he_normal, seed=1, only=[]).draw(1) == {}
    assert bits(model) == bits(whole)


def test_fresh_memory_beside_loaded_tensors_is_filled():
    """Loaded tensors do not show that other memory is fresh."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(3, 3), Model())
    emptied(model)
    missing = model.load_state_dict(
        nn.Sequential(nn.Linear(3, 3), nn.Identity()).state_dict(), strict=False
    ).missing_keys
    with pytest.raises(PlanError, match=r"1.gamma: .*the value that the constructor set is unknown. Build"):
        initialize(model, he_normal, seed=0, only=missing)
    made = initialize(model, {"*.gamma": constant(0.25)}, seed=0, default=he_normal, only=missing)
    assert made["0.weight"].notes == ("not selected by only",)


def test_wrong_names_in_only_are_errors():
    model = Model()
    with pytest.raises(ValueError, match=r"only must match a parameter, got 'convv\.\*'; nearest names: conv"):
        initialize(model, he_normal, seed=0, only="convv.*")
    with pytest.raises(
        ValueError, match=r"only must name parameters or buffers, got 'conv.wieght'; nearest names: conv.weight"
    ):
        initialize(model, he_normal, seed=0, only=["conv.wieght"])
    with pytest.raises(ValueError, match=r"got the pattern 'conv\.\*' in a list\. Pass only='conv\.\*'"):
        initialize(model, he_normal, seed=0, only=["conv.*"])
    for name in ("conv", ["conv"]):
        with pytest.raises(ValueError, match=r"got 'conv', which names a module\. Pass only=\"conv\.\*\" for the par"):
            initialize(model, he_normal, seed=0, only=name)
    with pytest.raises(TypeError, match="only must be a pattern or names"):
        initialize(model, he_normal, seed=0, only=[3])


def test_a_prefix_is_part_of_the_names():
    model, whole = Model(), nn.ModuleDict({"a": nn.ModuleDict({"b": Model()})})
    made = initialize(whole, {"a.b.conv.*": ones}, seed=0, default=he_normal)
    for prefix in ("a.b", "a.b."):
        assert initialize(model, {"a.b.conv.*": ones}, seed=0, default=he_normal, prefix=prefix) == made
        assert bits(model) == bits(whole["a"]["b"])
    assert plan(model, {"a.b.conv.*": ones}, default=he_normal, prefix="a.b") == made


def test_a_bar_shows_the_bytes_that_are_filled(monkeypatch):
    seen = []

    class Bar:
        task_ids = (0,)

        def update(self, task, completed, total):
            seen.append((completed, total))

        def stop(self):
            seen.append("stopped")

    monkeypatch.setattr(_progress.time, "monotonic", iter(range(0, 10_000, 3)).__next__)
    monkeypatch.setattr(_progress, "_bar", lambda description: Bar())
    initialize(nn.Linear(4, 3), he_normal, seed=0)
    assert seen[-2:] == [(60, 60), "stopped"]


def test_a_quick_call_shows_no_bar(monkeypatch):
    monkeypatch.setattr(_progress.time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(_progress, "_bar", lambda description: pytest.fail("there is a bar"))
    initialize(nn.Linear(4, 3), he_normal, seed=0)


def test_one_initializer_fills_all_parameters():
    model = Model()
    made = initialize(model, normal(std=0.02), seed=0)
    assert made["lstm.weight_hh_l0"].filling == normal(std=0.02)
    with pytest.raises(TypeError, match="default"):
        initialize(model, normal(std=0.02), seed=0, default=he_normal)


def test_a_parameter_of_mkldnn_needs_a_rule_and_stops_no_other_module():
    model = nn.Sequential(nn.Linear(4, 4))
    model.packed = nn.Parameter(torch.randn(4, 4).to_mkldnn())
    with pytest.raises(PlanError, match=r"packed: .* a tensor of layout torch._mkldnn cannot be filled"):
        initialize(model, he_normal, seed=0)
    assert initialize(model, {"packed": keep}, seed=0, default=he_normal)["packed"].kept
    assert initialize(model, he_normal, seed=0, only="0.*")["packed"].kept


@pytest.mark.parametrize(("only", "kind"), [(0, "int"), (nn.Linear(2, 2), "Linear"), ([torch.ones(2)], "Tensor")])
def test_only_must_hold_names(only, kind):
    with pytest.raises(TypeError, match=f"only must be a pattern or names of parameters, got {kind}$"):
        initialize(nn.Linear(2, 2), he_normal, 0, only=only)


def test_a_model_of_another_framework_is_an_error_that_names_its_adapter():
    model = type("Sequential", (), {"__module__": "keras.src.models.sequential"})()
    with pytest.raises(TypeError, match=r"got Sequential of keras\. Use initlib\.adapters\.keras$"):
        initialize(model, he_normal, 0)


def test_a_model_in_the_place_of_rules_is_an_error_of_this_library():
    model = nn.Sequential(nn.Linear(3, 3))
    for rules in (model, [model], {"*": model}):
        with pytest.raises(TypeError, match=r"got the model or layer Sequential\. Pass the model only as the first"):
            initialize(model, rules, seed=0)


def test_values_of_a_parameter_that_needs_a_gradient_are_read():
    weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))
    assert values(weight) == values(np.arange(6.0, dtype="float32").reshape(2, 3))
    for unreadable in (weight.to("meta"), weight.to(torch.bfloat16)):
        with pytest.raises(TypeError, match=r"values must be an array .* pass tensor\.float\(\)\.cpu\(\)"):
            values(unreadable)
