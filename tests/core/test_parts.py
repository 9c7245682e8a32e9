"""Tensors of several weights have the bits of these weights: fused = split, stacked = unrolled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initlib import (
    Initializer,
    Key,
    Parameter,
    PlanError,
    constant,
    dirac,
    glorot_uniform,
    he_normal,
    keep,
    normal,
    orthogonal,
    parts,
    plan,
    sparse,
    values,
    zeros,
)
from initlib.plans.fills.parts import Parts
from initlib.plans.packing.part_axes import unpacked, without
from initlib.stream.boxes import box_index

DTYPES = ["float16", "bfloat16", "float32", "float64"]
SEED = 3


def drawn(filling, shape, axes=None, name="attn.qkv.weight", dtype="float32", **fields):
    fused = Parameter(name, shape, dtype, axes, "kernel", **fields)
    return plan([fused], {"*": filling}).draw(SEED)[name]


def alone(initializer, shape, name, axes=None, dtype="float32"):
    return initializer(shape, dtype, axes=axes, seed=SEED, name=name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", [he_normal, glorot_uniform, orthogonal(), sparse(0.5), normal(std=0.02)], ids=repr)
def test_a_fused_weight_has_the_bits_of_the_split_weights(scheme, dtype):
    fused = drawn(parts({"q.weight": 3, "k.weight": 1, "v.weight": 1}, scheme), (40, 16), "OI", dtype=dtype)
    sizes = {"q": 24, "k": 8, "v": 8}
    split = [alone(scheme, (size, 16), f"attn.{name}.weight", "OI", dtype) for name, size in sizes.items()]
    assert fused.dtype == split[0].dtype
    assert np.array_equal(fused, np.concatenate(split))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", [he_normal, orthogonal(), normal(std=0.02)], ids=repr)
def test_interleaved_groups_have_the_bits_of_the_split_weights(scheme, dtype):
    """Grouped-query attention: in each of 4 groups, the rows of 2 heads of q, then one of k and one of v."""
    heads = parts({"q.weight": 2, "k.weight": 1, "v.weight": 1}, scheme, groups=4)
    fused = drawn(heads, (4 * 4 * 8, 16), "OI", dtype=dtype)
    split = {
        name: alone(scheme, (4 * size * 8, 16), f"attn.{name}.weight", "OI", dtype)
        for name, size in {"q": 2, "k": 1, "v": 1}.items()
    }
    rows = [split[name].reshape(4, -1, 16) for name in ("q", "k", "v")]
    assert np.array_equal(fused, np.concatenate(rows, axis=1).reshape(-1, 16))


def test_one_head_a_group_is_interleaved_head_by_head():
    """GPT-NeoX's rows are (head, q or k or v, dim)."""
    fused = drawn(parts({"q.weight": 1, "k.weight": 1, "v.weight": 1}, he_normal, groups=2), (2 * 3 * 4, 8), "OI")
    query = alone(he_normal, (8, 8), "attn.q.weight", "OI")
    assert np.array_equal(fused.reshape(2, 3, 4, 8)[:, 0].reshape(8, 8), query)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("axis", "axes"), [(0, "BIO"), (1, "IBO"), (2, "IOB"), (-1, "IOB")])
@pytest.mark.parametrize("scheme", [he_normal, orthogonal(), dirac()], ids=repr)
def test_a_stacked_weight_has_the_bits_of_the_unrolled_layers(scheme, axis, axes, dtype):
    unrolled = [alone(scheme, (8, 4), f"dec.layers.{i}.kernel", dtype=dtype) for i in range(5)]
    shape = np.stack(unrolled, axis).shape
    stacked = drawn(parts("layers.{i}.kernel", scheme, axis=axis), shape, axes, "dec.layers.kernel", dtype)
    assert np.array_equal(stacked, np.stack(unrolled, axis))


def test_packed_experts_have_the_bits_of_single_experts():
    """Each expert of a stack has a gate and an up projection side by side."""
    two = parts({"gate_proj.weight": 1, "up_proj.weight": 1}, he_normal, axis=0, replaces=1)
    experts = parts("experts.{i}.gate_up", two, replaces=2)
    fused = drawn(experts, (3, 16, 8), "B(2 O)I", "mlp.experts.gate_up_proj")
    for i in range(3):
        for k, name in enumerate(("gate_proj", "up_proj")):
            expert = alone(he_normal, (8, 8), f"mlp.experts.{i}.{name}.weight", "OI")
            assert np.array_equal(fused[i, 8 * k : 8 * k + 8], expert)


def test_a_part_may_have_a_filling_of_its_own():
    fused = drawn(
        parts({"q.weight": 1, "k.weight": (1, zeros), "v.weight": (1, values(np.full((4, 2), 7.0)))}, he_normal),
        (12, 2),
        "(3 O)I",
    )
    assert np.array_equal(fused[:4], alone(he_normal, (4, 2), "attn.q.weight", "OI"))
    assert (fused[4:8] == 0).all()
    assert (fused[8:] == 7).all()


def test_a_function_sees_the_part():
    seen = []

    def by_depth(parameter):
        seen.append(parameter)
        return constant(parameter.indices[0])

    stacked = drawn(parts("layers.{i}.kernel", by_depth), (3, 4, 2), "BIO", "layers.kernel", owner="Scan")
    assert stacked[:, 0, 0].tolist() == [0, 1, 2]
    assert seen[2] == Parameter("layers.2.kernel", (4, 2), axes="IO", kind="kernel", owner="Scan")


def test_a_part_without_a_filling_follows_the_rules_for_its_name():
    fused = [Parameter("attn.qkv.weight", (12, 4), axes="OI", kind="kernel")]
    rules = {"*.k.weight": zeros, "*.qkv.weight": parts({"q.weight": 1, "k.weight": 1, "v.weight": (1, normal())})}
    weight = plan(fused, rules, default=he_normal).draw(SEED)["attn.qkv.weight"]
    assert np.array_equal(weight[:4], alone(he_normal, (4, 4), "attn.q.weight", "OI"))
    assert (weight[4:8] == 0).all()
    assert np.array_equal(weight[8:], alone(normal(), (4, 4), "attn.v.weight", "OI"))


def test_parts_of_themselves_are_an_error():
    fused = [Parameter("attn.qkv.weight", (3**9, 4), axes="OI", kind="kernel")]
    with pytest.raises(PlanError, match="at most 8 deep, got a rule that matches its own parts"):
        plan(fused, {"*": parts({"q.weight": 1, "k.weight": 1, "v.weight": 1})})


def test_a_part_may_be_kept():
    table = plan(
        [Parameter("attn.qkv.weight", (12, 4), axes="OI", kind="kernel")],
        {"*": parts({"q.weight": (1, keep), "k.weight": 1, "v.weight": 1}, he_normal)},
    )
    out = np.full((12, 4), 5, "float32")
    assert table.draw_one("attn.qkv.weight", SEED, out=out) is out
    assert (out[:4] == 5).all()
    assert np.array_equal(out[4:8], alone(he_normal, (4, 4), "attn.k.weight", "OI"))
    with pytest.raises(ValueError, match=r"out must be given for attn\.qkv\.weight, because the plan keeps"):
        table.draw(SEED)


def test_functions_that_keep_all_parts_keep_the_tensor():
    fused = Parameter("attn.qkv.weight", (12, 4), axes="OI", kind="kernel")
    table = plan([fused], {"*": parts({"q.weight": 1, "k.weight": 1}, lambda parameter: keep)})
    assert table["attn.qkv.weight"].filling is keep
    assert table.draw(SEED) == {}


NAMES = [
    ("attn.qkv.weight", {"q.weight": 1, "kv.weight": 1}, {}, ["attn.q.weight", "attn.kv.weight"]),
    ("attn.qkv.weight", {"q": 1, "kv": 1}, {}, ["attn.qkv.q", "attn.qkv.kv"]),
    ("qkv", {"a.q.weight": 1, "kv": 1}, {}, ["a.q.weight", "kv"]),
    ("a.b.c", {"x": 1, "y": 1}, {"replaces": 0}, ["a.b.c.x", "a.b.c.y"]),
    ("a.b.c", {"x": 1, "y": 1}, {"replaces": 2}, ["a.x", "a.y"]),
    ("a.b.c", {"x": 1, "y": 1}, {"replaces": 9}, ["x", "y"]),
    ("dec.layers.kernel", "layers.{i}.kernel", {}, ["dec.layers.0.kernel", "dec.layers.1.kernel"]),
    ("dec.kernel", "layers_{i}.kernel", {}, ["layers_0.kernel", "layers_1.kernel"]),
    ("dec.kernel", "layers_{i}.kernel", {"replaces": 1}, ["dec.layers_0.kernel", "dec.layers_1.kernel"]),
]


@pytest.mark.parametrize(("stored", "names", "options", "expected"), NAMES, ids=str)
def test_names_of_parts_replace_the_last_components(stored, names, options, expected):
    table = plan([Parameter(stored, (2, 3), kind="kernel")], {"*": parts(names, normal(), **options)})
    assert [piece.stream for piece in table[stored].pieces] == expected


@pytest.mark.parametrize(
    ("axes", "ndim", "axis", "left"),
    [
        (None, 3, 0, None),
        ("BIO", 3, 0, "IO"),
        ("BIO", 3, 2, "BI"),
        ("(4 O)I", 2, 0, "I"),
        ("I(2 (3 O))B", 3, 2, "I(2 (3 O))"),
        ("...IO", 4, 0, "...IO"),
        ("...IO", 4, 1, "...IO"),
        ("...IO", 4, 3, "...I"),
        ("...IO", 2, 0, "...O"),
        ("OI...", 4, 1, "O..."),
        ("OI...", 4, 3, "OI..."),
        ("B", 1, 0, "..."),
    ],
)
def test_axes_at_an_index_lack_the_axis(axes, ndim, axis, left):
    assert without(axes, ndim, axis) == left


@pytest.mark.parametrize(
    ("axes", "shape", "axis", "lengths", "groups", "expected"),
    [
        (None, (6, 2), 0, [3, 3], 1, [None, None]),
        ("OI", (6, 2), 0, [4, 2], 1, ["OI", "OI"]),
        ("(3 O)I", (6, 2), 0, [2, 2, 2], 1, ["OI"] * 3),
        ("(3 O)I", (6, 2), 0, [4, 2], 1, ["(2 O)I", "OI"]),
        ("(3 O)I", (6, 2), 0, [5, 1], 1, ["OI", "OI"]),
        ("(2 (3 O))I", (12, 2), 0, [6, 6], 1, ["(3 O)I", "(3 O)I"]),
        ("(2 (3 O))I", (12, 2), 0, [2, 2, 2], 2, ["OI"] * 3),
        ("I(3 O)", (2, 6), 1, [2, 2, 2], 1, ["IO"] * 3),
        ("(3 O)I", (6, 2), 1, [1, 1], 1, ["(3 O)I"] * 2),
        ("...I(3 O)", (5, 5, 2, 6), 3, [2, 2, 2], 1, ["...IO"] * 3),
        ("(3 O)I...", (6, 2, 5, 5), 0, [2, 2, 2], 1, ["OI..."] * 3),
        ("(3 O)I...", (6, 2, 5, 5), 3, [3, 2], 1, ["(3 O)I..."] * 2),
    ],
)
def test_parts_have_the_axes_without_the_packing(axes, shape, axis, lengths, groups, expected):
    assert unpacked(axes, shape, axis, lengths, groups) == expected


FITS = [
    ((40, 2), {"q": 24, "k": 8, "v": 8}, {}, [24, 8, 8]),
    ((80, 2), {"q": 24, "k": 8, "v": 8}, {}, [48, 16, 16]),
    ((20, 2), {"q": 24, "k": 8, "v": 8}, {}, [12, 4, 4]),
    ((2, 6), {"q": 1, "k": 2}, {"axis": -1}, [2, 4]),
    ((0, 2), {"q": 1, "k": 2}, {}, [0, 0]),
]


@pytest.mark.parametrize(("shape", "sizes", "options", "lengths"), FITS, ids=str)
def test_shares_are_scaled_to_the_axis(shape, sizes, options, lengths):
    table = plan([Parameter("a", shape)], {"*": parts(sizes, normal(), **options)})
    axis = options.get("axis", 0)
    assert [piece.shape[axis] for piece in table["a"].pieces] == lengths


MISFITS = [
    (
        (39, 2),
        parts({"q": 24, "k": 8, "v": 8}, zeros),
        "a: the axis of parts q 24, k 8, v 8 must have a size divisible by 5, got 39",
    ),
    (
        (12, 2),
        parts({"q": 2, "k": 1}, zeros, groups=8),
        "the axis of parts q 2, k 1 in 8 groups must have a size divisible by 24, got 12",
    ),
    ((12, 2), parts({"q": 2, "k": 1}, zeros, axis=2), "axis of parts must be an axis of shape (12, 2), got 2"),
    ((12, 2), parts({"q": 2, "k": 1}, zeros, axis=-3), "axis of parts must be an axis of shape (12, 2), got -3"),
    ((), parts("a.{i}", zeros), "axis of parts must be an axis of shape (), got 0"),
    ((2**40, 2), parts("a.{i}", zeros), "at most 65536 boxes"),
    ((2**40, 2), parts({"q": 1, "k": 1}, zeros, groups=2**20), "at most 65536 boxes"),
    ((4, 2**16), parts("a.{i}", parts("b.{i}", zeros)), "at most 65536 boxes"),
    ((4, 2), parts({"q": 1, "k": (1, values([1.0]))}, zeros), "values for 'k' must have shape (2, 2), got (1,)"),
    ((4, 2), parts({"q": 1, "k": (1, orthogonal())}, zeros), "orthogonal() needs to know which of the 2 axes"),
    ((4, 2, 2), parts("b.{i}", parts({"c": 1, "d": 1}, normal(), replaces=2)), "would share the stream 'c'"),
]


@pytest.mark.parametrize(("shape", "filling", "message"), MISFITS, ids=str)
def test_parts_that_do_not_fit_are_errors(shape, filling, message):
    with pytest.raises(PlanError) as caught:
        plan([Parameter("a", shape)], {"*": filling})
    assert message in str(caught.value)


WRONG = [
    (lambda: parts({}, zeros), ValueError, "parts must name at least one part"),
    (lambda: parts(["q", "k"], zeros), TypeError, "parts must be a mapping of names to shares, or a name with {i}"),
    (lambda: parts("layers.kernel", zeros), ValueError, "a part's name must have {i}, the index along the axis"),
    (lambda: parts("h.{i}", zeros, groups=2), ValueError, "groups must be 1 if names is a string with {i}, got 2"),
    (lambda: parts({"": 1}, zeros), ValueError, "a part's name must be a printable string"),
    (lambda: parts({3: 1}, zeros), TypeError, "a part's name must be a string, got 3"),
    (lambda: parts({"q": 0}, zeros), ValueError, "the share of part 'q' must be at least 1, got 0"),
    (lambda: parts({"q": 1.5}, zeros), TypeError, "the share of part 'q' must be an int, got 1.5"),
    (lambda: parts({"q": True}, zeros), TypeError, "the share of part 'q' must be an int, got True"),
    (lambda: parts({"q": 1}, zeros, axis="O"), TypeError, "axis must be an int, got 'O'"),
    (lambda: parts({"q": 1}, zeros, groups=0), ValueError, "groups must be at least 1, got 0"),
    (lambda: parts({"q": 1}, zeros, replaces=-1), ValueError, "replaces must be at least 0, got -1"),
    (
        lambda: parts({"q": 1}, 0.5),
        TypeError,
        "the filling of a part must be an initializer, keep, values(...), parts(...) or loaded",
    ),
    (lambda: parts({"q": 1}, normal), TypeError, "Write normal(...)"),
    (lambda: parts({"q": 1}, orthogonal), TypeError, "Write orthogonal(...)"),
    (lambda: parts({"q": 1, "k": 1}, keep), ValueError, "parts must not all be kept. Use keep for the tensor"),
]


@pytest.mark.parametrize(("make", "error", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_meaningless_parts_are_errors(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)


def test_parts_too_deep_in_parts_are_errors():
    filling = zeros
    for _ in range(8):
        filling = parts({"a": 1, "b": 1}, filling)
    with pytest.raises(ValueError, match="parts must be nested at most 8 deep, got 9"):
        parts({"a": 1}, filling)


def test_numpy_sizes_are_ints():
    filling = parts({"q": np.int64(2)}, zeros, axis=np.int8(0), groups=np.int64(2))
    assert filling == parts({"q": 2}, zeros, groups=2)
    assert repr(filling) == "parts({'q': (2, constant(value=0.0))}, groups=2)"


@st.composite
def fillings(draw, shape, depth=0):
    """Draw a filling of a tensor of that shape."""
    choices = ["normal", "values"] if depth == 3 else ["normal", "values", "orthogonal", "split", "split", "stack"]
    kind = draw(st.sampled_from(choices)) if shape else "normal"
    axis = draw(st.integers(0, len(shape) - 1)) if shape else 0
    if kind == "values":
        return values(np.arange(np.prod(shape), dtype="float32").reshape(shape) % 1000)
    if kind == "orthogonal" and len(shape) >= 2:
        return orthogonal()
    if kind == "stack":
        inner = (*shape[:axis], *shape[axis + 1 :])
        return parts(f"s{depth}.{{i}}", draw(fillings(inner, depth + 1)), axis=axis, replaces=0)
    if kind == "split":
        groups = draw(st.sampled_from([n for n in (1, 2, 3) if shape[axis] % n == 0]))
        size = shape[axis] // groups
        count = draw(st.integers(1, min(3, size)))
        inside = st.integers(1, max(1, size - 1))
        ends = [0, *sorted(draw(st.lists(inside, min_size=count - 1, max_size=count - 1, unique=True)))]
        lengths = [high - low for low, high in zip(ends, [*ends[1:], size], strict=True)]
        own = [(*shape[:axis], length * groups, *shape[axis + 1 :]) for length in lengths]
        each = {f"p{k}": (length, draw(fillings(own[k], depth + 1))) for k, length in enumerate(lengths)}
        return parts(each, axis=axis, groups=groups, replaces=0)
    return normal(std=0.5)


def assembled(filling, name, shape, axes, dtype):
    """Return the tensor, assembled from weights that are drawn alone."""
    if not isinstance(filling, Parts):
        if hasattr(filling, "array"):
            return filling.array.astype(alone(zeros, 1, "", dtype=dtype).dtype)
        return alone(filling, shape, name, axes, dtype)
    axis = filling.axis
    if hasattr(filling, "template"):
        own, (inner,) = (*shape[:axis], *shape[axis + 1 :]), filling.fillings
        names = [f"{name}.{filling.template}".replace("{i}", str(i)) for i in range(shape[axis])]
        return np.stack([assembled(inner, each, own, axes[1:] or None, dtype) for each in names], axis)
    columns = []
    for part, length, each in zip(filling.names, filling.lengths(shape[axis]), filling.fillings, strict=True):
        own = (*shape[:axis], length * filling.groups, *shape[axis + 1 :])
        weight = assembled(each, f"{name}.{part}", own, axes, dtype)
        columns.append(weight.reshape(*shape[:axis], filling.groups, length, *shape[axis + 1 :]))
    return np.concatenate(columns, axis + 1).reshape(shape)


@given(st.data(), st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple), st.sampled_from(DTYPES))
def test_any_box_of_any_parts_can_be_drawn(data, shape, dtype):
    # All axes are inputs: the axes that remain at an index keep their roles.
    axes = "I" * len(shape)
    filling = data.draw(fillings(shape))
    entry = plan([Parameter("t", shape, dtype, axes)], {"*": filling})
    whole = entry.draw(SEED)["t"]
    assert np.array_equal(whole, assembled(filling, "t", shape, axes, dtype))
    index = tuple(data.draw(st.one_of(st.integers(0, size - 1), st.slices(size))) for size in shape)
    box = entry.draw_one("t", SEED, index=index)
    assert box.shape == whole[index].shape
    assert np.array_equal(box, whole[index])
    for place, source, request in entry["t"].requests(Key(SEED), index):
        alone = whole[index][place]
        if isinstance(source, Initializer):
            full = source(request.shape, dtype, axes=request.axes, seed=request.key)
            assert np.array_equal(alone, full[box_index(request.box)])
        else:
            assert np.array_equal(alone, source)
