"""Triton kernel: the interpreter gives the bits of the core; compiled code fuses no floats, and spills nothing."""

import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

triton = pytest.importorskip("triton")

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import small_boxes
from triton_interpreter import INTERPRETED, fill, interpreted

import initlib.adapters.torch as init
from initlib import (
    Key,
    delta_orthogonal,
    dirac,
    he_normal,
    icnr,
    identity,
    normal,
    orthogonal,
    sparse,
    truncated_normal,
    uniform,
)
from initlib.adapters.torch.drawing import memory, triton_engine, triton_kernel
from initlib.adapters.torch.drawing.triton_engine import TritonEngine
from initlib.stream.boxes import box_shape, normalize_index
from initlib.stream.engine import DrawRequest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.gpu.code import TARGETS, Case, compiled, on_paper

DTYPES = ("float16", "bfloat16", "float32", "float64")
INITIALIZERS = {
    "uniform": uniform(-1.0, 1.0),
    "uniform, a mean": uniform(-1.0, 3.0),
    "whole line": normal(0.0, 1.0),
    "a mean": normal(0.5, 2.0),
    "a mean far out": normal(3e4, 1.0),
    "2 sigma": he_normal,
    "4 sigma": truncated_normal(low=-4.0, high=4.0),
    "one side": truncated_normal(low=0.0, high=5.0),
    "narrow": truncated_normal(low=1.0, high=1.01),
    "upper tail": truncated_normal(low=3.3, high=100.0),
    "lower tail": truncated_normal(low=-100.0, high=-3.3),
    "tiny": normal(0.0, 1e-6),  # subnormal in float16
}


def drawn(initializer, shape, dtype, axes, seed, index=(), kernel=INTERPRETED):
    """Return the bytes of a box of a weight, drawn by the kernel."""
    kept = box_shape(normalize_index(index, shape))
    tensor = torch.full(kept, torch.nan, dtype=getattr(torch, dtype))
    return content(fill(tensor, initializer, shape, axes, seed, index, kernel))


def content(tensor):
    """Return the bytes of a tensor's numbers, in their order."""
    return tensor.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8).numpy().tobytes()


# ------------------------------------------------------------------------------------------------- the core's bits


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("initializer", INITIALIZERS.values(), ids=INITIALIZERS)
def test_the_kernel_draws_the_bits_of_the_core(initializer, dtype):
    for shape, axes in [((4000,), "I"), ((31, 64), "OI"), ((6, 5, 3, 2), "(3 O)IHW"), ((2, 300), "BI"), ((), "...")]:
        expected = initializer(shape, dtype, axes=axes, seed=2**40 + 1)
        assert drawn(initializer, shape, dtype, axes, 2**40 + 1) == expected.tobytes()


@pytest.mark.parametrize("block", [64, 1024])
def test_any_number_of_programs_draws_the_same_bits(block, monkeypatch):
    monkeypatch.setattr(INTERPRETED, "BLOCK", block)
    for size in (1, block - 1, block, block + 1, 5 * block, 5 * block + 1):
        assert drawn(he_normal, (size,), "float32", "I", 7) == he_normal((size,), axes="I", seed=7).tobytes()


def test_the_rarest_tails_have_the_bits_of_the_core():
    """Words nearest to 0 or to 2**32 use the first rows of the table."""
    size = 2**22
    word = Key(1).bits(size)
    tail = np.minimum(word, ~word)
    for at in np.argsort(tail)[:10].tolist():
        index = slice(max(0, at - 40), at + 40)
        assert drawn(normal(), (size,), "float32", "I", 1, index) == normal()(size, seed=1, index=index).tobytes()


@pytest.mark.parametrize("step", [1, 7, -1, -7, 2**20 + 1])
def test_positions_past_32_bits_have_the_bits_of_the_core(step):
    """Positions pass a multiple of 2**32, or lie further apart than that."""
    shape, index = (2**34,), slice(2**33 - 150 * step, 2**33 + 150 * step, step)
    for dtype in DTYPES:
        assert drawn(he_normal, shape, dtype, "I", 11, index) == he_normal(shape, dtype, seed=11, index=index).tobytes()


def test_boxes_of_a_huge_weight_have_the_bits_of_the_core():
    shape = (2**20, 2**20)
    for index in [(slice(-3, None), slice(-5, None)), (slice(5), slice(None, None, 2**18)), (2**19, slice(-9, None))]:
        expected = uniform()(shape, axes="OI", seed=1, index=index)
        assert drawn(uniform(), shape, "float32", "OI", 1, index) == expected.tobytes()


@settings(max_examples=150)
@given(
    small_boxes(),
    st.sampled_from(list(INITIALIZERS.values())),
    st.sampled_from(DTYPES),
    st.integers(0, 2**64 - 1),
    st.data(),
)
def test_any_box_is_drawn_in_memory_of_any_strides(weight, initializer, dtype, seed, data):
    """The axes of the memory have any order, and gaps, which are not written to."""
    shape, axes, index = weight
    expected = initializer(shape, dtype, axes=axes, seed=seed, index=index)
    order = data.draw(st.permutations(range(expected.ndim)))
    gaps = [data.draw(st.sampled_from([1, 1, 2, 3])) for _ in order]
    memory = torch.full([1 + expected.shape[axis] * gap for axis, gap in zip(order, gaps, strict=True)], 7.0)
    memory = memory.to(getattr(torch, dtype))
    held = memory[tuple(slice(1, None, gap) for gap in gaps)].permute([order.index(axis) for axis in range(len(order))])
    fill(held, initializer, shape, axes, seed, index)
    assert content(held) == expected.tobytes()
    held.fill_(7.0)
    assert (memory == 7.0).all()


MUTANTS = [
    ("0x1BD11BDA", "0x1BD11BDB"),
    ("13, 15, 26, 6", "13, 15, 26, 7"),
    ("key2 + 1", "key2 + 2"),
    (">> 7) | 1", ">> 7) | 3"),
    ("v) >> 15)\n    n =", "v) >> 14)\n    n ="),
    ("0x7FFF + ((bits >> 16) & 1)", "0x7FFF"),
    (
        "tl.umulhi(bits, window_width.to(tl.uint32)) + window_lo",
        "tl.umulhi(bits, window_width.to(tl.uint32)) - window_lo",
    ),
]


@pytest.mark.parametrize(("constant", "other"), MUTANTS, ids=[constant for constant, _ in MUTANTS])
def test_the_tests_above_can_fail(constant, other, tmp_path):
    """Another constant gives other bits somewhere."""
    source = Path(triton_kernel.__file__).read_text()
    assert constant in source
    (tmp_path / "mutant.py").write_text(source.replace(constant, other))
    mutant = interpreted(tmp_path / "mutant.py")
    draws = itertools.product((uniform(-1.0, 1.0), normal(), he_normal), ("float32", "bfloat16"))
    assert any(
        drawn(initializer, (9000,), dtype, "I", 5, kernel=mutant) != initializer((9000,), dtype, seed=5).tobytes()
        for initializer, dtype in draws
    )


# --------------------------------------------------------------------------------------------- the compiled kernel

CASES = {
    "uniform": Case(uniform(-1.0, 1.0), (4096,), "I"),
    "whole line": Case(normal(), (4096,), "I"),
    "2 sigma": Case(he_normal, (64, 32), "OI"),
    "float16": Case(he_normal, (64, 32, 3, 3), "OIHW", "float16"),
    "bfloat16, a mean": Case(normal(1.0, 2.0), (64, 32, 3, 3), "(4 O)IHW", "bfloat16"),
    "float32, a mean": Case(uniform(-1.0, 3.0), (64, 32, 3, 3), "(4 O)IHW", "float32", apart=2),
    "float64, a mean": Case(truncated_normal(mean=1.0), (64, 32, 3, 3), "(4 O)IHW", "float64", apart=2),
}
# Multiply-adds of floats. HFMA2 of zero is how a constant comes into a register.
FUSED = (
    r"\b(fma\.\w+|FFMA\w*|DFMA\w*|HFMA2\S* R\d+, -?(?!RZ)\S+,|v_(pk_)?(fma|mad|fmac|mac)_(mix\w*_)?(legacy_)?f\d+\w*)"
)


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """Keep compiled code out of the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        yield


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_compiled_code_fuses_no_floats_and_spills_nothing(target, case):
    code = compiled(target, case)
    assert code.spills == 0
    assert code.shared == 0
    assert code.registers <= 64
    assert 80 <= code.per_weight <= 150
    assert not re.findall(FUSED, code.text)
    assert ".ftz" not in code.text  # NVIDIA's and AMD's way to say that subnormal numbers are kept
    assert re.findall(r"float_denorm_mode_32 (\d)", code.text) == (["3"] if target.startswith("gfx") else [])


@pytest.mark.parametrize("target", TARGETS)
def test_the_test_above_can_fail(target, monkeypatch):
    """The compiler fuses products and sums if the options allow it."""
    monkeypatch.setitem(triton_kernel.OPTIONS, "enable_fp_fusion", True)
    for name in ("bfloat16, a mean", "float32, a mean", "float64, a mean"):
        assert re.findall(FUSED, compiled(target, CASES[name]).text)


def test_no_value_is_compiled_in():
    """One kernel serves every weight of a law, a dtype and a depth, wherever it lies."""
    with on_paper("sm_90") as driver:
        for size in (1, 16, 17, 1000):
            Case(he_normal, (size,), "I").launch()
            weight = DrawRequest((size,), "I", "float32", Key(2**64 - size))
            he_normal.fill(torch.empty(size + 1)[1:], weight, TritonEngine(torch.device("cpu")))
    assert len(driver.launches) == 8
    assert len(driver.kernels) == 1


def test_empty_tensors_need_no_launch():
    with on_paper("sm_90") as driver:
        Case(he_normal, (0, 5), "OI").launch()
    assert not driver.launches


# ------------------------------------------------------------------------------------------ every kind of initializer

SCHEMES = [
    (orthogonal(1.5), (20, 12), "OI"),
    (orthogonal(), (12, 5, 3), "(2 O)IW"),
    (delta_orthogonal(0.5), (8, 6, 3, 4), "OIHW"),
    (identity(2.0), (6, 4), "(2 O)I"),
    (dirac(), (8, 4, 3, 2), "(2 O)IHW"),
    (sparse(0.4, 0.5), (10, 30), "OI"),
    (icnr(he_normal, 2), (8, 4, 3, 3), "OIHW"),
    (he_normal * 0.5, (8, 4, 3, 3), "OIHW"),
]


@pytest.mark.parametrize(("scheme", "shape", "axes"), SCHEMES, ids=[repr(scheme) for scheme, _, _ in SCHEMES])
def test_all_initializers_that_draw_use_the_kernel(scheme, shape, axes):
    tensor = torch.full(shape, torch.nan)
    fill(tensor, scheme, shape, axes, 3)
    expected = scheme(shape, axes=axes, seed=3)
    if "orthogonal" in repr(scheme):  # products of matrices, which each library rounds in its own way
        assert np.abs(tensor.numpy() - expected).max() < 1e-6
    else:
        assert (tensor.numpy() == expected).all()


@pytest.mark.parametrize("scheme", [he_normal, normal(0.5), uniform(-1.0, 1.0)], ids=repr)
def test_complex_weights_use_the_kernel(scheme):
    tensor = torch.full((20, 12), torch.nan, dtype=torch.complex64)
    fill(tensor, scheme, (20, 12), "OI", 3)
    expected = scheme((20, 12), "complex64", axes="OI", seed=3)
    assert np.abs(tensor.numpy() - expected).max() < 2e-6 * np.abs(expected).max()


def test_the_adapter_fills_in_place_by_the_kernel(monkeypatch):
    """The public functions fill memory that NumPy cannot see."""
    launched = []
    draw = INTERPRETED.draw

    class Counting:
        def __getitem__(self, grid):
            launched.append(grid)
            return draw[grid]

    monkeypatch.setattr(INTERPRETED, "draw", Counting())
    monkeypatch.setattr(triton_engine, "_kernel", lambda: INTERPRETED)
    monkeypatch.setattr(memory, "engine_of", TritonEngine)
    expected = init.he_normal_(torch.empty(64, 32, 3, 3), seed=1, name="conv")
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    for layout in (torch.contiguous_format, torch.channels_last):
        weight = torch.nn.Parameter(torch.empty(64, 32, 3, 3).to(memory_format=layout))
        version, place = weight._version, weight.data_ptr()
        assert init.he_normal_(weight, seed=1, name="conv") is weight
        assert torch.equal(weight, expected)
        assert weight.data_ptr() == place
        assert weight._version > version  # autograd notices it
    assert launched == [(5,), (5,)]


def test_the_reference_draws_dtypes_that_the_kernel_lacks(monkeypatch):
    monkeypatch.setattr(INTERPRETED, "DTYPES", ())
    monkeypatch.setattr(INTERPRETED, "draw", None)
    assert drawn(he_normal, (300, 5), "float32", "OI", 3) == he_normal((300, 5), axes="OI", seed=3).tobytes()
