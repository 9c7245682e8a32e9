"""Memory of tensors: views, devices, transforms, and tensors that cannot be filled."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parametrizations, prune

import initlib
import initlib.adapters.torch as init
from initlib import Key
from initlib.adapters.torch.drawing import memory
from initlib.adapters.torch.drawing.devices import engine_of
from initlib.adapters.torch.drawing.engine import TorchEngine
from initlib.stream.boxes import box_shape, normalize_index
from initlib.stream.engine import DrawRequest

DTYPES = ["float32", "float64", "float16", "bfloat16"]
LAWS = [
    initlib.he_normal,
    initlib.glorot_uniform,
    initlib.normal(0.25, 2.0),
    initlib.truncated_normal(std=0.3),
    initlib.uniform(-3.0, 5.0),
]


def nines(*shape, **options):
    return torch.full(shape, 9.0, **options)


def expected(*shape):
    return init.he_normal_(nines(*shape), seed=0)


VIEWS = {
    "whole": lambda: nines(6, 8),
    "transposed": lambda: nines(8, 6).T,
    "slice": lambda: nines(9, 20)[1:7, 2:18:2],
    "column": lambda: nines(6, 8, 3)[..., 1],
    "leaf": lambda: nines(6, 8, requires_grad=True),
    "parameter": lambda: torch.nn.Parameter(nines(6, 8)),
    "data": lambda: torch.nn.Parameter(nines(6, 8)).data,
    "view of a leaf": lambda: nines(6, 8, requires_grad=True).view(6, 8),
    "unaligned storage": lambda: nines(49)[1:].view(6, 8),
    "permuted": lambda: nines(8, 1, 6).permute(2, 0, 1)[..., 0],
    "negated": lambda: torch.complex(nines(6, 8), nines(6, 8)).conj().imag,
}


@pytest.mark.parametrize("view", VIEWS)
def test_every_kind_of_view_is_filled_in_place(view):
    tensor = VIEWS[view]()
    before = tensor._version
    with torch.enable_grad():
        assert init.he_normal_(tensor, seed=0) is tensor
    assert torch.equal(tensor.detach(), expected(6, 8))
    assert tensor._version > before


def test_only_the_view_is_written():
    base = nines(9, 20)
    init.he_normal_(base[1:7, 2:18:2], seed=0)
    assert int((base == 9).sum()) == 9 * 20 - 6 * 8


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_is_filled_without_a_copy(dtype, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "copy_", None)
    tensor = init.he_normal_(nines(6, 8, 3, 3, dtype=getattr(torch, dtype)), seed=0)
    assert (tensor != 9).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_channels_last_tensors_get_the_same_weights(dtype):
    kernel = nines(6, 8, 3, 3, dtype=getattr(torch, dtype))
    last = init.he_normal_(kernel.clone(memory_format=torch.channels_last), seed=0)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, init.he_normal_(kernel, seed=0))


def test_autograd_notices_a_draw():
    weight = nines(3, 3, requires_grad=True)
    loss = (weight * weight).sum()
    init.he_normal_(weight, seed=0)
    assert weight.is_leaf
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_tensors_of_inference_mode_are_filled_only_in_that_mode():
    with torch.inference_mode():
        tensor = nines(6, 8)
        assert torch.equal(init.he_normal_(tensor, seed=0), expected(6, 8))
        assert torch.equal(init.he_normal_(torch.nn.Linear(8, 6).weight, seed=0), expected(6, 8))
    for module in (init, torch.nn.init):
        with pytest.raises(RuntimeError, match=r"inference.?mode|InferenceMode"):
            module.normal_(tensor)


def test_the_stored_tensor_of_a_computed_weight_can_be_filled():
    layer = parametrizations.weight_norm(torch.nn.Linear(8, 6))
    original = layer.parametrizations.weight.original1
    assert torch.equal(init.he_normal_(original, seed=0).detach(), expected(6, 8))
    layer.weight = init.orthogonal_(torch.empty(6, 8), seed=0)
    assert torch.allclose(layer.weight, init.orthogonal_(nines(6, 8), seed=0), atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*(weight_norm|spectral_norm).*deprecated:FutureWarning")
@pytest.mark.parametrize(
    "compute",
    [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        parametrizations.orthogonal,
        torch.nn.utils.weight_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    ],
)
def test_a_draw_into_a_computed_weight_warns_that_it_is_lost(compute):
    layer = compute(torch.nn.Linear(8, 6))
    with pytest.warns(UserWarning, match=r"tensor of shape \(6, 8\) is computed") as seen:
        init.he_normal_(layer.weight, seed=0)
    assert seen[0].filename == __file__


def test_tensors_that_autograd_follows_can_be_filled_in_place():
    """Parameters, their views and copies are no computed weights."""
    parameter = torch.nn.Parameter(nines(6, 8))
    for tensor in (parameter, parameter[1:], parameter.detach(), parameter.data.clone(), parameter.T):
        assert init.normal_(tensor) is tensor


@pytest.mark.parametrize("name", ["he_normal_", "xavier_uniform_", "kaiming_normal_", "orthogonal_"])
def test_a_second_parameter_under_one_seed_without_a_name_gives_a_warning(name):
    fill = getattr(init, name)
    first, second, other = (torch.nn.Parameter(nines(*shape)) for shape in ((7, 8), (7, 8), (7, 9)))
    fill(first, seed=0)
    fill(first, seed=0)
    fill(other, seed=0)
    fill(second, seed=1)
    fill(second, seed=0, name="second")
    fill(second.data, seed=0)
    fill(second, seed=Key(0))
    with pytest.warns(UserWarning, match=r"two parameters of shape \(7, 8\) get the same weights from seed=0") as seen:
        fill(second, seed=0)
    assert seen[0].filename == __file__


def test_deleted_parameters_give_no_warning():
    for _ in range(3):
        init.he_normal_(torch.nn.Parameter(nines(5, 9)), seed=0)


def test_slices_of_one_weight_and_constants_may_share_a_seed():
    rows = [torch.nn.Parameter(nines(3, 8)) for _ in range(2)]
    for start, row in enumerate(rows):
        init.he_normal_(row, seed=0, shape=(6, 8), index=slice(3 * start, 3 * start + 3))
        init.fill_(row, initlib.constant(2.0), seed=0)


def on_device(tensor, initializer, axes, seed, shape=None, box=None):
    """Fill by the engine of a device, whose memory NumPy cannot see."""
    weight = DrawRequest(shape or tuple(tensor.shape), axes, str(tensor.dtype).removeprefix("torch."), Key(seed), box)
    initializer.fill(tensor, weight, engine_of(tensor.device))
    return tensor


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("initializer", LAWS, ids=repr)
def test_the_engine_of_a_device_draws_the_same_bits(dtype, initializer, monkeypatch):
    monkeypatch.setattr(TorchEngine, "piece", 97)
    for shape, axes in [((5,), "O"), ((), "..."), ((64, 31), "OI"), ((6, 5, 3, 2), "(3 O)I..."), ((2, 300), "BI")]:
        kernel, stream = (nines(*shape, dtype=getattr(torch, dtype)) for _ in range(2))
        init.fill_(kernel, initializer, axes=axes, seed=2**40 + 1)
        assert torch.equal(kernel, on_device(stream, initializer, axes, 2**40 + 1))


@given(st.data())
def test_the_engine_of_a_device_draws_any_box(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=4)))
    index = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        index.append(slice(start, data.draw(st.integers(start + 1, size)), data.draw(st.integers(1, 3))))
    axes = "O..." if len(shape) == 1 else "OI..."
    box = normalize_index(tuple(index), shape)
    drawn = on_device(torch.empty(box_shape(box)), initlib.normal(), axes, 1, shape, box)
    assert np.array_equal(drawn.numpy(), initlib.normal()(shape, axes=axes, seed=1, index=tuple(index)))


def test_the_engine_of_a_device_draws_positions_past_32_bits():
    shape, index = (2**20, 2**14), (slice(-3, None), slice(-5, None))
    drawn = on_device(torch.empty(3, 5), initlib.normal(), "OI", 1, shape, normalize_index(index, shape))
    assert np.array_equal(drawn.numpy(), initlib.normal()(shape, axes="OI", seed=1, index=index))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("initializer", [*LAWS, initlib.orthogonal(), initlib.dirac(), initlib.sparse(0.5)], ids=repr)
def test_memory_that_numpy_cannot_see_gets_the_same_weights(initializer, dtype, monkeypatch):
    kernel, device = (nines(6, 8, 3, dtype=getattr(torch, dtype)) for _ in range(2))
    init.fill_(kernel, initializer, seed=3)
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    monkeypatch.setattr(memory, "_array", None)
    assert init.fill_(device, initializer, seed=3) is device
    if initializer == initlib.orthogonal():
        assert torch.allclose(device, kernel, rtol=0 if dtype in ("float32", "float64") else 1e-2, atol=1e-6)
    else:
        assert torch.equal(device, kernel)


@pytest.mark.parametrize("name", ["normal_", "orthogonal_", "eye_", "sparse_", "xavier_uniform_"])
def test_meta_tensors_are_returned_as_they_are(name):
    state = torch.random.get_rng_state()
    tensor = torch.empty(3, 4, device="meta")
    assert getattr(init, name)(tensor, *([0.5] if name == "sparse_" else [])) is tensor
    real = nines(6, 8)
    with torch.device("meta"):
        layer = torch.nn.Linear(3, 4)
        init.he_normal_(layer.weight)
        init.he_normal_(real, seed=0)
    assert torch.equal(real, expected(6, 8))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_fake_tensors_are_returned_as_they_are():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        layer = torch.nn.Linear(3, 4)
        assert init.he_normal_(layer.weight) is layer.weight


def test_a_subclass_overrides_the_functions():
    class Shouting(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            calls.append(getattr(function, "__name__", None))
            return super().__torch_function__(function, types, args, kwargs or {})

    calls = []
    tensor = nines(6, 8).as_subclass(Shouting)
    assert init.he_normal_(tensor, seed=0) is tensor
    assert calls == ["he_normal_"]
    assert torch.equal(tensor.as_subclass(torch.Tensor), expected(6, 8))


def test_subclasses_without_a_dispatch_of_their_own_are_filled_in_place(monkeypatch):
    class DrawRequest(torch.nn.Parameter):
        pass

    monkeypatch.setattr(torch.Tensor, "copy_", None)
    assert torch.equal(init.he_normal_(DrawRequest(nines(6, 8)), seed=0), expected(6, 8))


def test_subclasses_with_a_dispatch_of_their_own_are_copied_to():
    from torch.testing._internal.two_tensor import TwoTensor

    pair = init.he_normal_(TwoTensor(nines(6, 8), nines(6, 8)), seed=0)
    assert torch.equal(pair.a, expected(6, 8))
    assert torch.equal(pair.b, expected(6, 8))


def test_transforms_and_traces_see_the_weights_of_a_seed():
    def inside(x):
        return x @ init.he_normal_(torch.empty(6, 8), seed=0).T

    x = torch.ones(3, 8)
    for before_dispatch in (False, True):
        assert torch.equal(make_fx(inside, pre_dispatch=before_dispatch)(x)(x), inside(x))
    with pytest.raises(RuntimeError, match="tensor must have memory, got a tensor of a traced"):
        make_fx(inside, tracing_mode="fake")(x)
    assert torch.allclose(torch.func.vmap(inside)(x), inside(x))
    assert torch.allclose(torch.func.grad(lambda x: inside(x).sum())(x), expected(6, 8).sum(0).expand(3, 8))
    wrapped = torch.func.vmap(lambda t: init.he_normal_(t.clone(), seed=0))(nines(2, 6, 8))
    assert torch.equal(wrapped, expected(6, 8).expand(2, 6, 8))


def test_compiled_code_draws_outside_of_the_graph():
    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.empty(6, 8))
            init.he_normal_(self.weight, seed=0)

    def build(x):
        return x @ Layer().weight.T

    x = torch.ones(3, 8)
    assert torch.equal(torch.compile(build, backend="eager")(x), x @ expected(6, 8).T)
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="initlib draws outside of the graph"):
        torch.compile(lambda weight: init.he_normal_(weight) + 1, backend="eager", fullgraph=True)(nines(6, 8))


BAD = {
    "integers": (lambda: torch.full((3, 3), 9), TypeError, "dtype among .*got torch.int64"),
    "sparse": (lambda: nines(3, 3).to_sparse(), TypeError, "dense .*got layout torch.sparse_coo"),
    "quantized": (lambda: torch.quantize_per_tensor(nines(3, 3), 1.0, 0, torch.qint8), TypeError, "got torch.qint8"),
    "expanded": (lambda: nines(3, 1).expand(3, 3), ValueError, "must not overlap itself"),
    "overlapping": (lambda: nines(9).as_strided((3, 3), (2, 1)), ValueError, "must not overlap itself"),
    "interleaved": (lambda: nines(20).as_strided((3, 4), (3, 2)), ValueError, "must not overlap itself"),
    "no tensor": (lambda: np.full((3, 3), 9.0), TypeError, "tensor must be a torch.Tensor, got ndarray"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", ["normal_", "he_normal_", "kaiming_uniform_", "orthogonal_"])
def test_tensors_that_cannot_be_filled_are_errors(kind, name):
    make, error, message = BAD[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantized tensors are deprecated
        tensor = make()
    with pytest.raises(error, match=message):
        getattr(init, name)(tensor, seed=0)
    values = tensor if isinstance(tensor, np.ndarray) else tensor.to_dense() if tensor.is_sparse else tensor
    values = values.dequantize() if kind == "quantized" else values
    assert (values == 9).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"axes": "OIH"}, ValueError, "axes must name 2 axes for shape .3, 3., got 'OIH' with 3"),
        ({"axes": 3}, TypeError, "axes must be a string"),
        ({"seed": 0, "generator": torch.Generator()}, ValueError, "seed and generator must not both be given"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": 1.5}, TypeError, "seed must be an int"),
        ({"seed": 0, "name": 3}, TypeError, "name must be a string"),
        ({"generator": 3}, TypeError, "generator must be a torch.Generator or None, got 3"),
    ],
)
def test_arguments_that_do_not_fit_are_errors(arguments, error, message):
    tensor = nines(3, 3)
    with pytest.raises(error, match=message):
        init.he_normal_(tensor, **arguments)
    assert (tensor == 9).all()


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("normal_", ("a",), TypeError, "mean must be a real number, got 'a'"),
        ("normal_", (0.0, "a"), TypeError, "std must be a real number, got 'a'"),
        ("uniform_", (0.0, math.nan), ValueError, "b must be finite, got nan"),
        ("trunc_normal_", (0.0, -1.0), ValueError, "std must be at least 0"),
        ("trunc_normal_", (0.0, 1.0, math.nan), ValueError, "low must be a number, got nan"),
        ("trunc_normal_", (0.0, 1.0, 2.0, 1.0), RuntimeError, "found from=2.0 > to=1.0"),
        ("xavier_normal_", (-1.0,), ValueError, "gain must be at least 0, got -1.0"),
        ("sparse_", (1.5,), ValueError, "sparsity must be at least 0 and at most 1, got 1.5"),
        ("variance_scaling_", (1.0, "fan_sum"), ValueError, "mode must be one of fan_in, fan_out"),
    ],
)
def test_parameters_of_distributions_that_do_not_fit_are_errors(name, arguments, error, message):
    tensor = nines(3, 3)
    with pytest.raises(error, match=message):
        getattr(init, name)(tensor, *arguments)
    assert (tensor == 9).all()


@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize(
    "name", ["he_normal_", "glorot_uniform_", "lecun_normal_", "variance_scaling_", "xavier_normal_"]
)
def test_fans_of_a_vector_need_axes(name, shape):
    tensor = nines(*shape)
    with pytest.raises(ValueError, match="tensor with fewer than 2 dimensions"):
        getattr(init, name)(tensor)
    assert (tensor == 9).all()
    getattr(init, name)(tensor, axes="..." if shape == () else "I", seed=0)
    assert (tensor != 9).all()


def test_a_wrapper_needs_the_fans_that_its_initializer_needs():
    for scheme in (initlib.he_normal * 0.5, initlib.siren(), initlib.variance_scaling(2.0) * 3):
        with pytest.raises(ValueError, match="tensor with fewer than 2 dimensions"):
            init.fill_(nines(3), scheme)


def test_an_initializer_of_another_library_is_an_error():
    with pytest.raises(TypeError, match=r"initializer must be an initlib\.Initializer, got 'he_normal'"):
        init.fill_(nines(3, 3), "he_normal")


@pytest.mark.parametrize("count", [0, 8, 35])
@pytest.mark.parametrize("view", [lambda t: t, lambda t: t.T])
def test_storage_that_was_freed_or_shrunk_is_not_written_to(count, view, monkeypatch):
    tensor = view(nines(3, 3))
    tensor.untyped_storage().resize_(count)
    for is_cpu in (True, False):
        monkeypatch.setattr(torch.Tensor, "is_cpu", is_cpu)
        with pytest.raises(ValueError, match=rf"must have a storage of 36 bytes, got {count}: its storage was freed"):
            init.normal_(tensor)


@pytest.mark.parametrize(
    ("shape", "strides"), [((2, 3), (3, 2)), ((3, 2), (2, 3)), ((2, 2, 3), (6, 3, 2)), ((2, 4), (7, 2))]
)
def test_strides_that_interleave_without_an_overlap_can_be_filled(shape, strides):
    memory = nines(20)
    tensor = init.normal_(memory.as_strided(shape, strides), seed=0)
    assert torch.equal(tensor, init.normal_(nines(*shape), seed=0))
    assert int((memory == 9).sum()) == 20 - tensor.numel()


def test_empty_tensors_draw_nothing():
    state = torch.random.get_rng_state()
    for name in ("normal_", "uniform_", "orthogonal_", "xavier_uniform_", "eye_"):
        assert getattr(init, name)(torch.empty(0, 3)).shape == (0, 3)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(("a", "b"), [(5.0, 6.0), (-9.0, -7.0), (0.0, 1e-4), (5.0, math.inf), (-1e-5, 2e-5)])
def test_bounds_far_from_the_mean_give_the_truncated_distribution(a, b):
    stats = pytest.importorskip("scipy.stats")
    with pytest.warns(UserWarning, match="more than 2 std") if abs(a) > 2 else pytest.MonkeyPatch.context():
        drawn = init.trunc_normal_(torch.empty(2**16, dtype=torch.float64), 0.0, 1.0, a, b, seed=0).numpy()
    assert drawn.min() >= a
    assert drawn.max() <= b
    assert stats.kstest(drawn, stats.truncnorm(a, b).cdf).statistic < 0.0147  # DKW at 1e-12, n = 2**16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_that_was_drawn_into_can_be_freed(dtype):
    """FSDP frees gathered parameters by a resize, which PyTorch refuses after `Tensor.numpy`."""
    weight = torch.nn.Parameter(torch.empty(6, 4, dtype=dtype))
    init.he_normal_(weight.detach().t()[::2], seed=0)
    assert weight.untyped_storage().resizable()
    weight.untyped_storage().resize_(0)
