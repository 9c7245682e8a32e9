"""Files of a plan: their tensors, names and metadata."""

import json

import pytest
from checkpoints import LLAMA_RULES, everything, llama
from hypothesis import given
from hypothesis import strategies as st

import initlib
from initlib import Key, Parameter, constant, keep, normal, parts, plan
from initlib.checkpoints.shards import index, parse_size, shards

KEY = Key(7)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.integers(1, 50))
def test_files_have_the_names_of_hugging_face(sizes, most):
    serialization = pytest.importorskip("huggingface_hub.serialization")
    made = plan([Parameter(f"w{k}", (size,)) for k, size in enumerate(sizes)], normal())
    files = shards(made.entries, KEY, 4 * most)
    state = {f"w{k}": 4 * size for k, size in enumerate(sizes)}
    expected = serialization.split_state_dict_into_shards_factory(
        state,
        get_storage_size=int,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=4 * most,
    )
    assert {shard.name: list(shard.entries) for shard in files} == expected.filename_to_tensors
    if expected.is_sharded:
        assert json.loads(index(files)) == {"metadata": expected.metadata, "weight_map": expected.tensor_to_filename}


def test_one_file_has_no_index():
    (file,) = shards(everything().entries, KEY, "5GB")
    assert (file.name, index((file,))) == ("model.safetensors", None)
    assert set(file.header.tensors) == {entry.parameter.name for entry in everything().entries}


def test_the_metadata_states_the_origin():
    def metadata(made, key=KEY):
        return shards(made.entries, key, "5GB")[0].header.metadata

    one, same, other = everything(), initlib.Plan.from_json(everything().to_json()), plan([], {})
    other = plan([Parameter("w", (3,))], normal())
    assert metadata(one) == metadata(same)
    assert metadata(one)["initlib.plan"] != metadata(other)["initlib.plan"]
    digest = metadata(one).pop("initlib.plan")
    assert len(digest) == 64
    rest = {key: value for key, value in metadata(one).items() if key != "initlib.plan"}
    assert rest == {"format": "pt", "initlib": initlib.__version__, "initlib.seed": "7", "initlib.stream": "1"}


def test_plans_that_no_file_can_hold_are_errors():
    with pytest.raises(ValueError, match="a plan that keeps all its tensors"):
        shards(plan([Parameter("w", (3,))], {"*": keep}).entries, KEY, "5GB")
    half = parts({"a": (1, keep), "b": (1, normal())})
    with pytest.raises(ValueError, match="every part of qk must have an initializer"):
        shards(plan([Parameter("qk", (4, 2))], {"*": half}).entries, KEY, "5GB")
    with pytest.raises(ValueError, match="__metadata__"):
        shards(plan([Parameter("__metadata__", (3,))], normal()).entries, KEY, "5GB")


def test_kept_tensors_are_in_no_file():
    made = plan([Parameter("a", (3,)), Parameter("b", (3,))], {"a": keep, "b": constant(1.0)})
    assert list(shards(made.entries, KEY, "5GB")[0].header.tensors) == ["b"]


@pytest.mark.parametrize(
    ("size", "count"), [("5GB", 5 * 10**9), ("1.5 MB", 1_500_000), ("3kb", 3000), ("2TB", 2 * 10**12), (1, 1), ("7", 7)]
)
def test_sizes_are_parsed(size, count):
    assert parse_size(size) == count


@pytest.mark.parametrize("size", ["", "GB", "-1GB", "5GiB", "5 G", "0", 0, -3, 1.5e400, "1e9", True, None, "٣GB"])
def test_wrong_sizes_are_errors(size):
    with pytest.raises(ValueError, match="max_shard_size must be a number of bytes, or a text such as '5GB'"):
        parse_size(size)


def test_a_model_of_eight_billion_weights_is_split_at_once():
    made = initlib.Plan.from_json(plan(llama(), LLAMA_RULES).to_json())
    files = shards(made.entries, KEY, "5GB")
    assert [shard.name for shard in files] == [f"model-0000{k}-of-00004.safetensors" for k in (1, 2, 3, 4)]
    assert sum(len(shard.header.tensors) for shard in files) == 291
    total = sum(shard.header.size - shard.header.data for shard in files)
    assert json.loads(index(files))["metadata"] == {"total_size": total}
    assert total == 2 * 8_030_261_248
    assert "8,030,261,248 weights" in str(made)
