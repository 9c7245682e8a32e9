"""A plan of the tensors of a checkpoint on disk."""

import json
import tracemalloc

import pytest
from checkpoints import everything

from initlib import Parameter, PlanError, glorot_normal, keep, loaded, normal, ones, plan
from initlib.checkpoints.like import like, parameters
from initlib.files.folder import checkpoint_files
from initlib.files.header import BITS, CODES, Header


@pytest.fixture
def folder(tmp_path):
    everything().write(tmp_path, 5, max_shard_size="8KB")
    return tmp_path


def test_names_shapes_and_dtypes_come_from_the_headers(folder):
    expected = {(entry.parameter.name, entry.parameter.shape, entry.parameter.dtype) for entry in everything().entries}
    for path in (folder, folder / "model.safetensors.index.json"):
        assert {(each.name, each.shape, each.dtype) for each in parameters(path)} == expected
    one = {each.name for each in parameters(folder / "model-00001-of-00003.safetensors")}
    assert one < {name for name, _, _ in expected}


def test_rules_axes_and_dtype_apply(folder):
    rules = [("*norm*", ones), ("*.qkv.*", glorot_normal), ("*", normal(std=0.02))]
    made = like(folder, rules, axes={"*.qkv.*": "(3 O)I"}, dtype="float64")
    assert {entry.parameter.dtype for entry in made.entries} == {"float64"}
    assert made["layers.0.norm.weight"].pieces[0].initializer == ones
    assert made["layers.0.qkv.weight"].pieces[0].axes == "(3 O)I"
    with pytest.raises(PlanError, match="needs to know which of the"):
        like(folder, rules)
    with pytest.raises(TypeError, match="dtype must be one of"):
        like(folder, rules, dtype="int8")


def test_kinds_are_given_by_pattern(folder):
    made = like(folder, {"*:scale": ones, "*": normal()}, kinds={"*norm*": "scale", "*.qkv.*": "Kernel"})
    kinds = {entry.parameter.name: entry.parameter.kind for entry in made.entries}
    assert (kinds.pop("layers.0.norm.weight"), kinds.pop("layers.0.qkv.weight")) == ("scale", "kernel")
    assert set(kinds.values()) == {"other"}
    with pytest.raises(ValueError, match="must be one of kernel, recurrent"):
        like(folder, normal(), kinds={"*": "weight"})
    with pytest.raises(ValueError, match=r"the first to match a tensor, got 'none.\*'"):
        like(folder, normal(), kinds={"none.*": "scale"})


def test_tensors_that_are_not_floating_point_are_kept(tmp_path):
    path = tmp_path / "model.safetensors"
    codes = [code for code in CODES if BITS[code] >= 8]
    text = json.dumps(
        {
            code: {"dtype": code, "shape": [1], "data_offsets": [sum(BITS[c] for c in codes[:k]) // 8] * 2}
            for k, code in enumerate(codes)
        }
    )
    entries = json.loads(text)
    at = 0
    for code in codes:
        entries[code]["data_offsets"] = [at, at + BITS[code] // 8]
        at += BITS[code] // 8
    text = json.dumps(entries).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(at))
    made = like(path, {"*F*": normal(), "C64": normal()}, dtype="bfloat16")
    kept = {entry.parameter.name for entry in made.entries if entry.kept}
    assert kept == {"BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64"}
    assert {entry.parameter.dtype for entry in made.entries if not entry.kept} == {"bfloat16"}
    with pytest.raises(PlanError, match=r"F8_E4M3FNUZ: dtype must be one of"):
        like(path, {"*F*": normal(), "C64": normal()})
    assert made["I64"].filling is keep


def index(folder, text):
    (folder / "model.safetensors.index.json").write_bytes(text)
    return folder


def test_all_files_of_an_index_are_read(tmp_path):
    text = b'{"metadata": {"total_size": 3, "more": [1]}, "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}'
    assert checkpoint_files(index(tmp_path, text)) == {
        tmp_path / "1.safetensors": ["a"],
        tmp_path / "2.safetensors": ["b"],
    }
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ValueError, match=r"must hold one of model.safetensors and model.safetensors.index.json"):
        checkpoint_files(tmp_path)


def planned(path):
    """Make a plan that loads a tensor of a checkpoint."""
    return plan([Parameter("a", (2, 3))], {"a": loaded(path)})


@pytest.mark.parametrize("read", [checkpoint_files, planned])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "Expecting value"),
        (b"[]", "must be a JSON object, got a list"),
        (b"{}", "has no object weight_map"),
        (b'{"weight_map": []}', "has no object weight_map"),
        (b'{"weight_map": {"a": 1}}', "in the folder of the index, got '1'"),
        (b'{"weight_map": {"a": "x.safetensors", "a": "x.safetensors"}}', "has the name 'a' twice"),
        (b'{"weight_map": {}, "weight_map": {}}', "has the name 'weight_map' twice"),
        (b'{"weight_map": {"\\ud800": "x.safetensors"}}', r"must be text that UTF-8 can write, got '\\ud800'"),
        (b'{"weight_map":' * 10**5, "nested too deeply"),
        *(
            (b'{"weight_map": {"a": "' + name + b'"}}', "in the folder of the index, got")
            for name in (
                b"../x.safetensors",
                b"/x.safetensors",
                b"..\\\\x.safetensors",
                b"x.bin",
                b"x\\u0000.safetensors",
                b"C:x.safetensors",
                b"x\\u001b[2J.safetensors",
            )
        ),
    ],
)
def test_a_broken_index_is_an_error(tmp_path, text, words, read):
    with pytest.raises(ValueError, match=words) as caught:
        read(index(tmp_path, text))
    assert "is not the index of a checkpoint" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_large_index_is_not_read(tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="has more than 100000000 bytes"):
            checkpoint_files(path)
        assert tracemalloc.get_traced_memory()[1] < 110_000_000
    finally:
        tracemalloc.stop()


def test_a_checkpoint_of_a_plan_gives_an_equal_plan(tmp_path):
    made = everything()
    (path,) = made.write(tmp_path, 0)
    assert plan(parameters(path), normal()).verify(path, 0) != ()
    assert {each.name for each in parameters(path)} == set(Header.read(path).tensors)
