"""Readers: hostile and damaged files run no code, and use little memory."""

import io
import os
import pickle
import struct
import sys
import zipfile

import numpy as np
import pytest
from read_files import check_error, read_all, whole_of

from initlib import Parameter, Plan, PlanError, loaded, plan
from initlib.checkpoints.like import like
from initlib.files.readers.open_file import open_tensors
from initlib.files.readers.stored_tensor import UnmeasuredError


class Bomb:
    """An object whose unpickling ends the process."""

    def __reduce__(self):
        return (sys.exit, (17,))


def test_nothing_is_executed(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": Bomb()}, tmp_path / "bomb.pt")
    check_error(tmp_path / "bomb.pt", "cannot be read without running its code, or is broken")
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb()))
    check_error(tmp_path / "bomb.pkl", "cannot be read without running its code")
    np.save(tmp_path / "bomb.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    check_error(tmp_path / "bomb.npy", "holds no numbers, and a pickle in the array could run code")
    np.savez(tmp_path / "bomb.npz", w=np.array([Bomb()], dtype=object))
    check_error(tmp_path / "bomb.npz", "holds no numbers")


@pytest.mark.parametrize("kind", ["npz", "npy", "pt", "h5", "keras", "safetensors"])
def test_truncated_files_are_errors(tmp_path, kind, request):
    path = tmp_path / f"w.{kind}"
    array = np.random.default_rng(0).normal(size=(64, 64))
    if kind == "npz":
        np.savez(path, w=array)
    elif kind == "npy":
        np.save(path, array)
    elif kind == "pt":
        torch = pytest.importorskip("torch")
        torch.save({"w": torch.from_numpy(array)}, path)
    elif kind == "safetensors":
        pytest.importorskip("safetensors.numpy").save_file({"w": array}, path)
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "inside", "w") as file:
            file["w"] = array
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(tmp_path / "inside", "model.weights.h5")
        if kind == "h5":
            path = (tmp_path / "inside").rename(path)
    content = path.read_bytes()
    for length in (0, 4, 9, 40, len(content) // 3, len(content) - 200):
        path.write_bytes(content[:length])
        check_error(path)
        with pytest.raises(PlanError):
            planned(path)


def test_changed_bytes_are_errors_or_other_numbers(tmp_path):
    """Each change gives a clear error, or other numbers."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, w=np.random.default_rng(0).normal(size=(16, 16)))
    content = bytearray(buffer.getvalue())
    rng = np.random.default_rng(1)
    failed = 0
    for _ in range(200):
        changed = bytearray(content)
        changed[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        (tmp_path / "w.npz").write_bytes(changed)
        try:
            read_all(tmp_path / "w.npz")
        except ValueError:
            failed += 1
    assert failed > 100


def test_headers_with_wrong_sizes_are_errors(tmp_path):
    path = tmp_path / "w.npy"
    for header in (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999, 9999999999999), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os').abort(), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (100000, 100000), }",
        "[" * 5000,
    ):
        text = header.encode().ljust(118) + b"\n"
        path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64))
        check_error(path)
    path.write_bytes(b"\x93NUMPY\x09\x00" + bytes(64))
    check_error(path, r"got \(9, 0\)")
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{" + bytes(64))
    check_error(tmp_path / "w.safetensors", "ends before its header")


def test_archives_with_wrong_sizes_are_errors(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", bytes(10**7))
    check_error(path, "compresses the member 'w/data.pkl'")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", bytes(10**8 + 1))
    check_error(path, "of 100000001 bytes, more than 100000000")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(10**6))
    check_error(path, "compresses model.weights.h5, which Keras does not do")
    assert torch


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs")
@pytest.mark.parametrize("name", ["w", "w.json", "model.safetensors.index.json", "model.safetensors", "plan.json"])
def test_a_fifo_is_an_error(tmp_path, name):
    path = tmp_path / name
    os.mkfifo(path)
    sources = [path, tmp_path] if name.startswith("model") else [path]
    for source in sources:
        for read in (read_all, like, verified, planned):
            with pytest.raises(ValueError, match="must be a regular file, got a folder, a FIFO or a device"):
                read(source)
    with pytest.raises(ValueError, match="must be a regular file"):
        Plan.load(path)


def planned(path):
    """Make a plan that loads a tensor of a checkpoint."""
    return plan([Parameter("w", (64, 64), "float64")], {"w": loaded(path)})


def verified(path):
    """Raise ValueError for the differences of a checkpoint from an empty plan."""
    raise ValueError(*map(str, plan([], {}).verify(path, 0)))


def entries_over_one_member(path, count):
    """Write a zip archive of many entries that all are one member."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((100, 100)))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", buffer.getvalue())
    content = path.read_bytes()
    start = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    directory = content[start:end] * count
    tail = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(directory), start, 0)
    path.write_bytes(content[:start] + directory + tail)


def test_an_archive_of_many_entries_over_one_member_is_refused(tmp_path):
    entries_over_one_member(tmp_path / "w.npz", 500)
    check_error(tmp_path / "w.npz", "the member 'w.npy' overlaps another")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_numpy_does_not_use_is_refused(tmp_path, compression):
    with zipfile.ZipFile(tmp_path / "w.npz", "w", compression) as archive:
        archive.writestr("w.npy", b"")
    check_error(tmp_path / "w.npz", "compresses 'w.npy' as NumPy does not")


def test_a_small_file_that_unpacks_to_much_is_not_measured(tmp_path):
    np.savez_compressed(tmp_path / "w.npz", small=np.ones(3), large=np.zeros(2**23), last=np.ones(3))
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("large", data=np.zeros(2**23), compression="gzip")
    for name in ("w.npz", "w.h5"):
        for tensor in open_tensors(tmp_path / name)[1]:
            if tensor.name == "small":
                assert whole_of(tensor).tolist() == [1, 1, 1]
                continue
            with pytest.raises(UnmeasuredError, match="unpacks to more than 100 times its size"):
                list(tensor.pieces())
