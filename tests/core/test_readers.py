"""Readers: files of NumPy and safetensors, pieces of a tensor, and files that no reader opens."""

import sys

import numpy as np
import pytest
from read_files import ARRAYS, check, check_error, whole_of

from initlib.files.header import Header
from initlib.files.readers.open_file import open_tensors
from initlib.files.readers.stored_tensor import StoredTensor, UnmeasuredError


def test_pieces_of_a_tensor_are_its_rows():
    tensor = StoredTensor.of("w", np.arange(35.0).reshape(7, 5))
    assert [len(piece) for piece in tensor.pieces(10)] == [2, 2, 2, 1]
    assert [len(piece) for piece in tensor.pieces(1)] == 7 * [1]
    assert np.array_equal(whole_of(tensor), np.arange(35.0).reshape(7, 5))
    assert np.array_equal(whole_of(StoredTensor.of("s", np.array(3.0))), 3.0)
    swapped = StoredTensor.of("w", np.arange(3, dtype=">f4"))
    assert whole_of(swapped).dtype.isnative
    long = StoredTensor("w", (1, 2**40), "float32", lambda rows: iter(()))
    with pytest.raises(UnmeasuredError, match="the rows of 1099511627776 numbers are too long to be read"):
        long.pieces()


@pytest.mark.parametrize("compressed", [False, True])
def test_npz_files_are_read(tmp_path, compressed):
    path = tmp_path / "any_name"
    with path.open("wb") as file:
        (np.savez_compressed if compressed else np.savez)(file, **ARRAYS)
    check(path, "...IO")


def test_npy_files_are_read(tmp_path):
    for order in "CF":
        np.save(tmp_path / "w.npy", np.asarray(ARRAYS["d"], order=order))
        check(tmp_path / "w.npy", "...IO", {"w": ARRAYS["d"]})


def test_safetensors_files_are_read(tmp_path):
    save_file = pytest.importorskip("safetensors.numpy").save_file
    save_file(ARRAYS, tmp_path / "model.safetensors")
    check(tmp_path / "model.safetensors", "OI...")
    check(tmp_path, "OI...")


def test_narrow_floats_of_safetensors_are_read_exactly(tmp_path):
    torch = pytest.importorskip("torch")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    from safetensors.torch import save_file

    values = torch.tensor([[1.5, -2.0], [0.25, 3.0]])
    save_file({"b": values.bfloat16(), "f": values.to(torch.float8_e4m3fn)}, tmp_path / "w.safetensors")
    read = {tensor.name: (tensor.dtype, whole_of(tensor)) for tensor in open_tensors(tmp_path / "w.safetensors")[1]}
    assert {name: dtype for name, (dtype, _) in read.items()} == {"b": "bfloat16", "f": "float8_e4m3fn"}
    assert all(np.array_equal(array, values.numpy()) for _, array in read.values())
    assert ml_dtypes


def test_more_axes_than_numpy_has_are_not_measured(tmp_path):
    header = Header.of({"w": ("float32", (1,) * 65)}, {})
    (tmp_path / "w").write_bytes(header.to_bytes() + bytes(4))
    (tensor,) = open_tensors(tmp_path / "w")[1]
    with pytest.raises(UnmeasuredError, match="the tensor has 65 axes, more than 64"):
        list(tensor.pieces())


def test_files_of_other_formats_are_errors(tmp_path):
    (tmp_path / "text").write_text("some words, no tensors at all")
    check_error(tmp_path / "text", "must be a safetensors, .npy, .npz, .keras or HDF5 file, or a checkpoint of PyTorch")
    with pytest.raises(FileNotFoundError):
        open_tensors(tmp_path / "missing.pt")


@pytest.mark.parametrize(("package", "magic"), [("torch", b"\x80\x02"), ("h5py", b"\x89HDF\r\n\x1a\n")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, magic):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "w").write_bytes(magic + bytes(20))
    with pytest.raises(ImportError, match=f"pip install {package}"):
        list(open_tensors(tmp_path / "w")[1])
