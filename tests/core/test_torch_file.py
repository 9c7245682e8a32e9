"""Readers: checkpoints of PyTorch."""

import struct
import sys
import zipfile

import numpy as np
import pytest
from read_files import ARRAYS, check, check_error, read_all, whole_of

from initlib import audit
from initlib.files.readers.open_file import open_tensors
from initlib.files.readers.stored_tensor import UnmeasuredError
from initlib.files.readers.torch_file import named_tensors


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


def test_a_checkpoint_of_pytorch_with_a_broken_member_is_a_value_error(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(3)}, tmp_path / "w.pt")
    content = bytearray((tmp_path / "w.pt").read_bytes())
    content[content.index(b"w/byteorder")] ^= 1
    (tmp_path / "w.pt").write_bytes(content)
    check_error(tmp_path / "w.pt", "cannot be read without running its code, or is broken: File name in directory")


def test_an_archive_over_several_disks_is_a_value_error(tmp_path):
    pytest.importorskip("torch")
    locator = struct.pack("<IIQI", 0x07064B50, 1, 0, 9)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0, 0, 0, 0, 0)
    (tmp_path / "w.pt").write_bytes(b"\x80\x02" + bytes(80) + locator + end)
    check_error(tmp_path / "w.pt", "cannot be read without running its code, or is broken: zipfiles that span multiple")
