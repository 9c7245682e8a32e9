"""Draws on a GPU: `pytest tests/gpu`. The weights are those of the core, drawn in place, in any memory of the GPU."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import small_boxes

import initlib.adapters.torch as init
from initlib import (
    Key,
    delta_orthogonal,
    dirac,
    glorot_uniform,
    he_normal,
    identity,
    normal,
    orthogonal,
    rotary_frequencies,
    sinusoidal,
    sparse,
    truncated_normal,
    uniform,
)
from initlib.adapters.torch.drawing.devices import describe, engine_of
from initlib.adapters.torch.drawing.engine import TorchEngine
from initlib.stream.boxes import normalize_index
from initlib.stream.engine import DrawRequest

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card")]

CARD = "cuda:0"
DTYPES = ("float16", "bfloat16", "float32", "float64")
INITIALIZERS = [
    uniform(-1.0, 1.0),
    uniform(-1.0, 3.0),
    normal(0.0, 1.0),
    normal(0.5, 2.0),
    normal(0.0, 1e-6),  # subnormal in float16
    normal(0.0, 3e-32),  # nearly so in float32
    he_normal,
    truncated_normal(low=0.0, high=5.0),
    truncated_normal(low=3.3, high=100.0),
]


def content(tensor):
    """Return the bytes of a tensor's numbers, in their order."""
    return tensor.clone(memory_format=torch.contiguous_format).cpu().reshape(-1).view(torch.uint8).numpy().tobytes()


def fill(tensor, initializer, shape, axes, seed, index=(), engine=None):
    dtype = str(tensor.dtype).removeprefix("torch.")
    weight = DrawRequest(shape, axes, dtype, Key(seed), normalize_index(index, shape))
    initializer.fill(tensor, weight, engine or engine_of(tensor.device))
    return tensor


def test_triton_draws_on_this_gpu():
    assert describe(CARD) == "Triton kernel"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("initializer", INITIALIZERS, ids=repr)
def test_weights_have_the_bits_of_the_core(initializer, dtype):
    if dtype == "float16" and initializer == INITIALIZERS[5]:
        pytest.skip("it underflows")
    for shape, axes in [
        ((100003,), "I"),
        ((310, 643), "OI"),
        ((64, 32, 3, 3), "(4 O)IHW"),
        ((2, 300), "BI"),
        ((), "..."),
    ]:
        tensor = torch.full(shape, torch.nan, dtype=getattr(torch, dtype), device=CARD)
        fill(tensor, initializer, shape, axes, 2**40 + 1)
        assert content(tensor) == initializer(shape, dtype, axes=axes, seed=2**40 + 1).tobytes()


def test_every_row_of_the_table_has_the_bits_of_the_core():
    shape = (2**27,)
    drawn = fill(torch.empty(shape, device=CARD), normal(), shape, "I", 1)
    assert np.array_equal(drawn.cpu().numpy(), normal()(shape, axes="I", seed=1))


@settings(max_examples=500)
@given(small_boxes(), st.sampled_from(INITIALIZERS), st.sampled_from(DTYPES[1:]), st.integers(0, 2**64 - 1), st.data())
def test_any_box_is_drawn_in_any_memory(weight, initializer, dtype, seed, data):
    """The axes of the memory have any order, and gaps, which are not written to."""
    shape, axes, index = weight
    expected = initializer(shape, dtype, axes=axes, seed=seed, index=index)
    order = data.draw(st.permutations(range(expected.ndim)))
    gaps = [data.draw(st.sampled_from([1, 1, 2, 3])) for _ in order]
    sizes = [1 + expected.shape[axis] * gap for axis, gap in zip(order, gaps, strict=True)]
    memory = torch.full(sizes, 7.0, dtype=getattr(torch, dtype), device=CARD)
    held = memory[tuple(slice(1, None, gap) for gap in gaps)].permute([order.index(axis) for axis in range(len(order))])
    assert content(fill(held, initializer, shape, axes, seed, index)) == expected.tobytes()
    held.fill_(7.0)
    assert bool((memory == 7.0).all())


@pytest.mark.parametrize("step", [1, 7, -1, -7, 2**20 + 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_positions_past_32_bits_have_the_bits_of_the_core(dtype, step):
    shape, index = (2**34,), slice(2**33 - 150 * step, 2**33 + 150 * step, step)
    drawn = fill(torch.empty(300, dtype=getattr(torch, dtype), device=CARD), he_normal, shape, "I", 11, index)
    assert content(drawn) == he_normal(shape, dtype, seed=11, index=index).tobytes()


def test_a_weight_may_need_several_launches():
    shape = (3, 2**30 + 5)
    if torch.cuda.mem_get_info(CARD)[0] < 2**33:
        pytest.skip("needs 8 GiB of the card's memory")
    drawn = fill(torch.empty(shape, dtype=torch.bfloat16, device=CARD), uniform(), shape, "OI", 5)
    for index in [(slice(None), slice(0, 9)), (slice(None), slice(2**30 - 9, None)), (2, slice(2**29 - 9, 2**29 + 9))]:
        assert content(drawn[index]) == uniform()(shape, "bfloat16", axes="OI", seed=5, index=index).tobytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_drawn_in_place_without_other_memory(dtype):
    weight = torch.nn.Parameter(torch.empty(4096, 1024, dtype=dtype, device=CARD))
    init.he_normal_(weight, seed=0)  # the table comes with the first draw
    version, place = weight._version, weight.data_ptr()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    assert init.he_normal_(weight, seed=1) is weight
    assert torch.cuda.max_memory_allocated() == before
    assert weight._version > version
    assert weight.data_ptr() == place
    assert content(weight.detach()) == content(init.he_normal_(torch.empty(4096, 1024, dtype=dtype), seed=1))


def test_channels_last_tensors_are_filled():
    weight = torch.empty(64, 32, 3, 3, device=CARD).to(memory_format=torch.channels_last)
    assert torch.equal(init.he_normal_(weight, seed=2).cpu(), init.he_normal_(torch.empty(64, 32, 3, 3), seed=2))


def test_draws_use_the_current_stream_of_the_gpu():
    stream = torch.cuda.Stream()
    weight = torch.zeros(2**22, device=CARD)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10_000_000)
        init.normal_(weight, seed=4)
    stream.synchronize()
    assert torch.equal(weight.cpu(), init.normal_(torch.empty(2**22), seed=4))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two cards")
def test_a_gpu_that_is_not_current_draws():
    weight = init.normal_(torch.empty(100, 100, device="cuda:1"), seed=4)
    assert torch.cuda.current_device() == 0
    assert torch.equal(weight.cpu(), init.normal_(torch.empty(100, 100), seed=4))


def test_a_generator_of_the_gpu_draws():
    drawn = [
        init.he_normal_(torch.empty(64, 64, device=CARD), generator=torch.Generator(CARD).manual_seed(5)).cpu()
        for _ in range(2)
    ]
    assert torch.equal(*drawn)


def test_inference_mode_allows_draws():
    with torch.inference_mode():
        weight = init.glorot_uniform_(torch.empty(64, 64, device=CARD), seed=5)
    assert torch.equal(weight.cpu(), init.glorot_uniform_(torch.empty(64, 64), seed=5))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_reference_has_the_same_bits(dtype):
    for initializer in (he_normal, glorot_uniform, normal(0.0, 1.0)):
        drawn = [
            fill(
                torch.empty(300, 50, dtype=getattr(torch, dtype), device=CARD),
                initializer,
                (300, 50),
                "OI",
                3,
                (),
                engine,
            )
            for engine in (None, TorchEngine(torch.device(CARD)))
        ]
        assert content(drawn[0]) == content(drawn[1])


@pytest.mark.parametrize(
    ("initializer", "shape", "axes"),
    [
        (orthogonal(1.5), (200, 120), "OI"),
        (delta_orthogonal(), (80, 60, 3, 3), "OIHW"),
        (identity(2.0), (60, 40), "OI"),
        (dirac(), (32, 16, 3, 3), "(2 O)IHW"),
        (sparse(0.4, 0.5), (100, 300), "OI"),
        (sinusoidal(), (300, 64), None),
        (rotary_frequencies(), (64,), None),
        (he_normal * 0.5, (100, 300), "OI"),
    ],
    ids=str,
)
def test_schemes_of_matrices_are_drawn(initializer, shape, axes):
    drawn = init.fill_(torch.empty(shape, device=CARD), initializer, axes=axes, seed=3).cpu().numpy()
    expected = initializer(shape, axes=axes, seed=3)
    if "orthogonal" in repr(initializer):
        assert np.abs(drawn - expected).max() < 1e-6
    else:
        assert np.array_equal(drawn, expected)


def test_complex_weights_are_drawn():
    drawn = init.fill_(torch.empty(60, 40, dtype=torch.complex64, device=CARD), he_normal, seed=3).cpu().numpy()
    expected = he_normal((60, 40), "complex64", axes="OI", seed=3)
    assert np.abs(drawn - expected).max() < 2e-6 * np.abs(expected).max()
