"""Readers: tensors of files of every kind, and hostile files."""

import io
import os
import pickle
import struct
import sys
import zipfile

import numpy as np
import pytest

from initlib import Parameter, Plan, PlanError, audit, loaded, plan
from initlib.checkpoints.like import like
from initlib.files.header import Header
from initlib.files.readers import hdf5_file
from initlib.files.readers.open_file import open_tensors
from initlib.files.readers.stored_tensor import StoredTensor, UnmeasuredError
from initlib.files.readers.torch_file import named_tensors

ARRAYS = {
    "a.weight": np.arange(600, dtype=np.float32).reshape(20, 30),
    "b": np.array(2.5),
    "c": np.zeros((0, 3), np.float16),
    "d": np.arange(24, dtype=np.int64).reshape(2, 3, 4),
}


def whole_of(tensor, most=64):
    pieces = list(tensor.pieces(most))
    return np.concatenate(pieces).reshape(tensor.shape) if pieces else np.empty(tensor.shape)


def check(path, order, arrays=ARRAYS):
    usual_order, tensors = open_tensors(path)
    assert usual_order == order
    read = {tensor.name: (tensor.shape, tensor.dtype, whole_of(tensor)) for tensor in tensors}
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        shape, dtype, values = read[name]
        assert (shape, dtype) == (array.shape, array.dtype.name)
        assert np.array_equal(values, array)


def read_all(path):
    return [list(tensor.pieces()) for tensor in open_tensors(path)[1]]


def errors(path, match=None):
    """Check that reading the file raises one ValueError."""
    with pytest.raises(ValueError, match=match):
        read_all(path)


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


def test_checkpoints_of_pytorch_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(np.array(array)) for name, array in ARRAYS.items()}
    torch.save(state, tmp_path / "w.pt")
    check(tmp_path / "w.pt", "OI...")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    check(tmp_path / "old.pt", "OI...")
    tied = torch.randn(4, 4)
    nested = {"model": {"a": tied, "b": tied}, "steps": [torch.ones(2, 3).bfloat16(), 7], "epoch": 3}
    torch.save(nested, tmp_path / "nested.pt")
    read = {tensor.name: tensor for tensor in open_tensors(tmp_path / "nested.pt")[1]}
    assert list(read) == ["model.a", "model.b", "steps.0"]
    assert read["model.a"].memory == read["model.b"].memory
    assert (read["steps.0"].dtype, whole_of(read["steps.0"]).dtype) == ("bfloat16", np.float32)


def test_sparse_and_repeating_tensors_of_pytorch_are_not_measured(tmp_path):
    torch = pytest.importorskip("torch")
    huge = torch.zeros(1).expand(10**6, 10**6)
    torch.save({"expanded": huge, "sparse": torch.eye(3).to_sparse()}, tmp_path / "w.pt")
    for tensor, reason in zip(open_tensors(tmp_path / "w.pt")[1], ("share memory", "sparse"), strict=True):
        with pytest.raises(UnmeasuredError, match=reason):
            list(tensor.pieces())


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


class Bomb:
    """An object whose unpickling ends the process."""

    def __reduce__(self):
        return (sys.exit, (17,))


def test_nothing_is_executed(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": Bomb()}, tmp_path / "bomb.pt")
    errors(tmp_path / "bomb.pt", "cannot be read without running its code, or is broken")
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb()))
    errors(tmp_path / "bomb.pkl", "cannot be read without running its code")
    np.save(tmp_path / "bomb.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    errors(tmp_path / "bomb.npy", "holds no numbers, and a pickle in the array could run code")
    np.savez(tmp_path / "bomb.npz", w=np.array([Bomb()], dtype=object))
    errors(tmp_path / "bomb.npz", "holds no numbers")


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
        errors(path)
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
        errors(path)
    path.write_bytes(b"\x93NUMPY\x09\x00" + bytes(64))
    errors(path, r"got \(9, 0\)")
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{" + bytes(64))
    errors(tmp_path / "w.safetensors", "ends before its header")


def test_archives_with_wrong_sizes_are_errors(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", bytes(10**7))
    errors(path, "compresses the member 'w/data.pkl'")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", bytes(10**8 + 1))
    errors(path, "of 100000001 bytes, more than 100000000")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(10**6))
    errors(path, "compresses model.weights.h5, which Keras does not do")
    assert torch


def pickled(path, *opcodes):
    """Return a checkpoint of PyTorch whose structure is a pickle of these opcodes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", b"\x80\x02" + b"".join(opcodes) + b".")
        archive.writestr("w/version", "3\n")
        archive.writestr("w/byteorder", sys.byteorder)


def test_containers_that_hold_themselves_or_one_another_are_read_once(tmp_path):
    torch = pytest.importorskip("torch")
    pickled(tmp_path / "list.pt", b"]q\x00h\x00a")
    pickled(tmp_path / "dict.pt", b"}q\x00X\x01\x00\x00\x00ah\x00s")
    levels = [b"]q" + bytes([k]) + (b"h" + bytes([k - 1]) + b"a") * 2 for k in range(1, 60)]
    pickled(tmp_path / "shared.pt", b"]q\x00", *levels)
    for name in ("list.pt", "dict.pt", "shared.pt"):
        assert read_all(tmp_path / name) == []
    state = {"a": torch.ones(3)}
    state["again"] = state["list"] = [state, state["a"]]
    assert [tensor.name for tensor in named_tensors(state)] == ["a", "again.1"]


def test_a_checkpoint_that_shrinks_during_the_read_is_an_error(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "w.pt"
    torch.save({"w": torch.zeros(1000, 1000)}, path)
    (tensor,) = open_tensors(path)[1]
    with path.open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(ValueError, match="is truncated"):
        list(tensor.pieces())


def test_strided_tensors_of_pytorch_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    whole = torch.arange(120.0).reshape(10, 12)
    state = {
        "transposed": whole.t(),
        "part": whole[2:7, 1:11:3],
        "half": whole.bfloat16().t()[3:],
        "conj": torch.complex(whole, whole).conj(),
        "parameter": torch.nn.Parameter(whole[5:]),
        "byte": whole.to(torch.float8_e4m3fn),
    }
    torch.save(state, tmp_path / "w.pt")
    read = {tensor.name: tensor for tensor in open_tensors(tmp_path / "w.pt")[1]}
    assert list(read) == list(state)
    for name in ("transposed", "part", "half", "parameter", "byte"):
        assert np.array_equal(whole_of(read[name]), state[name].detach().float().numpy())
    with pytest.raises(UnmeasuredError, match="conjugate"):
        list(read["conj"].pieces())


def test_a_name_with_half_a_surrogate_pair_can_be_printed(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"a\ud800\x1b[2J": torch.ones(2, 2)}, tmp_path / "w.pt")
    text = str(audit(tmp_path / "w.pt"))
    assert r"a\ud800\x1b[2J" in text.encode().decode()
    assert all(line.isprintable() for line in text.splitlines())


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
    errors(tmp_path / "w.npz", "the member 'w.npy' overlaps another")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_numpy_does_not_use_is_refused(tmp_path, compression):
    with zipfile.ZipFile(tmp_path / "w.npz", "w", compression) as archive:
        archive.writestr("w.npy", b"")
    errors(tmp_path / "w.npz", "compresses 'w.npy' as NumPy does not")


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


def test_more_axes_than_numpy_has_are_not_measured(tmp_path):
    header = Header.of({"w": ("float32", (1,) * 65)}, {})
    (tmp_path / "w").write_bytes(header.to_bytes() + bytes(4))
    (tensor,) = open_tensors(tmp_path / "w")[1]
    with pytest.raises(UnmeasuredError, match="the tensor has 65 axes, more than 64"):
        list(tensor.pieces())


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


def test_a_checkpoint_of_pytorch_with_a_broken_member_is_a_value_error(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(3)}, tmp_path / "w.pt")
    content = bytearray((tmp_path / "w.pt").read_bytes())
    content[content.index(b"w/byteorder")] ^= 1
    (tmp_path / "w.pt").write_bytes(content)
    errors(tmp_path / "w.pt", "cannot be read without running its code, or is broken: File name in directory")


def test_an_archive_over_several_disks_is_a_value_error(tmp_path):
    pytest.importorskip("torch")
    locator = struct.pack("<IIQI", 0x07064B50, 1, 0, 9)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0, 0, 0, 0, 0)
    (tmp_path / "w.pt").write_bytes(b"\x80\x02" + bytes(80) + locator + end)
    errors(tmp_path / "w.pt", "cannot be read without running its code, or is broken: zipfiles that span multiple")


def test_files_of_other_formats_are_errors(tmp_path):
    (tmp_path / "text").write_text("some words, no tensors at all")
    errors(tmp_path / "text", "must be a safetensors, .npy, .npz, .keras or HDF5 file, or a checkpoint of PyTorch")
    with pytest.raises(FileNotFoundError):
        open_tensors(tmp_path / "missing.pt")


@pytest.mark.parametrize(("package", "magic"), [("torch", b"\x80\x02"), ("h5py", b"\x89HDF\r\n\x1a\n")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, magic):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "w").write_bytes(magic + bytes(20))
    with pytest.raises(ImportError, match=f"pip install {package}"):
        list(open_tensors(tmp_path / "w")[1])
