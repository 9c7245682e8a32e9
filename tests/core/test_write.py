"""A plan on disk: its bytes, also after kills, full disks and other writers."""

import errno
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from checkpoints import contents, everything, read

import initlib
from initlib import Parameter, keep, normal, orthogonal, plan, sparse
from initlib.checkpoints import fill_file
from initlib.checkpoints import write as writer
from initlib.dtypes import numpy_dtype
from initlib.files.folder import checkpoint_files
from initlib.files.header import Header

SIZE = "8KB"  # three files


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(fill_file, "LARGE", 4096)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the folder of one undisturbed writer."""
    folder = tmp_path_factory.mktemp("undisturbed")
    everything().write(folder, 5, max_shard_size=SIZE)
    return contents(folder)


def test_files_hold_what_the_plan_draws(tmp_path):
    pytest.importorskip("safetensors")
    made, folder = everything(), tmp_path / "new" / "folder"
    written = made.write(folder, 5, max_shard_size=SIZE)
    assert [path.name for path in written] == [f"model-0000{k}-of-00003.safetensors" for k in (1, 2, 3)]
    assert sorted(contents(folder)) == [*(path.name for path in written), "model.safetensors.index.json"]
    stored = {name: tensor for path in written for name, tensor in read(path.read_bytes()).items()}
    drawn = made.draw(5)
    assert stored.keys() == drawn.keys()
    assert "lm_head.weight" not in stored
    for name, (_, shape, data) in stored.items():
        assert (shape, data) == (drawn[name].shape, drawn[name].tobytes())


def test_one_file_is_what_the_library_writes(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    made = everything()
    (path,) = made.write(tmp_path, 5)
    metadata = Header.read(path).metadata
    written, expected = path.read_bytes(), library.save(made.draw(5), {"format": "pt"})
    # The library writes the entries of metadata in any order. All other bytes are the same.
    body = Header.read(path)
    assert written[body.data :] == expected[8 + int.from_bytes(expected[:8], "little") :]
    (tmp_path / "expected").write_bytes(expected)
    assert body.tensors == Header.read(tmp_path / "expected").tensors
    assert metadata["format"] == "pt"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_the_size_of_a_piece_changes_nothing(tmp_path, monkeypatch, dtype):
    made = plan([Parameter("w", (37, 11, 5), dtype, axes="OIH"), Parameter("b", (1000,), dtype)], {"*": normal()})
    contents_of_files = set()
    for size in (7, 64, 1000, 10**6):
        monkeypatch.setattr(fill_file, "LARGE", size * numpy_dtype(dtype).itemsize)
        (path,) = made.write(tmp_path / str(size), 0)
        contents_of_files.add(path.read_bytes())
    assert len(contents_of_files) == 1
    assert contents_of_files.pop().endswith(made.draw_one("w", 0).tobytes())


def test_a_second_write_does_nothing(tmp_path, undisturbed):
    everything().write(tmp_path, 5, max_shard_size=SIZE)
    before = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    assert everything().write(tmp_path, 5, max_shard_size=SIZE) == ()
    assert everything().write(tmp_path, 5, max_shard_size=SIZE, overwrite=True) == ()
    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == before
    assert contents(tmp_path) == undisturbed


@pytest.mark.parametrize("gone", [0, 1, 2, 3])
def test_missing_files_are_written(tmp_path, undisturbed, gone):
    everything().write(tmp_path, 5, max_shard_size=SIZE)
    lost = sorted(tmp_path.iterdir())[gone]
    lost.unlink()
    written = everything().write(tmp_path, 5, max_shard_size=SIZE)
    assert written == ((lost,) if lost.suffix == ".safetensors" else ())
    assert contents(tmp_path) == undisturbed


KILLED = """
import os, sys
import checkpoints
from initlib.checkpoints import fill_file

moment, left, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
fill_file.LARGE = 4096

def killing(function):
    def call(*arguments, **keywords):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return function(*arguments, **keywords)
    return call

if moment == "progress":
    progress = killing(lambda done, total: None)
else:
    progress = None
    setattr(os, moment, killing(getattr(os, moment)))
checkpoints.everything().write(folder, 5, max_shard_size="8KB", progress=progress)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL")
@pytest.mark.parametrize(
    ("moment", "left"),
    [("progress", k) for k in (0, 1, 4, 6, 8)]
    + [("fsync", k) for k in (0, 1, 2, 5)]
    + [("link", k) for k in (0, 1, 3, 4)],
)
def test_a_write_killed_at_any_moment_can_be_repeated(tmp_path, undisturbed, moment, left):
    arguments = [sys.executable, "-c", KILLED, moment, str(left), str(tmp_path)]
    ran = subprocess.run(arguments, cwd=Path(__file__).parents[1] / "helpers", check=False)
    assert ran.returncode == -signal.SIGKILL
    there = contents(tmp_path)
    partial = [name for name in there if name not in undisturbed]
    assert all(there[name] == undisturbed[name] for name in there.keys() - set(partial))
    assert len(partial) <= 2  # the claim, and the file that was being written
    everything().write(tmp_path, 5, max_shard_size=SIZE)
    assert contents(tmp_path) == undisturbed


def test_the_hidden_files_of_killed_processes_are_removed(tmp_path, undisturbed):
    (tmp_path / ".model-00002-of-00003.safetensors.0123456789abcdef.partial").write_bytes(b"half")
    (tmp_path / ".model-00002-of-00003.safetensors.other").write_bytes(b"mine")
    everything().write(tmp_path, 5, max_shard_size=SIZE)
    assert contents(tmp_path) == undisturbed | {".model-00002-of-00003.safetensors.other": b"mine"}


def no_room(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["posix_fallocate", "fsync"])
def test_a_full_disk_is_an_error(tmp_path, undisturbed, monkeypatch, call):
    if not hasattr(os, call):
        pytest.skip(f"this system has no {call}")
    with monkeypatch.context() as full:
        full.setattr(os, call, no_room)
        with pytest.raises(OSError, match=r"No space left on device: '.*/"):
            everything().write(tmp_path, 5, max_shard_size=SIZE)
        assert contents(tmp_path) == {}
    everything().write(tmp_path, 5, max_shard_size=SIZE)
    assert contents(tmp_path) == undisturbed


def test_a_system_that_cannot_allocate_writes_the_same_files(tmp_path, undisturbed, monkeypatch):
    def cannot(*arguments):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", cannot, raising=False)
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    everything().write(tmp_path / "cannot", 5, max_shard_size=SIZE)
    monkeypatch.delattr(os, "posix_fallocate")
    everything().write(tmp_path / "has none", 5, max_shard_size=SIZE)
    assert contents(tmp_path / "cannot") == contents(tmp_path / "has none") == undisturbed


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_is_an_error(small_disk, monkeypatch):
    made = plan([Parameter(f"w{k}", (10_000,)) for k in range(5)], normal())
    (small_disk / "other").write_bytes(bytes(100_000))
    with pytest.raises(OSError, match=r"No space left on device: 20\d,\d{3} bytes are needed, 1\d\d,\d{3} are free: "):
        made.write(small_disk, 0, max_shard_size="40KB")
    assert list(contents(small_disk)) == ["other"]
    monkeypatch.setattr(writer, "_check_room", lambda folder, missing: None)  # another process fills it meanwhile
    with pytest.raises(OSError, match=r"No space left on device: '.*model-00004-of-00005.safetensors'"):
        made.write(small_disk, 0, max_shard_size="40KB")
    there = sorted(contents(small_disk))
    assert there == [*(f"model-0000{k}-of-00005.safetensors" for k in (1, 2, 3)), "other"]
    (small_disk / "other").unlink()
    assert len(made.write(small_disk, 0, max_shard_size="40KB")) == 2
    assert made.verify(small_disk, 0, whole=True) == ()


def test_room_on_the_disk_is_checked_before_the_write(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10_000})
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda folder: usage)
    folder = tmp_path / "new"
    with pytest.raises(OSError, match=r"bytes are needed, 10,000 are free: .*new'") as caught:
        everything().write(folder, 5)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
    usage.free = 10**6
    everything().write(folder, 5, max_shard_size=SIZE)
    usage.free = 8_500  # for one file more than will be replaced, not for all three
    everything().write(folder, 6, max_shard_size=SIZE, overwrite=True)
    assert everything().verify(folder, 6, whole=True) == ()


def test_other_files_are_not_replaced(tmp_path):
    other = plan([Parameter("w", (10,))], normal())
    everything().write(tmp_path, 5)
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()
    for made, seed, words in (
        (other, 5, "initlib.plan is "),
        (everything(), 6, "initlib.seed is 5, not 6"),
    ):
        with pytest.raises(
            FileExistsError,
            match=f"model.safetensors exists and was not written by this plan and seed .*{words}.*overwrite=True",
        ):
            made.write(tmp_path, seed)
        assert path.read_bytes() == before
    other.write(tmp_path, 5, overwrite=True)
    assert other.verify(tmp_path, 5) == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a safetensors file"),
        (Header.of({"w": ("float32", (0,))}, {}).to_bytes(), "the metadata names no plan of initlib"),
        (Header.of({"w": ("float32", (0,))}, {"initlib.plan": "x"}).to_bytes(), "format is None, not pt"),
    ],
)
def test_a_foreign_file_is_not_replaced(tmp_path, content, words):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(FileExistsError, match=words):
        everything().write(tmp_path, 5)
    assert contents(tmp_path) == {"model.safetensors": content}


def test_a_damaged_file_does_not_count_as_complete(tmp_path, undisturbed):
    paths = everything().write(tmp_path, 5, max_shard_size=SIZE)
    header = Header.read(paths[1])
    with paths[1].open("r+b") as file:
        file.seek(header.data)
        file.write(b"\xff" * 8)
    with pytest.raises(FileExistsError, match=r"'layers.0.conv.weight' has other values from index \(0, 0, 0, 0\) on"):
        everything().write(tmp_path, 5, max_shard_size=SIZE)
    assert everything().write(tmp_path, 5, max_shard_size=SIZE, overwrite=True) == (paths[1],)
    assert contents(tmp_path) == undisturbed


@pytest.mark.parametrize("scheme", [orthogonal(), sparse(0.5)])
def test_a_damaged_orthogonal_tensor_does_not_count_as_complete(tmp_path, scheme):
    made = plan([Parameter("w", (64, 48), axes="OI")], scheme)
    (path,) = made.write(tmp_path, 5)
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\xff" * 4)
    with pytest.raises(FileExistsError, match=r"'w' has other values from index \(63, 47\) on"):
        made.write(tmp_path, 5)


@pytest.mark.parametrize("name", ["model.safetensors", "model-00001-of-00009.safetensors"])
def test_other_files_that_a_loader_would_find_are_an_error(tmp_path, name):
    (tmp_path / name).touch()
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match=rf"must hold only the files of this plan \(3\), got {name} too"):
            everything().write(tmp_path, 5, max_shard_size=SIZE, overwrite=overwrite)
    assert contents(tmp_path) == {name: b""}


def test_another_index_is_an_error(tmp_path, undisturbed):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text("{}")
    with pytest.raises(FileExistsError, match="belongs to another plan"):
        everything().write(tmp_path, 5, max_shard_size=SIZE)
    with pytest.raises(
        FileExistsError, match=r"must hold only the files of this plan \(1\), got model.safetensors.index.json too"
    ):
        everything().write(tmp_path, 5)
    everything().write(tmp_path, 5, max_shard_size=SIZE, overwrite=True)
    assert contents(tmp_path) == undisturbed


def test_files_of_other_kinds_stay(tmp_path):
    mine = {"config.json": b"{}", "adapter_model.safetensors": b"mine", "README.md": b"mine"}
    for name, content in mine.items():
        (tmp_path / name).write_bytes(content)
    (path,) = everything().write(tmp_path, 5)
    assert contents(tmp_path) == mine | {path.name: path.read_bytes()}


def test_many_writers_write_the_files_of_one(tmp_path):
    made = plan([Parameter(f"layer.{k}.weight", (k % 5 + 1, 8), "float16") for k in range(200)], normal())
    made.write(tmp_path / "one", 3, max_shard_size=128)
    assert len(contents(tmp_path / "one")) > 64
    union = {}
    for rank in range(64):
        made.write(tmp_path / "together", 3, max_shard_size=128, only=slice(rank, None, 64))
        made.write(tmp_path / f"alone{rank}", 3, max_shard_size=128, only=slice(rank, None, 64))
        mine = contents(tmp_path / f"alone{rank}")
        mine.pop(".initlib-write.json", None)  # other processes have the other files
        assert union.keys() & mine.keys() <= {"model.safetensors.index.json"}
        union |= mine
    assert contents(tmp_path / "together") == union == contents(tmp_path / "one")


def during(step, action):
    """Return a progress callback that acts at one of its calls."""
    calls = []

    def progress(done, total):
        calls.append(done)
        if len(calls) == step:
            action()

    return progress


@pytest.mark.parametrize("name", ["model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"])
def test_a_foreign_file_that_appears_during_the_write_stays(tmp_path, name):
    def appear():
        (tmp_path / name).write_bytes(b"foreign")

    with pytest.raises(FileExistsError, match=f"{name} exists and was not written by this plan and seed"):
        everything().write(tmp_path, 5, max_shard_size=SIZE, progress=during(2, appear))
    assert contents(tmp_path)[name] == b"foreign"
    assert not (tmp_path / "model.safetensors.index.json").exists()


@pytest.mark.parametrize("step", [1, 2, 5, 8])
def test_two_writers_of_one_plan_share_the_work(tmp_path, undisturbed, step):
    written = []

    def second():
        written.append(everything().write(tmp_path, 5, max_shard_size=SIZE))

    first = everything().write(tmp_path, 5, max_shard_size=SIZE, progress=during(step, second))
    assert contents(tmp_path) == undisturbed
    names = sorted(path.name for path in (*first, *written[0]))
    assert names == [f"model-0000{k}-of-00003.safetensors" for k in (1, 2, 3)]


@pytest.mark.parametrize("step", [1, 2, 5, 8])
@pytest.mark.parametrize("size", [SIZE, "5GB"])
@pytest.mark.parametrize("seed", [5, 6])
def test_a_writer_of_another_plan_or_seed_is_refused_during_the_write(tmp_path, undisturbed, step, size, seed):
    def second():
        with pytest.raises(
            FileExistsError, match=r"must not be in use by the write of another plan|exists and|got model"
        ):
            everything().write(tmp_path, seed, max_shard_size="4KB" if seed == 5 else size)

    everything().write(tmp_path, 5, max_shard_size=SIZE, progress=during(step, second))
    assert contents(tmp_path) == undisturbed


def test_a_claim_of_a_killed_writer_is_an_error_that_names_it(tmp_path, undisturbed):
    (tmp_path / ".initlib-write.json").write_bytes(b"{}")
    with pytest.raises(FileExistsError, match=r"got .initlib-write.json\..*remove .initlib-write.json"):
        everything().write(tmp_path, 5, max_shard_size=SIZE)
    assert contents(tmp_path) == {".initlib-write.json": b"{}"}
    everything().write(tmp_path, 5, max_shard_size=SIZE, overwrite=True)
    assert contents(tmp_path) == undisturbed


def test_progress_is_reported(tmp_path):
    seen = []
    everything().write(tmp_path, 5, max_shard_size=SIZE, progress=lambda *both: seen.append(both))
    total = sum(entry.parameter.bytes for entry in everything().entries)
    done = [both[0] for both in seen]
    assert {both[1] for both in seen} == {total}
    assert (done[0], done[-1]) == (0, total)
    assert done == sorted(done)
    assert max(np.diff(done)) <= 4096
    (tmp_path / "model-00003-of-00003.safetensors").unlink()
    seen.clear()
    everything().write(tmp_path, 5, max_shard_size=SIZE, progress=lambda *both: seen.append(both))
    assert 0 < seen[0][0] < seen[-1][0] == total


def test_the_memory_does_not_grow_with_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr(fill_file, "LARGE", 2**20)
    made = plan([Parameter(f"w{k}", (1024, 1024), "float32") for k in range(8)], normal())
    made.write(tmp_path / "first", 0, only=slice(0))  # caches
    tracemalloc.start()
    try:
        made.write(tmp_path, 0)
        assert tracemalloc.get_traced_memory()[1] < 2**20
        made.verify(tmp_path, 0)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_kept_tensors_are_omitted_with_a_warning(tmp_path):
    made = plan([Parameter("w", (3,)), *(Parameter(f"kept{k}", (3,)) for k in range(7))], {"w": normal(), "*": keep})
    with pytest.warns(UserWarning, match=r"omits the tensors that the plan keeps.*: kept\{0\.\.6\}"):
        (path,) = made.write(tmp_path, 0)
    assert list(Header.read(path).tensors) == ["w"]
    assert made.verify(tmp_path, 0) == ()


def test_a_path_of_a_wrong_type_is_an_error():
    made = everything()
    with pytest.raises(TypeError, match="folder must be a path, got Plan"):
        made.write(made, 0)
    for call in (made.save, initlib.Plan.load, checkpoint_files):
        with pytest.raises(TypeError, match="path must be a path, got int"):
            call(3)


def test_wrong_arguments_are_errors(tmp_path):
    made = everything()
    for wrong, error, words in (
        ({"seed": None}, TypeError, "seed must be an int, a Key or a numpy.random.Generator, got None"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": 0, "only": 3}, TypeError, "only must be a slice"),
        ({"seed": 0, "max_shard_size": "much"}, ValueError, "max_shard_size must be"),
    ):
        with pytest.raises(error, match=words):
            made.write(tmp_path / "new", **wrong)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file'"):
        made.write(tmp_path / "file", 0)
    assert contents(tmp_path) == {"file": b""}


def test_a_key_is_a_seed(tmp_path):
    (path,) = everything().write(tmp_path, initlib.Key(2**63))
    assert Header.read(path).metadata["initlib.seed"] == str(2**63)
    assert everything().verify(path, 2**63, whole=True) == ()


def test_the_index_is_as_hugging_face_writes_it(undisturbed):
    text = undisturbed["model.safetensors.index.json"].decode()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
    assert set(json.loads(text)) == {"metadata", "weight_map"}
