"""Calls in PyTorch: loaded tensors that they keep, overrides, and traces."""

import threading
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.init as torch_init
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

import initlib
import initlib.adapters.torch as init
from initlib.adapters.torch.drawing import memory

FILLS = {
    "normal_": (),
    "kaiming_uniform_": (),
    "he_normal_": (),
    "orthogonal_": (),
    "eye_": (),
    "constant_": (2.0,),
    "ones_": (),
    "zeros_": (),
}


def nines(*shape, **options):
    return torch.full(shape, 9.0, **options)


@pytest.fixture
def loading(monkeypatch):
    """Replace a function as transformers does while it initializes the weights that a checkpoint lacked."""

    def guarded(tensor, *args, **kwargs):
        return tensor

    guarded.__module__ = "transformers.initialization"
    monkeypatch.setattr(torch_init, "normal_", guarded)


@pytest.mark.parametrize("name", FILLS)
def test_tensors_of_a_checkpoint_are_kept_while_the_rest_is_initialized(name, loading):
    loaded, missing = nines(4, 4), nines(4, 4)
    loaded._is_hf_initialized = True
    assert getattr(init, name)(loaded, *FILLS[name]) is loaded
    assert (loaded == 9).all()
    getattr(init, name)(missing, *FILLS[name])
    assert (missing != 9).all()


@pytest.mark.parametrize("name", FILLS)
def test_loaded_tensors_are_filled_afterwards(name):
    tensor = nines(4, 4)
    tensor._is_hf_initialized = True
    getattr(init, name)(tensor, *FILLS[name])
    assert (tensor != 9).all()


class Seen(TorchFunctionMode):
    """A mode that records calls, and replaces the functions of a table."""

    def __init__(self, table=()):
        super().__init__()
        self.table = dict(table)
        self.calls = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.calls.append((function, args, kwargs or {}))
        if function in self.table:
            return self.table[function](*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_", "kaiming_uniform_", "orthogonal_", "eye_"])
def test_modes_see_the_function_of_pytorch(name):
    tensor = nines(4, 4)
    with Seen() as mode:
        getattr(init, name)(tensor)
    function, args, kwargs = mode.calls[0]
    assert function == getattr(torch_init, name)
    assert (function.__module__, function.__name__) == ("torch.nn.init", name)
    assert args == ()
    assert next(iter(kwargs)) == "tensor"
    assert not {"axes", "seed", "name"} & set(kwargs)


def test_modes_see_the_arguments_that_pytorch_passes():
    seen = []
    for module in (init, torch_init):
        tensor = nines(4, 4)
        with Seen() as mode:
            module.normal_(tensor, 1.0)
        seen.append([(name, value) for name, value in mode.calls[0][2].items() if name != "tensor"])
    assert seen[0] == seen[1] == [("mean", 1.0), ("std", 1.0), ("generator", None)]


def test_a_table_of_pytorch_functions_overrides_the_functions_here():
    with Seen({torch_init.normal_: lambda tensor, mean, std, generator: tensor.fill_(3)}):
        assert (init.normal_(nines(2, 2)) == 3).all()


def test_a_mode_that_skips_pytorch_functions_skips_the_functions_here():
    class Empty(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if getattr(function, "__module__", None) == "torch.nn.init":
                return kwargs["tensor"] if "tensor" in kwargs else args[0]
            return function(*args, **(kwargs or {}))

    with Empty():
        assert (init.kaiming_normal_(nines(2, 2)) == 9).all()


def test_a_mode_that_only_observes_changes_no_bit():
    torch.manual_seed(0)
    expected = init.normal_(nines(4, 4))
    torch.manual_seed(0)
    with Seen():
        assert torch.equal(init.normal_(nines(4, 4)), expected)


@pytest.mark.parametrize(
    ("name", "options"), [("normal_", {"seed": 0}), ("he_normal_", {}), ("normal_", {"axes": "IO"})]
)
def test_modes_see_the_function_here_where_pytorch_has_no_such_function_or_argument(name, options):
    tensor = nines(4, 4)
    with Seen() as mode:
        getattr(init, name)(tensor, **options)
    function, args, kwargs = mode.calls[0]
    assert function is getattr(init, name)
    assert (len(args), kwargs) == (1, options)


class Noisy(torch.nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, x):
        return x + init.normal_(torch.empty(8), **self.options)


@pytest.mark.parametrize("seed", [None, np.random.default_rng(0)], ids=["None", "Generator"])
@pytest.mark.parametrize("before_dispatch", [False, True])
def test_a_trace_refuses_draws_that_differ_between_calls(seed, before_dispatch):
    with pytest.raises(RuntimeError, match=r"each call would repeat the same weights\. Pass a seed"):
        make_fx(Noisy(seed=seed), pre_dispatch=before_dispatch)(torch.zeros(8))


@pytest.mark.parametrize("seed", [0, np.int64(0), initlib.Key(0)], ids=repr)
def test_a_trace_keeps_the_weights_of_a_seed(seed):
    traced = make_fx(Noisy(seed=seed))(torch.zeros(8))
    assert torch.equal(traced(torch.zeros(8)), init.normal_(torch.empty(8), seed=0))


@pytest.mark.parametrize("options", [{}, {"seed": 0}])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_jit_traces_refuse_draws(options):
    with pytest.raises(RuntimeError, match=r"must not be filled in torch\.jit\.trace"):
        torch.jit.trace(Noisy(**options), torch.zeros(8))


@pytest.mark.parametrize("strict", [False, True])
def test_exported_programs_refuse_draws(strict):
    with pytest.raises(
        (RuntimeError, torch._dynamo.exc.Unsupported),
        match=r"Fill the tensor before the function is|initlib draws outside",
    ):
        torch.export.export(Noisy(), (torch.zeros(8),), strict=strict)


@pytest.mark.parametrize("options", [{}, {"seed": 0}])
def test_a_compiled_graph_breaks_at_a_draw(options):
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(Noisy(**options), backend=count)
    one, other = compiled(torch.zeros(8)), compiled(torch.zeros(8))
    assert torch.equal(one, other) == bool(options)  # each call draws
    assert len(graphs) == 2


def scripted(x):
    return init.normal_(x)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_scripts_refuse_draws():
    with pytest.raises(torch.jit.frontend.NotSupportedError):
        torch.jit.script(scripted)


def test_captured_cuda_graphs_refuse_draws(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    on_a_card = SimpleNamespace(is_meta=False, numel=lambda: 8, is_cuda=True)
    with pytest.raises(RuntimeError, match=r"while torch\.cuda\.graph captures"):
        memory.has_no_storage(on_a_card)
    assert not memory.has_no_storage(torch.empty(8))


def test_a_symbolic_trace_calls_the_function_of_pytorch():
    graph = torch.fx.symbolic_trace(scripted).graph
    assert [node.target for node in graph.nodes if node.op == "call_function"] == [torch_init.normal_]


def test_threads_do_not_share_the_numbers_of_the_generator():
    def fill(at):
        for _ in range(50):
            drawn[at].append(init.normal_(torch.empty(2)).tolist()[0])

    drawn = [[] for _ in range(4)]
    threads = [threading.Thread(target=fill, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({value for values in drawn for value in values}) == 200


def test_a_thread_can_draw_after_a_first_draw_in_inference_mode():
    with torch.inference_mode():
        worked = []

        def fill():
            with torch.inference_mode():
                init.normal_(torch.empty(2))
            worked.append(init.normal_(torch.empty(2)))

        thread = threading.Thread(target=fill)
        thread.start()
        thread.join()
    assert len(worked) == 1


def test_weights_that_overflow_their_dtype_are_an_error():
    tensor = init.normal_(torch.empty(1000, dtype=torch.float16), 0, 1e4, seed=0)
    assert torch.isfinite(tensor).all()
    with pytest.raises(ValueError, match="overflow float16"):
        init.normal_(tensor, 0, 1.1e4)


@pytest.fixture
def in_place_of_pytorchs(monkeypatch):
    """Replace the functions of `torch.nn.init`, as users do for code that they cannot change."""
    for name in [name for name in init.__all__ if hasattr(torch_init, name)]:
        monkeypatch.setattr(torch_init, name, getattr(init, name))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float32])
@pytest.mark.parametrize(
    ("name", "shape", "arguments"),
    [
        ("eye_", (3, 3), ()),
        ("dirac_", (4, 2, 3), (2,)),
        ("constant_", (3,), (1,)),
        ("ones_", (3,), ()),
        ("zeros_", (3,), ()),
    ],
)
def test_replacements_of_pytorch_functions_do_not_call_themselves(name, shape, arguments, dtype, in_place_of_pytorchs):
    for around in (nullcontext(), Seen(), init.named(torch.nn.Linear(2, 2), seed=0)):
        tensor = torch.full(shape, 9.0).to(dtype)
        with around:
            assert getattr(torch_init, name)(tensor, *arguments) is tensor
        assert set(tensor.unique().tolist()) <= {0, 1}


def test_modules_draw_by_replacements_of_pytorch_functions(in_place_of_pytorchs):
    model = torch.nn.ModuleList([torch.nn.Linear(4, 3), torch.nn.Conv1d(3, 3, 3), torch.nn.Embedding(5, 4)])
    with init.named(model, seed=0):
        for part in model:
            part.reset_parameters()
    assert torch_init.calculate_gain("gelu") == initlib.gain("gelu")
    expected = init.uniform_(torch.empty(3, 4), -0.5, 0.5, seed=0, name="0.weight")
    assert torch.allclose(model[0].weight, expected)
