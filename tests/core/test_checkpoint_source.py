"""Checkpoint sources: boxes of tensors on disk, the bytes that are read for them, and files that change."""

import io
import os
import pickle

import numpy as np
import pytest
from checkpoints import save, save_index
from hypothesis import given
from hypothesis import strategies as st
from strategies import small_boxes

from initlib.files import checkpoint_source as module
from initlib.files.checkpoint_source import CheckpointSource, read_box
from initlib.stream.boxes import full_box, normalize_index

ROWS = np.arange(600, dtype=np.float32).reshape(20, 30)


class Counted(io.BytesIO):
    """A file in memory that counts the bytes and the calls of `readinto`."""

    count = calls = 0

    def readinto(self, buffer):
        self.calls += 1
        self.count += len(buffer)
        return super().readinto(buffer)


@given(small_boxes(), st.sampled_from([0, 4, 12, 60, 512]), st.sampled_from([1, 16, 64, 2**20]))
def test_a_box_of_a_file_is_the_box_of_the_array(case, gap, band):
    shape, _, index = case
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    box = normalize_index(index, shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GAP", gap)
        patch.setattr(module, "BAND", band)
        read = read_box(io.BytesIO(b"header" + array.tobytes()), 6, shape, array.dtype, box)
    kept = tuple(0 if part.drop else slice(None) for part in box)
    assert np.array_equal(read[kept], array[index])


@pytest.mark.parametrize(
    ("shape", "index", "elements", "calls"),
    [
        ((64, 1000), slice(10, 20), 10_000, 1),  # rows lie together
        ((64, 1000), (slice(None), slice(100, 400)), 64 * 300, 64),  # a call for each row
        ((64, 1000), (slice(0, 64, 2), slice(100, 400)), 32 * 300, 32),
        ((64, 100), (slice(None), slice(10, 40)), 6400, 1),  # short rows are read in full
        ((4, 8, 1000), (1, 2, slice(5, 7)), 2, 1),
        ((4, 8, 1000), (slice(1, 3), 2), 2000, 2),
        ((64, 1000), (slice(None, None, -1),), 64_000, 1),
        ((5000,), slice(None, None, 100), 4901, 1),  # gaps of at most GAP bytes
        ((5000,), slice(None, None, 1000), 5, 5),
        ((), (), 1, 1),
        ((0, 7), (), 0, 0),
    ],
)
def test_the_bytes_of_a_box_are_read_and_no_others(shape, index, elements, calls):
    array = np.random.default_rng(0).normal(size=shape).astype("float32")
    file = Counted(array.tobytes())
    box = normalize_index(index, shape)
    read = read_box(file, 0, shape, array.dtype, box)
    assert np.array_equal(read.reshape(array[index].shape), array[index])
    assert (file.count, file.calls) == (4 * elements, calls)


def test_large_boxes_are_read_in_bands(monkeypatch):
    monkeypatch.setattr(module, "BAND", 400)
    file = Counted(ROWS.tobytes())
    assert np.array_equal(
        read_box(file, 0, ROWS.shape, ROWS.dtype, normalize_index(slice(2, 20), ROWS.shape)), ROWS[2:]
    )
    assert (file.count, file.calls) == (18 * 120, 6)


def test_tensors_of_a_file_of_an_index_and_of_a_folder(tmp_path):
    files = {"a.safetensors": {"x": ROWS}, "b.safetensors": {"y": ROWS.T.copy(), "z": np.float16(3)}}
    save_index(tmp_path, files)
    for path in (tmp_path, tmp_path / "model.safetensors.index.json"):
        source = CheckpointSource(path)
        assert sorted(source.tensors) == ["x", "y", "z"]
        assert source.size == sum((tmp_path / name).stat().st_size for name in files)
        for arrays in files.values():
            for name, array in arrays.items():
                place = source.tensors[name]
                assert (place.dtype, place.shape) == (array.dtype.name, array.shape)
                assert np.array_equal(source.read(name, full_box(array.shape)), array)


def test_an_index_that_gives_a_tensor_to_the_wrong_file(tmp_path):
    save_index(tmp_path, {"a.safetensors": {"x": ROWS, "y": ROWS}})
    save(tmp_path / "a.safetensors", {"x": ROWS})
    with pytest.raises(ValueError, match="must hold the tensor 'y', as its index states"):
        CheckpointSource(tmp_path)


def test_the_digest_is_that_of_the_headers(tmp_path):
    first = CheckpointSource(save(tmp_path / "a", {"x": ROWS}))
    other_values = CheckpointSource(save(tmp_path / "b", {"x": ROWS + 1}))
    other_name = CheckpointSource(save(tmp_path / "c", {"y": ROWS}))
    assert first.digest == other_values.digest != other_name.digest
    assert first.size == other_values.size


def replace(path):
    save(path.with_name("new"), {"x": ROWS}).replace(path)


def touch(path):
    os.utime(path, (1, 1))


def shrink(path):
    path.write_bytes(path.read_bytes()[:-4])


@pytest.mark.parametrize("change", [replace, touch, shrink])
def test_a_file_that_changes_is_an_error(tmp_path, change):
    path = save(tmp_path / "w", {"x": ROWS})
    source = CheckpointSource(path)
    source.check_unchanged("x")
    change(path)
    for read in (lambda: source.read("x", full_box(ROWS.shape)), lambda: source.check_unchanged("x")):
        with pytest.raises(ValueError, match="must stay as it was when its header was read"):
            read()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        source.read("x", full_box(ROWS.shape))


def test_a_file_that_changes_during_a_read_is_an_error(tmp_path, monkeypatch):
    path = save(tmp_path / "w", {"x": ROWS})
    source = CheckpointSource(path)

    def read_and_touch(*arguments):
        touch(path)
        return ROWS

    monkeypatch.setattr(module, "read_box", read_and_touch)
    with pytest.raises(ValueError, match="must stay as it was"):
        source.read("x", full_box(ROWS.shape))


def test_a_file_that_changes_while_its_header_is_read_is_an_error(tmp_path, monkeypatch):
    path = save(tmp_path / "w", {"x": ROWS})
    read = module.Header.read
    monkeypatch.setattr(module.Header, "read", lambda file: (read(file), touch(path))[0])
    with pytest.raises(ValueError, match="must stay as it was"):
        CheckpointSource(path)


def test_a_file_that_ends_early_is_an_error():
    with pytest.raises(ValueError, match="is truncated"):
        read_box(io.BytesIO(b"1234567"), 0, (2,), np.dtype("f4"), full_box((2,)))


def test_a_relative_path_stays_the_same_file_in_another_folder(tmp_path, monkeypatch):
    save(tmp_path / "w", {"x": ROWS})
    monkeypatch.chdir(tmp_path)
    source = CheckpointSource("w")
    monkeypatch.chdir("/")
    assert np.array_equal(pickle.loads(pickle.dumps(source)).read("x", full_box(ROWS.shape)), ROWS)
