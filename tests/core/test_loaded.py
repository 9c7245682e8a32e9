"""Loaded: old weights of a checkpoint as fills, alone and in parts."""

import re
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from checkpoints import save
from hypothesis import given
from hypothesis import strategies as st
from old_weights import OLD, drawn, weight
from strategies import small_boxes

from initlib import PlanError, he_normal, loaded, normal, orthogonal, parts, plan, same_as, values
from initlib.dtypes import DTYPES, numpy_dtype, odd_float32
from initlib.files import checkpoint_source
from initlib.key import as_key
from initlib.plans.packing import logical_weights

FLOATS = [name for name in DTYPES if not DTYPES[name].part]


# Copies


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_copy_has_the_bits_of_the_file(tmp_path, dtype, rng):
    kind = numpy_dtype(dtype)
    bits = rng.integers(0, 256, (6, 8 * kind.itemsize), dtype=np.uint8)  # NaN of all payloads among them
    array = bits.view(kind)
    path = save(tmp_path / "w", {"w": array}) if dtype != "complex128" else {"w": array}
    copy = drawn(weight("w", dtype=dtype), loaded(path))
    assert copy.dtype == kind
    assert copy.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
def test_payloads_of_nan_are_copied(tmp_path, dtype):
    kind = numpy_dtype(dtype)
    ones = np.full(4, 2 ** (8 * kind.itemsize) - 1 - 2, f"u{kind.itemsize}").view(kind)
    copy = drawn(weight("w", (4,), dtype), loaded(save(tmp_path / "w", {"w": ones})))
    assert copy.tobytes() == ones.tobytes()


@pytest.mark.parametrize("source", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_another_dtype_is_rounded_once_to_nearest_even(tmp_path, source, dtype, rng):
    array = np.concatenate([rng.normal(size=500), ties(dtype)]).astype(numpy_dtype(source))
    path = save(tmp_path / "w", {"w": array})
    copy = drawn(weight("w", array.shape, dtype), loaded(path))
    assert [float(each) for each in copy] == [nearest_even(float(each), dtype) for each in array]


def ties(dtype):
    """Numbers at the middle of two neighbours of a dtype, and beside it by less than a float32 resolves."""
    spacing = float(np.spacing(np.float64(1.0))) if dtype == "float64" else float(ml_dtypes.finfo(dtype).eps)
    middles = [1 + spacing * (k + 0.5) for k in range(4)]
    return [sign * each + step for each in middles for step in (0, 2.0**-45, -(2.0**-45)) for sign in (1, -1)]


def nearest_even(number, dtype):
    """The number of a dtype that is nearest, by exact arithmetic; of two that are equally near the even one."""
    kind = numpy_dtype(dtype)
    near = np.array(number).astype(kind)
    bits = near.view(f"u{kind.itemsize}")
    candidates = [np.array(int(bits) + step, bits.dtype).view(kind) for step in (-1, 0, 1) if int(bits) + step >= 0]
    finite = [each for each in candidates if np.isfinite(each.astype("float64"))]
    exact = Fraction(number)

    def distance(each):
        return abs(Fraction(float(each)) - exact), int(each.view(bits.dtype)) % 2

    return float(min(finite, key=distance))


@given(st.floats(allow_nan=False, width=64), st.sampled_from(["bfloat16", "float8_e5m2"]))
def test_odd_rounding_then_rounding_is_one_rounding(number, dtype):
    odd = odd_float32(np.array([number]))
    assert odd_float32(np.array([np.nan, np.inf, -np.inf]))[1:].tolist() == [np.inf, -np.inf]
    limit = float(ml_dtypes.finfo(dtype).max)
    if abs(number) < limit:
        assert float(odd.astype(numpy_dtype(dtype))[0]) == nearest_even(number, dtype)


def test_weights_that_overflow_are_an_error():
    with pytest.raises(ValueError, match=r"weights as large as 1e\+06 overflow float16"):
        drawn(weight("w", (2,), "float16"), loaded({"w": np.array([1e6, 0], "float32")}))


# Names


def test_names_of_tensors(old):
    every = [weight(f"layers.{i}.w") for i in range(4)]
    for fill in (
        loaded(old),
        loaded(old, "layers.*.w"),
        lambda p: loaded(old, p.name),
        lambda p: loaded(old, "layers.*.w"),
    ):
        weights = plan(every, {"layers.*.w": fill}).draw(0)
        assert all(np.array_equal(weights[name], array) for name, array in OLD.items())
    expression = {re.compile(r"layers\.(\d)\.w"): loaded(old, r"layers.\1.w")}
    assert np.array_equal(plan(every, expression).draw(0)["layers.2.w"], OLD["layers.2.w"])
    assert np.array_equal(plan(every, default=loaded(old)).draw(0)["layers.2.w"], OLD["layers.2.w"])


def test_the_name_is_that_of_the_model_and_the_noise_has_the_stream_of_the_new_name(old):
    made = plan([weight()], {"*": loaded(old) + normal()}, rename={"layers.*": "blocks.*"})
    noise = normal()((6, 8), seed=0, name="blocks.0.w")
    assert np.array_equal(made.draw(0)["layers.0.w"], OLD["layers.0.w"] + noise)


def test_a_tied_parameter_has_the_name_that_the_source_has(old):
    tied = weight("head.w", tied=("layers.1.w",))
    for rules in ({"*": loaded(old)}, {"head.*": loaded(old), "*": loaded(old)}):
        assert np.array_equal(plan([tied], rules).draw(0)["head.w"], OLD["layers.1.w"])


def test_a_target_network_may_share_old_weights():
    old = {"online.w": np.ones((2, 2), "float32")}
    model = [weight("online.w", (2, 2)), weight("target.w", (2, 2))]
    made = plan(model, {"*.w": loaded(old, "online.w") + normal()}, rename={"target.*": same_as("online.*")})
    first, second = made.draw(0).values()
    assert np.array_equal(first, second)


def test_names_that_no_source_can_have_are_problems_of_the_plan(old):
    with pytest.raises(PlanError, match="must have only groups of the rule's pattern, got invalid group reference 3"):
        plan([weight()], {re.compile("layers.(.).w"): loaded(old, r"\3")})
    with pytest.raises(PlanError, match=r"source must hold an array under 'layers.0.w', got list"):
        plan([weight()], {"*": loaded({"layers.0.w": [1, 2]})})
    with pytest.raises(PlanError, match=r"name must be the name of a tensor in <1 arrays>, got 'layers.0.w'"):
        plan([weight()], {"*": loaded({1: np.ones(2)})})


# Parts


def test_old_and_new_rows(old):
    grown = parts({"old": (6, loaded(old, "layers.0.w")), "new": (2, normal())}, replaces=0)
    made = drawn(weight("w", (8, 8)), grown)
    assert np.array_equal(made[:6], OLD["layers.0.w"])
    assert np.array_equal(made[6:], normal()((2, 8), seed=0, name="w.new"))


def test_parts_are_loaded_by_their_own_names(rng):
    old = {f"attn.{name}.w": rng.normal(size=(4, 6)).astype("float32") for name in "qkv"}
    fused = parts({f"{name}.w": 1 for name in "qkv"}, loaded(old))
    for axes in (None, "OI"):
        made = drawn(weight("attn.qkv.w", (12, 6), axes=axes), fused)
        assert np.array_equal(made, np.concatenate(list(old.values())))
    stack = parts("layers.{i}.w", loaded(OLD) * 0.5)
    assert np.array_equal(drawn(weight("layers.w", (4, 6, 8)), stack), np.stack(list(OLD.values())) * 0.5)
    by_rules = plan(
        [weight("attn.qkv.w", (12, 6))], {"*.qkv.w": parts({f"{n}.w": 1 for n in "qkv"}), "*.w": loaded(old, "*.w")}
    )
    assert np.array_equal(by_rules.draw(0)["attn.qkv.w"], np.concatenate(list(old.values())))


def test_experts_are_copies_of_one_weight_with_noise_of_their_own():
    old = {"mlp": OLD["layers.0.w"]}
    experts = drawn(weight("experts", (3, 6, 8)), parts("experts.{i}", loaded(old, "mlp") + normal(std=0.1)))
    for i, expert in enumerate(experts):
        assert np.array_equal(expert, old["mlp"] + normal(std=0.1)((6, 8), seed=0, name=f"experts.{i}"))


def test_the_padding_row_has_no_noise(old):
    made = drawn(weight(padding=2), loaded(old) * 0.5 + normal())
    assert np.array_equal(made[2], OLD["layers.0.w"][2] * 0.5)
    noise = normal()((6, 8), seed=0, name="layers.0.w")
    others = [0, 1, 3, 4, 5]
    assert np.array_equal(made[others], (OLD["layers.0.w"] * np.float32(0.5) + noise)[others])


# Slices and axes


@pytest.mark.parametrize(
    ("axes", "order", "own"),
    [("IO", (1, 0), "OI"), ("HWIO", (3, 2, 0, 1), "OIHW"), ("BIO", (0, 2, 1), "BOI"), ("I(3 O)", (1, 0), "(3 O)I"),
     ("...IO", (1, 0), "OI..."), ("BHWIO", (4, 3, 0, 1, 2), "OIBHW")],
)  # fmt: skip
def test_another_order_of_axes(tmp_path, axes, order, own, rng):
    array = rng.normal(size=(2, 3, 4, 5, 6)[-len(order) :]).astype("float32")
    path = save(tmp_path / "w", {"w": array})
    expected = array.transpose(order)
    made = plan([weight("w", expected.shape, axes=own)], {"w": loaded(path, axes=axes)})
    assert np.array_equal(made.draw(0)["w"], expected)
    for index in (1, slice(1, 3), (..., slice(None, None, -1)), (slice(1, 2), 0)):
        assert np.array_equal(made.draw_one("w", 0, index), expected[index])


def test_a_slice_of_a_tensor_in_the_order_of_the_file(tmp_path, rng):
    array = rng.normal(size=(3, 8, 6)).astype("float32")
    path = save(tmp_path / "w", {"w": array})
    expected = array[1, 2:8:2].T
    made = plan([weight("x", (6, 3), axes="OI")], {"x": loaded(path, "w", index=(1, slice(2, 8, 2)), axes="IO")})
    assert np.array_equal(made.draw(0)["x"], expected)
    assert np.array_equal(made.draw_one("x", 0, (slice(None, None, -2), 1)), expected[::-2, 1])
    assert np.array_equal(drawn(weight("x", (3, 8)), loaded(path, "w", index=(..., -1))), array[..., -1])
    assert drawn(weight("x", ()), loaded(path, "w", index=(0, 1, 2))) == array[0, 1, 2]


def test_an_index_has_one_ellipsis(tmp_path):
    with pytest.raises(ValueError, match=r"index must have at most one \.\.\., got"):
        loaded(tmp_path, "w", index=(..., 0, ...))


def test_vectors_ignore_the_axes(tmp_path, rng):
    old = {"w": rng.normal(size=(3, 4)), "b": np.ones(4)}
    made = plan([weight("w", (4, 3), axes="OI"), weight("b", (4,))], {"*": loaded(old, axes="...IO")})
    assert np.array_equal(made.draw(0)["w"], old["w"].T.astype("float32"))


# Boxes


@given(small_boxes(), st.sampled_from([1, 7, 2**20]))
def test_a_box_is_the_box_of_the_full_draw(case, large):
    shape, axes, index = case
    array = np.random.default_rng(0).normal(size=shape)
    fill = loaded({"w": array}) * 0.5 + values(array) + he_normal
    made = plan([weight("w", shape, axes=axes)], {"w": fill})
    full = made.draw(0)["w"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logical_weights, "LARGE", large)
        assert np.array_equal(made.draw_one("w", 0, index), full[index])


def test_noise_whose_weights_depend_on_one_another(monkeypatch):
    made = plan([weight("w", (6, 6), axes="OI")], {"w": loaded({"w": np.zeros((6, 6), "float32")}) + orthogonal()})
    full = orthogonal()((6, 6), axes="OI", seed=0, name="w")
    monkeypatch.setattr(logical_weights, "LARGE", 10)
    assert np.array_equal(made.draw(0)["w"], full)
    assert np.array_equal(made.draw_one("w", 0, slice(2, 4)), full[2:4])


@pytest.fixture
def counted(monkeypatch):
    """The sizes of all reads of weights."""
    sizes = []
    read = checkpoint_source._read_exactly
    monkeypatch.setattr(
        checkpoint_source, "_read_exactly", lambda file, memory: (sizes.append(memory.nbytes), read(file, memory))[1]
    )
    return sizes


def test_a_draw_reads_the_bytes_of_its_box(tmp_path, counted, rng):
    array = rng.normal(size=(64, 1000)).astype("float32")
    path = save(tmp_path / "w", {"w": array, "x": array})
    made = plan([weight("w", (64, 1000))], {"w": loaded(path) + normal()})
    assert not counted  # planning reads headers
    made.draw_one("w", 0, slice(0, 16))
    assert sum(counted) == 16 * 4000
    counted.clear()
    made.draw_one("w", 0, (slice(None), slice(0, 250)))
    assert sum(counted) == 64 * 1000
    counted.clear()
    turned = plan([weight("w", (1000, 64), axes="OI")], {"w": loaded(path, axes="IO", index=slice(0, 64))})
    turned.draw_one("w", 0, slice(500, 750))
    assert sum(counted) == 64 * 1000


def test_a_draw_reads_piece_by_piece(tmp_path, monkeypatch, counted):
    monkeypatch.setattr(logical_weights, "LARGE", 1000)
    path = save(tmp_path / "w", {"w": np.zeros((100, 50), "float32")})
    requests = plan([weight("w", (100, 50))], {"w": loaded(path)})["w"].requests(as_key(0))
    assert not counted
    assert next(requests).source.shape == (20, 50)
    assert counted == [4000]


# Errors of plans


def problems(*arguments, **options):
    with pytest.raises(PlanError) as caught:
        plan(*arguments, **options)
    return caught.value.problems


def test_all_errors_of_sources_are_listed_before_anything_is_drawn(old, tmp_path):
    every = [weight(), weight("layers.9.w"), weight("layers.1.w", (8, 6)), weight("layers.2.w", (7, 7)), weight("x")]
    texts = problems(every, {"x": loaded(tmp_path / "none") + normal(), "*": loaded(old)})
    assert len(texts) == 4
    assert (
        f"layers.9.w: name must be the name of a tensor in \"{old}\", got 'layers.9.w'; nearest names: layers.0.w"
        in texts[0]
    )
    assert f'x: "{tmp_path}/none" cannot be read: [Errno 2] No such file' in texts[1]
    assert 'layers.1.w") must have shape (8, 6), got (6, 8). For another order of axes pass axes=' in texts[2]
    assert 'layers.2.w") must have shape (7, 7), got (6, 8)' in texts[3]


@pytest.mark.parametrize(
    ("parameter", "fill", "message"),
    [
        (weight("i", (3,)), loaded({"i": np.arange(3)}), "dtype must be one of float16, .* got dtype"),
        (weight("i", (3,), "int64"), loaded({"i": np.ones(3)}), "to be drawn, got int64"),
        (weight(), loaded(OLD, index=9), "index must be inside axis 0 of shape"),
        (weight(), loaded(OLD, index=(0, 0, 0)), "index must name at most 2 axes"),
        (weight(), loaded(OLD, "layers.*.x.*.w"), "must have no more \\* than the rule's pattern, got '\\*'"),
        (weight(), loaded(OLD, axes="IO"), "needs the axes of the parameter, which are unknown"),
        (weight(axes="OI"), loaded(OLD, axes="OI...I"), "axes must name at most|must have the axes OI"),
        (weight(axes="OI"), loaded(OLD, axes="IO"), r"must have the axes OI of shape \(6, 8\) in any order"),
        (weight(axes="(2 O)I"), loaded(OLD, axes="OI"), r"must have the axes \(2 O\)I"),
        (weight("w", (3, 1, 5), axes="BOI"), loaded({"w": np.ones((3, 5))}, axes="(3 O)I"), "must have the axes BOI"),
        (weight(), loaded(OLD) + orthogonal(), "orthogonal needs to know which of the 2 axes"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_a_problem_of_the_plan(parameter, fill, message):
    (problem,) = problems([parameter], {"*": fill})
    assert re.search(message, problem)


def test_a_source_that_is_not_there_is_one_problem_for_all_its_tensors(tmp_path):
    every = problems([weight(f"layers.{i}.w") for i in range(50)], {"*": loaded(tmp_path / "none")})
    assert str(PlanError(every)).startswith("the plan has 1 problem:\n  - layers.{0..49}.w: ")


def test_names_that_a_source_lacks_are_one_line_for_all_layers(old):
    every = problems([weight(f"blocks.{i}.w") for i in range(20)], {"*": loaded(old)})
    text = str(PlanError(every))
    assert len(every) == 20
    assert text.count("\n") == 1
    assert f"blocks.{{0..19}}.w: name must be the name of a tensor in \"{old}\", got 'blocks.0.w'" in text


def test_other_files_are_named_in_the_advice(tmp_path):
    np.save(tmp_path / "w.npy", np.ones((6, 8)))
    (problem,) = problems([weight()], {"*": loaded(tmp_path / "w.npy")})
    assert problem.endswith(
        "Pass the path of a safetensors file, an index or a folder with one of them, or a mapping of arrays"
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: loaded(3), TypeError, "source must be a path or a mapping of arrays, got int"),
        (lambda: loaded(b"w"), TypeError, "source must be a path of text, got b'w'"),
        (lambda: loaded(""), ValueError, "source must be a path of 1 to 4096 printable characters, got ''"),
        (lambda: loaded("\x1b[2J"), ValueError, r"got '\x1b[2J'"),
        (lambda: loaded("f", 3), TypeError, "name must be a string, got 3"),
        (lambda: loaded("f", "\n"), ValueError, "name must be a printable string"),
        (lambda: loaded("f", index="a"), TypeError, "index must be an int, got 'a'"),
        (lambda: loaded("f", index=slice(0.5)), TypeError, "index must be an int, got 0.5"),
        (lambda: loaded("f", index=True), TypeError, "index must be an int, got True"),
        (lambda: loaded("f", axes="?"), ValueError, "axes must consist of"),
        (lambda: loaded("f", axes=3), TypeError, "axes must be a string"),
        (lambda: loaded("f", scale="x"), TypeError, "scale must be a real number, got 'x'"),
    ],
)
def test_arguments_that_are_not_allowed(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)


def test_a_file_that_changes_after_planning_is_an_error_before_anything_is_written(tmp_path, old):
    made = plan([weight(), weight("x")], {"x": normal(), "*": loaded(old)})
    old.write_bytes(old.read_bytes())
    for use in (lambda: made.draw(0), lambda: made.write(tmp_path / "new", 0)):
        with pytest.raises(ValueError, match=r"old.safetensors must stay as it was .*Make the plan again"):
            use()
    assert not (tmp_path / "new").exists()
