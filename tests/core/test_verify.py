"""Comparison of a checkpoint with a plan and a seed."""

import json
import re
import shutil
import struct

import numpy as np
import pytest
from checkpoints import everything

from initlib import (
    Parameter,
    delta_orthogonal,
    icnr,
    inverse_softplus,
    keep,
    log_uniform,
    logarithm,
    normal,
    orthogonal,
    parts,
    plan,
    uniform,
    zeros,
)
from initlib.checkpoints import verify as module
from initlib.checkpoints.verify import Difference
from initlib.files.header import Header

SIZE = "8KB"


@pytest.fixture
def folder(tmp_path):
    """A checkpoint of three files."""
    everything().write(tmp_path, 5, max_shard_size=SIZE)
    return tmp_path


@pytest.mark.parametrize("whole", [False, True])
def test_a_written_checkpoint_has_no_differences(folder, whole):
    for path in (folder, str(folder), folder / "model.safetensors.index.json"):
        assert everything().verify(path, 5, whole=whole) == ()


@pytest.mark.parametrize("whole", [False, True])
def test_another_seed_differs(folder, whole):
    differences = everything().verify(folder, 6, whole=whole)
    fixed = {"positions", "layers.0.norm.weight", "layers.0.none"}
    assert {difference.name for difference in differences} == {
        entry.parameter.name for entry in everything().entries if entry.parameter.name not in fixed
    }
    assert {difference.what for difference in differences} == {"has other values"}
    scalar = next(difference for difference in differences if difference.name == "layers.0.scale")
    assert scalar.index == ()


def change(path, name, at, value):
    """Write a byte into a tensor."""
    header = Header.read(path)
    with path.open("r+b") as file:
        file.seek(header.data + header.tensors[name].start + at)
        file.write(bytes([value]))


@pytest.mark.parametrize("index", [(0, 0), (37, 11), (4095, 63)])
def test_the_first_weight_that_differs_is_reported(tmp_path, index):
    made = plan([Parameter("w", (4096, 64), "float16")], normal())
    (path,) = made.write(tmp_path, 0)
    for later in (4095 * 64 + 63, 64 * index[0] + index[1]):
        change(path, "w", 2 * later, 0xA5)
    assert made.verify(tmp_path, 0, whole=True) == (Difference("w", "has other values", index),)


def test_samples_find_the_start_of_a_lost_tail(tmp_path):
    made = plan([Parameter("w", (2048, 64)), Parameter("v", (10,))], normal())
    (path,) = made.write(tmp_path, 0)
    header = Header.read(path)
    with path.open("r+b") as file:
        file.truncate(header.data + header.tensors["w"].start + 4 * (1900 * 64 + 5))
        file.truncate(header.size)  # a hole, which reads as zeros
    assert made.verify(tmp_path, 0) == (Difference("w", "has other values", (1900, 5)),)
    assert str(made.verify(tmp_path, 0)[0]) == "'w' has other values from index (1900, 5) on"


def test_only_a_full_comparison_sees_weights_between_samples(tmp_path):
    made = plan([Parameter("w", (4096, 64))], normal())
    (path,) = made.write(tmp_path, 0)
    change(path, "w", 4 * 64 * 100, 0xA5)
    assert made.verify(tmp_path, 0) == ()
    assert [difference.index for difference in made.verify(tmp_path, 0, whole=True)] == [(100, 0)]


def test_weights_are_compared_by_their_bits(tmp_path):
    made = plan([Parameter("w", (3,))], {"*": zeros})
    (path,) = made.write(tmp_path, 0)
    assert made.verify(path, 0) == ()
    change(path, "w", 7, 0x80)  # -0
    assert [difference.index for difference in made.verify(path, 0)] == [(1,)]


def test_weights_that_require_a_full_draw_are_drawn_once(tmp_path, monkeypatch):
    made = plan([Parameter("w", (64, 64), axes="OI")], {"*": orthogonal()})
    (path,) = made.write(tmp_path, 0)
    calls = []
    monkeypatch.setattr(
        module.Entry, "draw", lambda *arguments, draw=module.Entry.draw: calls.append(1) or draw(*arguments)
    )
    assert made.verify(path, 0) == ()
    assert len(calls) == 1


def shifted(path, name, dtype, at, change):
    """Change one weight of a file by a function."""
    header = Header.read(path)
    with path.open("r+b") as file:
        place = header.data + header.tensors[name].start + at * np.dtype(dtype).itemsize
        file.seek(place)
        value = np.frombuffer(file.read(np.dtype(dtype).itemsize), dtype)
        file.seek(place)
        file.write(np.asarray(change(value), dtype).tobytes())


def one_bit(weight):
    """Return the weight with its last bit changed; of a complex weight, the last bit of its real part."""
    changed = np.nextafter(weight.real, weight.real.dtype.type(9))
    return changed + 1j * weight.imag if np.iscomplexobj(weight) else changed


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "complex64"])
@pytest.mark.parametrize("scheme", [orthogonal(3.0), delta_orthogonal() * 0.5, icnr(orthogonal(), 2), orthogonal()])
def test_products_of_matrices_are_compared_to_the_promised_accuracy(tmp_path, dtype, scheme):
    numpy_dtype = pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype
    made = plan([Parameter("w", (32, 8, 3, 3), dtype, axes="OIHW")], scheme)
    if dtype == "complex64" and scheme.factory == "icnr":
        pytest.skip("icnr has no complex weights")
    (path,) = made.write(tmp_path, 0)
    at = 9 * 8 * 31 + 4  # at the centre of the last kernel
    shifted(path, "w", numpy_dtype, at, np.positive if dtype == "bfloat16" else one_bit)
    shifted(path, "w", numpy_dtype, at + 9, lambda w: w.astype(complex if dtype == "complex64" else float) + 3e-7)
    assert made.verify(path, 0, whole=True) == made.verify(path, 0) == made.write(tmp_path, 0) == ()
    shifted(path, "w", numpy_dtype, at, lambda w: w.astype(complex if dtype == "complex64" else float) + 0.1)
    assert [difference.index for difference in made.verify(path, 0)] == [(31, 0, 1, 1)]
    with pytest.raises(FileExistsError, match="'w' has other values"):
        made.write(tmp_path, 0)


def test_exponentials_are_compared_to_the_promised_accuracy(tmp_path):
    made = plan([Parameter("w", (300,), "float64")], inverse_softplus(log_uniform(1e-3, 0.1)))
    (path,) = made.write(tmp_path, 0)
    shifted(path, "w", "float64", 7, lambda w: w * (1 + 1e-15))
    assert made.verify(path, 0) == ()
    shifted(path, "w", "float64", 7, lambda w: w * (1 + 1e-5))
    assert [difference.index for difference in made.verify(path, 0)] == [(7,)]


def test_logarithms_are_compared_relative_to_the_greatest_weight(tmp_path):
    made = plan([Parameter("w", (300,))], logarithm(uniform(1.0, 16.0)))
    (path,) = made.write(tmp_path, 0)
    shifted(path, "w", "float32", 7, lambda w: w + np.float32(1e-6))
    assert made.verify(path, 0) == ()
    shifted(path, "w", "float32", 7, lambda w: w + np.float32(1e-5))
    assert [difference.index for difference in made.verify(path, 0)] == [(7,)]


@pytest.mark.parametrize(("at", "indices"), [(0, ()), (40, ((5, 0),))])
def test_weights_beside_products_of_matrices_are_compared_by_their_bits(tmp_path, at, indices):
    halves = parts({"q": (1, orthogonal()), "k": (1, normal())})
    made = plan([Parameter("qk", (8, 8), axes="OI")], {"qk": halves})
    (path,) = made.write(tmp_path, 0)
    shifted(path, "qk", "float32", at, lambda w: np.nextafter(w, np.float32(9)))
    assert tuple(difference.index for difference in made.verify(path, 0)) == indices


def test_names_from_files_are_escaped(tmp_path):
    header = Header.of({"a\x1b[31m\nforged": ("float32", (1,))}, {})
    (tmp_path / "model.safetensors").write_bytes(header.to_bytes() + bytes(4))
    texts = [str(difference) for difference in plan([], {}).verify(tmp_path, 0)]
    assert texts == [r"'a\x1b[31m\nforged' is not in the plan"]


def test_other_names_shapes_and_dtypes_are_differences(tmp_path):
    written = plan([Parameter("a", (3,)), Parameter("b", (4, 2)), Parameter("c", (5,), "float16")], normal())
    written.write(tmp_path, 0)
    asked = plan([Parameter("a", (3,), "bfloat16"), Parameter("b", (8,)), Parameter("d", (1,))], normal())
    assert [str(difference) for difference in asked.verify(tmp_path, 0)] == [
        "'c' is not in the plan",
        "'a' has dtype float32, but the plan has bfloat16",
        "'b' has shape (4, 2), but the plan has (8,)",
        "'d' is missing",
    ]


def test_kept_tensors_are_not_compared(tmp_path):
    plan([Parameter("a", (3,)), Parameter("b", (4,))], normal()).write(tmp_path, 0)
    parameters = [Parameter("a", (3,)), Parameter("b", (4,)), Parameter("gone", (5,), "int64")]
    assert plan(parameters, {"a": normal(), "*": keep}).verify(tmp_path, 1)[0].name == "a"
    assert plan(parameters, {"a": normal(), "*": keep}).verify(tmp_path, 0) == ()
    parameters[1] = Parameter("b", (5,))
    assert [difference.name for difference in plan(parameters, {"a": normal(), "*": keep}).verify(tmp_path, 0)] == ["b"]


def test_filled_parts_of_partly_kept_tensors_are_compared(tmp_path):
    qk = Parameter("qk", (4, 2))
    plan([qk], normal()).write(tmp_path, 0)
    half = plan([qk], {"*": parts({"q": (1, keep), "k": (1, normal())})})
    assert half.verify(tmp_path, 0) == (Difference("qk", "has other values", (2, 0)),)
    path = tmp_path / "model.safetensors"
    for byte, value in enumerate(half.draw_one("qk", 0, slice(2, 4), np.empty((2, 2), "f4")).tobytes()):
        change(path, "qk", 16 + byte, value)
    assert half.verify(tmp_path, 0) == ()


def test_tied_tensors_count_under_any_of_their_names(tmp_path):
    tensor = Parameter("embed", (6, 4))
    tied = plan([Parameter("embed", (6, 4), tied=("head",))], normal())
    drawn = tied.draw_one("embed", 0)
    for names in (("embed",), ("head",), ("embed", "head")):
        header = Header.of(dict.fromkeys(names, ("float32", (6, 4))), {})
        path = tmp_path / "model.safetensors"
        path.write_bytes(header.to_bytes() + drawn.tobytes() * len(names))
        assert tied.verify(path, 0) == ()
    path.write_bytes(header.to_bytes() + drawn.tobytes() + bytes(drawn.nbytes))
    assert [difference.name for difference in tied.verify(path, 0)] == ["head"]
    assert [str(difference) for difference in plan([tensor], normal()).verify(path, 0)] == ["'head' is not in the plan"]


def test_missing_and_broken_files_are_named_and_the_others_are_compared(folder):
    first, second, third = sorted(folder.glob("*.safetensors"))
    first.unlink()
    second.write_bytes(struct.pack("<Q", 2**63))
    texts = [str(difference) for difference in everything().verify(folder, 5)]
    assert texts[0] == f"{first.name!r} is missing"
    assert texts[1].startswith(f"{second.name!r} cannot be read: {second} is not a safetensors file: ")
    assert len(texts) == 2  # tensors of these files have no second difference
    change(third, min(Header.read(third).tensors), 0, 0xA5)
    assert len(everything().verify(folder, 5)) == 3
    third.write_bytes(b"")
    assert len(everything().verify(third, 5)) == 1


def test_tensors_outside_of_their_indexed_file_are_differences(folder):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    first, second = sorted(set(index["weight_map"].values()))[:2]
    name = next(name for name, file in index["weight_map"].items() if file == first)
    index["weight_map"][name] = second
    path.write_text(json.dumps(index))
    assert {str(difference) for difference in everything().verify(folder, 5)} == {
        f"{name!r} is in {first}, where the index does not place it",
        f"{name!r} is not in {second}, where the index places it",
    }


def test_a_tensor_in_two_files_is_a_difference(folder):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    first = min(index["weight_map"].values())
    shutil.copy(folder / first, folder / "copy.safetensors")
    index["weight_map"]["other"] = "copy.safetensors"
    path.write_text(json.dumps(index))
    texts = [str(difference) for difference in everything().verify(folder, 5)]
    assert f"'embed.weight' is in {first} and in copy.safetensors" in texts


def test_progress_is_reported(folder):
    seen = []
    everything().verify(folder, 5, progress=lambda *both: seen.append(both))
    total = sum(entry.parameter.bytes for entry in everything().entries)
    assert seen[-1] == (total, total)
    assert np.all(np.diff([done for done, _ in seen]) >= 0)


def test_a_path_without_a_checkpoint_is_an_error(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"must hold model.safetensors or model.safetensors.index.json, got neither"
    ):
        everything().verify(tmp_path, 5)
    with pytest.raises(FileNotFoundError):
        everything().verify(tmp_path / "model.safetensors.index.json", 5)
    assert [str(each) for each in plan([], {}).verify(tmp_path / "w.safetensors", 5)] == ["'w.safetensors' is missing"]


def test_a_model_in_place_of_a_path_is_an_error_that_names_the_adapter():
    model = type("Linear", (), {"__module__": "torch.nn.modules.linear"})()
    message = (
        "path must be the path of a checkpoint, got Linear. "
        "For a model: initlib.adapters.torch.verify(model, plan, seed)"
    )
    with pytest.raises(TypeError, match=re.escape(message)):
        everything().verify(model, seed=0)


def test_a_file_that_loses_its_end_during_the_comparison_is_an_error(tmp_path):
    made = plan([Parameter("first", (8,)), Parameter("last", (8,))], normal())
    (path,) = made.write(tmp_path, 0)
    with pytest.raises(ValueError, match="is truncated"):
        made.verify(path, 0, progress=lambda done, total: path.write_bytes(path.read_bytes()[:-4]))
