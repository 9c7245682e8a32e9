"""A model's own initialization code, with draws by the names of its parameters."""

import math
import threading
import warnings

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import initlib.adapters.torch as init
from initlib import Key, normal, truncated_normal, uniform
from initlib.adapters.torch import named


class Odd(nn.Module):
    """A module that draws into temporary tensors."""

    def __init__(self):
        super().__init__()
        self.steps = nn.Parameter(torch.empty(50))
        self.shift = nn.Parameter(torch.empty(50))

    def reset_parameters(self):
        steps = torch.exp(torch.rand(50) * math.log(100) - math.log(1000))
        with torch.no_grad():
            self.steps.copy_(steps)
            self.shift.copy_(torch.randn_like(self.shift) + torch.randint(0, 3, (50,)))


def model():
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "linear": nn.Linear(6, 4),
            "conv": nn.Conv2d(4, 8, 3, groups=2),
            "lstm": nn.LSTM(4, 5, num_layers=2),
            "attention": nn.MultiheadAttention(8, 2, add_bias_kv=True),
            "table": nn.Embedding(11, 4, padding_idx=3),
            "norm": nn.BatchNorm1d(4),
            "odd": Odd(),
            "more": nn.ModuleList([Odd(), nn.Bilinear(3, 4, 5)]),
        }
    )


def reset(modules):
    for module in modules:
        for part in module.modules():
            for name in ("reset_parameters", "_reset_parameters"):
                getattr(part, name, lambda: None)()


def state(module):
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def equal(one, other):
    return [name for name in one if not torch.equal(one[name], other[name])] == []


def test_the_name_decides_the_values_of_a_parameter():
    first, second = model(), model()
    with named(first, seed=0):
        reset([first])
    with named(second, seed=0):
        torch.rand(5, generator=torch.Generator())  # a draw without the mode
        reset(list(second.values())[::-1])
    assert equal(state(first), state(second))
    with named(second, seed=1):
        reset([second])
    drawn = [name for name, tensor in state(first).items() if tensor.std() > 0]
    assert len(drawn) > 20
    assert not any(torch.equal(state(second)[name], state(first)[name]) for name in drawn)


def test_the_bits_are_those_of_initialize_by_the_same_distributions():
    module = model()
    with named(module, seed=3):
        reset([module])
        nn.init.xavier_uniform_(module["linear"].weight)
        nn.init.kaiming_normal_(module["conv"].weight, nonlinearity="relu", mode="fan_out")
        nn.init.trunc_normal_(module["odd"].shift, std=0.5)
    drawn = state(module)
    bound = math.sqrt(6 / 10)
    rules = {
        "linear.weight": uniform(-bound, bound),
        "linear.bias": uniform(-(6**-0.5), 6**-0.5),
        "conv.weight": normal(std=math.sqrt(2 / (8 * 9))),
        "lstm.weight_hh_l1": uniform(-(5**-0.5), 5**-0.5),
        "table.weight": normal(),
        "odd.shift": truncated_normal(0, 0.5, -2, 2),
    }
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(9.0)
    init.initialize(module, rules, seed=3, only=rules)
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, drawn[name]) if name in rules else parameter.eq(9).all(), name
    assert drawn["table.weight"][3].eq(0).all()
    assert drawn["norm.weight"].eq(1).all()
    assert drawn["odd.steps"].min() >= 1e-3 * (1 - 1e-6)


def test_truncated_draws_keep_their_bounds():
    weight = nn.Linear(200, 100)
    with named(weight, seed=0):
        nn.init.trunc_normal_(weight.weight, a=-0.5, b=1.0)
        narrow = weight.weight.detach().clone()
        nn.init.trunc_normal_(weight.weight, a=1.5, b=3.0)
    assert -0.5 <= narrow.min() < -0.49
    assert 0.99 < narrow.max() <= 1.0
    assert weight.weight.min() >= 1.5
    assert weight.weight.max() <= 3.0
    with named(weight, seed=0):
        nn.init.trunc_normal_(weight.weight, a=-0.5, b=1.0)
    assert torch.equal(weight.weight, narrow)


@pytest.mark.parametrize("window", [(0.0, 1.0, -2.0, 2.0), (0.0, 1.0, 1.5, 3.0), (0.3, 0.5, -9.0, -0.5)])
@pytest.mark.filterwarnings("ignore:mean is more than 2 std from")
def test_truncated_draws_are_those_of_the_core(window):
    """PyTorch rejects draws outside the bounds; here no draw is outside."""
    layer, expected = nn.Linear(60, 50), torch.empty(50, 60)
    init.fill_(expected, truncated_normal(*window), seed=0, name="weight")
    for around in (warnings.catch_warnings(), named(nn.Linear(2, 2), seed=1), torch.device("cpu")):
        with named(layer, seed=0), around:
            nn.init.trunc_normal_(layer.weight, *window)
        assert torch.equal(layer.weight, expected)
    nn.init.trunc_normal_(layer.weight, *window)
    assert layer.weight.std().item() == pytest.approx(expected.std().item(), rel=0.1)


def test_truncated_draws_warn_and_fail_as_those_of_pytorch():
    layer, generator = nn.Linear(6, 4), torch.Generator()
    own = nn.init.trunc_normal_(torch.empty(4, 6), generator=generator.manual_seed(0))
    with named(layer, seed=0):
        with pytest.warns(UserWarning, match="mean is more than 2 std from"):
            nn.init.trunc_normal_(layer.weight, 5.0, 1.0, -2.0, 2.0)
        assert layer.weight.abs().max() <= 2
        with pytest.raises(ZeroDivisionError):
            nn.init.trunc_normal_(layer.weight, std=0.0)
        assert nn.init.trunc_normal_(layer.weight, generator=generator.manual_seed(0)) is layer.weight
        assert torch.equal(layer.weight, own)
        assert nn.init.trunc_normal_(torch.empty(3, device="meta")).is_meta


def test_a_truncated_draw_is_one_call_for_modes():
    # PyTorch's own function makes a call for each of its steps, which takes longer than the draw of a small weight.
    calls = []

    class Recorder(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            calls.append(func)
            return func(*args, **(kwargs or {}))

    layer = nn.Linear(6, 4)
    with named(layer, seed=0), Recorder():
        nn.init.trunc_normal_(layer.weight)
        assert len(calls) == 1
        assert not layer.weight.is_meta


def test_a_uniform_draw_has_no_weight_at_its_end():
    """Code that makes truncated normals by the inverse error function needs that."""
    layer = nn.Linear(2**11, 2**13, bias=False)
    with named(layer, seed=0), torch.no_grad():
        layer.weight.uniform_(-1, 1)
    assert layer.weight.abs().max() < 1


def test_slices_are_boxes_of_the_weight():
    module = nn.Linear(6, 8)
    init.initialize(module, normal(), seed=0)
    whole = state(module)["weight"]
    with named(module, seed=0), torch.no_grad():
        for draw in (
            lambda: module.weight[2:5].normal_(),
            lambda: module.weight.data[:, 1].normal_(),
            lambda: nn.init.normal_(module.weight.detach().view(2, 4, 6)[1]),
            lambda: module.weight.t()[::2, 3:].normal_(),
            lambda: module.weight[1:7][2:5, ::2].normal_(),
        ):
            module.weight.fill_(9.0)
            draw()
            drawn = module.weight != 9.0
            assert 0 < drawn.sum() < drawn.numel()
            assert torch.equal(module.weight[drawn], whole[drawn])
        before = module.weight.clone()
        with pytest.raises(RuntimeError, match=r"a part of weight must fill a slice of each axis"):
            module.weight.view(-1)[3:9].normal_()
        assert torch.equal(module.weight, before)


@pytest.mark.parametrize("held", [torch.float32, torch.bfloat16, torch.float16, torch.complex64])
@pytest.mark.parametrize("viewed", [torch.float32, torch.bfloat16, torch.float16])
def test_a_view_of_another_float_dtype_is_an_error_that_changes_nothing(held, viewed):
    if held is viewed:
        return
    module = nn.Linear(8, 6, bias=False, dtype=held)
    before = state(module)
    for view in (module.weight.data.view(viewed), module.weight.data[2:4].view(viewed)):
        with (
            pytest.raises(
                RuntimeError, match=rf"weight must fill a tensor of dtype {held}, got a view of dtype {viewed}"
            ),
            named(module, seed=0),
        ):
            view.normal_()
    assert equal(before, state(module))


def test_the_view_of_another_dtype_is_found_in_shared_memory():
    memory = torch.zeros(64)
    module = nn.ParameterDict({"first": memory[:32].view(4, 8), "second": memory[32:].view(4, 8)})
    with pytest.raises(RuntimeError, match=r"a draw into second must fill a tensor"), named(module, seed=0):
        module["second"].data.view(torch.float16).normal_()
    assert not memory.any()


def test_draws_by_pytorchs_generator_are_reproducible():
    module = nn.Linear(30, 40)
    draws = {
        "exponential_": lambda t: t.exponential_(),
        "bernoulli_": lambda t: t.bernoulli_(0.5),
        "sparse_": lambda t: nn.init.sparse_(t, 0.5),
        "orthogonal_": nn.init.orthogonal_,
    }
    for name, draw in draws.items():
        results = []
        for _ in range(2):
            with named(module, seed=0), torch.no_grad():
                draw(module.weight)
            results.append(module.weight.detach().clone())
        assert torch.equal(*results), name
    assert torch.allclose(module.weight.T @ module.weight, torch.eye(30), atol=1e-5)


def test_functions_of_this_adapter_draw_by_name_unless_a_stream_is_given():
    module = nn.ModuleDict({"a": nn.Linear(4, 8)})
    weight, empty = module["a"].weight, torch.empty(8, 4)
    with named(module, seed=0), named(nn.Linear(2, 2), seed=1):
        for function in (
            init.he_normal_,
            init.normal_,
            init.xavier_uniform_,
            lambda t, **how: init.fill_(t, normal(), **how),
        ):
            function(weight)
            assert torch.equal(weight, function(empty, seed=0, name="a.weight"))
        nn.init.normal_(weight)
        assert torch.equal(weight, init.normal_(empty, seed=0, name="a.weight"))
        init.eye_(weight)
        assert weight.sum() == 4
        init.he_normal_(weight, seed=5)
        assert torch.equal(weight, init.he_normal_(empty, seed=5))
        drawn = init.he_normal_(weight, torch.Generator().manual_seed(3)).detach().clone()
    assert torch.equal(drawn, init.he_normal_(empty, torch.Generator().manual_seed(3)))


def test_functions_of_this_adapter_fill_the_rows_of_a_rank():
    rows = nn.ModuleDict({"up": nn.Linear(6, 4, bias=False)})
    with named(rows, seed=0):
        init.he_normal_(rows["up"].weight, shape=(8, 6), index=slice(4, 8))
    assert torch.equal(rows["up"].weight, init.he_normal_(torch.empty(8, 6), seed=0, name="up.weight")[4:])


def test_a_draw_that_cannot_be_attributed_gives_a_warning():
    module = nn.Linear(3, 3)
    with named(module, seed=0), pytest.warns(UserWarning, match="Could not attribute this rand call"):
        first = torch.rand(4)
    with named(module, seed=0), pytest.warns(UserWarning, match="Could not attribute this rand call"):
        assert torch.equal(torch.rand(4), first)


def test_rename_prefix_and_seeds_are_those_of_initialize():
    module, inner = model(), model()["lstm"]
    with named(module, Key(5)):
        reset([module])
    for more in ({"prefix": "lstm"}, {"prefix": "lstm."}, {"rename": lambda name: f"lstm.{name}"}):
        with named(inner, seed=5, **more):
            inner.reset_parameters()
        assert equal(state(inner), state(module["lstm"]))
    torch.manual_seed(1)
    with named(inner):
        inner.reset_parameters()
    first = state(inner)
    torch.manual_seed(1)
    with named(inner):
        inner.reset_parameters()
    assert equal(first, state(inner))


def test_a_tied_weight_has_the_stream_of_its_first_name():
    module = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    module["b"].weight = module["a"].weight
    with named(module, seed=0):
        module["b"].reset_parameters()
    alone = nn.ModuleDict({"a": nn.Linear(3, 3)})
    with named(alone, seed=0):
        alone["a"].reset_parameters()
    assert torch.equal(module["a"].weight, alone["a"].weight)


def test_memory_that_is_allocated_inside_is_found():
    with init.skeleton():
        late = model()
    early = model()
    with named(late, seed=0):
        late["conv"].reset_parameters()
        assert late["conv"].weight.is_meta
        late.to_empty(device="cpu")
        reset([late])
    with named(early, seed=0):
        reset([early])
    drawn = state(early)
    assert [name for name in drawn if not torch.equal(drawn[name], state(late)[name])] == []


def test_memory_that_a_parameter_had_before_is_a_temporary_tensor():
    module = nn.ModuleDict({"a": nn.Linear(6, 8)})
    part, expected = module["a"], init.normal_(torch.empty(8, 6), seed=0, name="a.weight")
    with named(module, seed=0), torch.no_grad():
        old = part.weight.data
        assert torch.equal(old.normal_(), expected)
        part.weight.data = torch.zeros(8, 6)
        assert not torch.equal(old.normal_(), expected)
        assert not torch.equal(old[2:4].normal_(), expected[2:4])
        assert not part.weight.any()
        assert torch.equal(part.weight.data[2:4].normal_(), expected[2:4])
        assert torch.equal(part.weight.data.normal_(), expected)


def test_parameters_that_are_registered_inside_are_found():
    module = nn.ModuleDict({"a": nn.Linear(6, 8), "parts": nn.Sequential(nn.Linear(2, 2), nn.Linear(6, 8))})
    part = module["a"]

    def drawn(name):
        return init.normal_(torch.empty(8, 6), seed=0, name=name)

    with named(module, seed=0), torch.no_grad():
        torch.empty(3).normal_()
        part.weight = nn.Parameter(torch.empty(8, 6))
        assert torch.equal(part.weight.normal_(), drawn("a.weight"))
        module["b"] = nn.Linear(6, 8)
        torch.empty(3).normal_()
        assert torch.equal(module["b"].weight.normal_(), drawn("b.weight"))
        del module["parts"][0]
        torch.empty(3).normal_()
        assert torch.equal(module["parts"][0].weight.data.normal_(), drawn("parts.0.weight"))

    class Own(nn.Linear):
        def forward(self):
            return self.weight.normal_()

    module = nn.ModuleDict({"own": Own(6, 8)})
    with named(module, seed=0), torch.no_grad():
        given = torch.func.functional_call(module["own"], {"weight": torch.empty(8, 6)}, ())
    assert torch.equal(given, drawn("own.weight"))


@pytest.mark.parametrize("draw", [nn.init.normal_, nn.init.trunc_normal_, lambda weight: weight.data.normal_()])
@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.half(),
        lambda weight: weight.double(),
        lambda weight: weight.new_zeros(9, 5),
        lambda weight: weight.new_zeros(2, 2),
        lambda weight: weight[:2],
    ],
)
def test_parameters_that_get_another_shape_or_dtype_inside_are_drawn_as_such(draw, change):
    layer = nn.Linear(5, 7)
    with named(layer, 0):
        changed = change(layer.weight.data)
        memory = changed.new_zeros(200)
        layer.weight.data = memory[: changed.numel()].view(changed.shape)
        draw(layer.weight)
    again = nn.Linear(5, 7)
    again.weight.data = torch.zeros_like(layer.weight)
    with named(again, 0):
        draw(again.weight)
    assert torch.equal(layer.weight, again.weight)
    assert not memory[layer.weight.numel() :].any()


def test_a_draw_after_a_parameter_was_cut_has_the_smaller_shape():
    layer = nn.Linear(5, 7)
    with named(layer, 0):
        layer.weight.data = layer.weight.data[:2]
        layer.weight.data[:1].normal_()
    again = nn.Linear(5, 2)
    with named(again, 0):
        again.weight.data[:1].normal_()
    assert torch.equal(layer.weight[:1], again.weight[:1])


def test_an_error_restores_the_functions_of_pytorch():
    module, other = nn.Linear(3, 3), nn.Linear(3, 3)
    functions = {name: getattr(nn.init, name) for name in dir(nn.init)}

    def fails():
        with named(module, seed=0):
            module.reset_parameters()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fails()
    assert functions == {name: getattr(nn.init, name) for name in dir(nn.init)}
    torch.manual_seed(0)
    module.reset_parameters()
    first = state(module)
    torch.manual_seed(0)
    with named(other, seed=0):  # another thread draws as before
        thread = threading.Thread(target=module.reset_parameters)
        thread.start()
        thread.join()
    assert equal(first, state(module))


def test_the_mode_whose_model_has_the_parameter_draws():
    outer, inner = nn.ModuleDict({"a": nn.Linear(3, 3)}), nn.Linear(3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with named(outer, seed=0), named(inner, seed=0):
            outer["a"].reset_parameters()
            inner.reset_parameters()
    alone = nn.ModuleDict({"a": nn.Linear(3, 3)})
    with named(alone, seed=0):
        alone["a"].reset_parameters()
    assert equal(state(alone), state(outer))
    with named(alone["a"], seed=0):
        alone["a"].reset_parameters()
    assert equal(state(alone["a"]), state(inner))


def test_a_class_in_place_of_a_model_is_an_error():
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module, got type"), init.named(nn.Linear, seed=0):
        pass


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.randn(3),
        lambda: torch.empty(3).normal_(),
        lambda: torch.empty(3).exponential_(),
        lambda: nn.init.normal_(torch.empty(3)),
        lambda: nn.init.trunc_normal_(torch.empty(3)),
        lambda: init.he_normal_(torch.empty(3, 3)),
    ],
)
def test_the_warning_of_an_unattributed_draw_points_at_the_line_of_the_user(draw):
    with named(nn.Linear(3, 3), seed=0), pytest.warns(UserWarning, match="Could not attribute") as caught:
        draw()
    assert {each.filename for each in caught} == {__file__}
