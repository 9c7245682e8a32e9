"""Readers: HDF5 files, as Keras writes them."""

import zipfile

import numpy as np
import pytest
from read_files import ARRAYS, check, whole_of

from initlib import audit
from initlib.files.readers import hdf5_file
from initlib.files.readers.open_file import open_tensors
from initlib.files.readers.stored_tensor import UnmeasuredError


@pytest.fixture
def hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/dense")
        group["kernel"] = ARRAYS["a.weight"]
        group.create_dataset("packed", data=np.tile(ARRAYS["a.weight"], (9, 1)), compression="gzip", chunks=(20, 30))
        file["scalar"] = 2.5
    return path


def test_hdf5_files_are_read(hdf5):
    arrays = {
        "layers.dense.kernel": ARRAYS["a.weight"],
        "layers.dense.packed": np.tile(ARRAYS["a.weight"], (9, 1)),
        "scalar": np.float64(2.5),
    }
    check(hdf5, "...IO", arrays)
    keras = hdf5.with_suffix(".keras")
    with zipfile.ZipFile(keras, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(hdf5, "model.weights.h5")
    check(keras, "...IO", arrays)


def test_hdf5_data_in_other_files_is_not_read(hdf5, tmp_path, monkeypatch):
    import h5py

    with h5py.File(tmp_path / "hostile.h5", "w") as file:
        file["linked"] = h5py.ExternalLink(str(hdf5), "/scalar")
        file["soft"] = h5py.SoftLink("/nowhere")
        file.create_dataset("external", (4,), "f4", external=[(str(hdf5), 0, 16)])
        layout = h5py.VirtualLayout((20, 30), "f4")
        layout[:] = h5py.VirtualSource(str(hdf5), "layers/dense/kernel", (20, 30))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("never_written", (10**6, 10**6), "f4", chunks=(1000, 1000))
        file["empty"] = h5py.Empty("f4")
        file.create_dataset("large_chunk", data=np.ones((300, 300)), chunks=(300, 300))
        file["text"] = "words"
    monkeypatch.setattr(hdf5_file, "LARGEST", 10**5)
    reasons = {}
    for tensor in open_tensors(tmp_path / "hostile.h5")[1]:
        with pytest.raises(UnmeasuredError) as error:
            list(tensor.pieces())
        reasons[tensor.name] = str(error.value)
    assert reasons["external"] == reasons["virtual"] == "the dataset is in other files, which are not read"
    assert "most were never written" in reasons["never_written"]
    assert reasons["large_chunk"] == "the dataset has chunks of (300, 300), too large to be read"
    assert reasons["text"] == reasons["empty"] == "the dataset holds no numbers"
    assert "linked" not in reasons


def test_tall_chunks_of_hdf5_are_unpacked_once(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    values = np.arange(6000.0).reshape(600, 10)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("w", data=values, chunks=(250, 5), compression="gzip")
    calls = []
    read = hdf5_file._read
    monkeypatch.setattr(hdf5_file, "_read", lambda *arguments: calls.append(arguments[1]) or read(*arguments))
    for tensor in open_tensors(tmp_path / "w.h5")[1]:
        pieces = list(tensor.pieces(30))
        assert {len(piece) for piece in pieces} <= {1, 2, 3}
        assert np.array_equal(np.concatenate(pieces), values)
    assert calls == [slice(0, 250), slice(250, 500), slice(500, 750)]


def test_filters_of_hdf5_that_unpack_twice_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((100,))
        properties.set_deflate(6)
        properties.set_deflate(6)
        space = h5py.h5s.create_simple((100,))
        h5py.Dataset(h5py.h5d.create(file.id, b"w", h5py.h5t.NATIVE_DOUBLE, space, properties))[...] = np.ones(100)
    (tensor,) = open_tensors(tmp_path / "w.h5")[1]
    with pytest.raises(UnmeasuredError, match=r"packed by filters other than gzip, .* or by several filters"):
        list(tensor.pieces())


def test_names_and_types_of_hdf5_that_python_lacks_are_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        space = h5py.h5s.create_simple((2, 2))
        h5py.Dataset(h5py.h5d.create(file.id, b"w\xff", h5py.h5t.NATIVE_DOUBLE, space))[...] = np.ones((2, 2))
        file["bits"] = "a text"
    names = []
    for tensor in open_tensors(tmp_path / "w.h5")[1]:
        names.append(tensor.name)
        if tensor.name == "bits":
            with pytest.raises(UnmeasuredError, match="holds no numbers"):
                list(tensor.pieces())
        else:
            assert whole_of(tensor).tolist() == [[1, 1], [1, 1]]
    assert names == ["bits", "w\udcff"]
    assert r"w\udcff" in str(audit(tmp_path / "w.h5"))


def test_a_type_of_hdf5_that_numpy_lacks_costs_one_tensor(tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["a"], file["b"] = np.ones(3), np.ones(3)

    def no_type(dataset):
        if dataset.name == "/a":
            raise TypeError("No NumPy equivalent for a type")
        return np.dtype("f8")

    monkeypatch.setattr(h5py.Dataset, "dtype", property(no_type))
    tests = [tensor.test for tensor in audit(tmp_path / "w.h5").tensors]
    assert tests == [
        "not measured: the dataset holds no numbers: No NumPy equivalent for a type",
        "all weights are equal",
    ]
