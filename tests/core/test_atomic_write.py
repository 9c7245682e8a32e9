"""A file is there whole, or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from initlib.files import atomic_write as files
from initlib.files.atomic_write import atomic_write

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(params=["nameless", "hidden"])
def kind(request, monkeypatch, tmp_path):
    """Both ways to hold a file that is not whole yet."""
    if request.param == "hidden":
        monkeypatch.setattr(files, "_nameless", lambda folder, mode: None)
    elif (file := files._nameless(tmp_path, None)) is None:
        pytest.skip("this file system has no files without names")
    else:
        file.close()
    return request.param


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_name_comes_last(kind, tmp_path):
    path = tmp_path / "w"
    with atomic_write(path) as file:
        file.write(b"half")
        assert not path.exists()
        assert len(contents(tmp_path)) == (kind == "hidden")
        file.write(b" and half")
    assert contents(tmp_path) == {"w": b"half and half"}


def test_what_was_there_is_there_until_then(kind, tmp_path):
    path = tmp_path / "w"
    path.write_bytes(b"before")
    with atomic_write(str(path)) as file:
        file.write(b"after")
        file.flush()
        assert path.read_bytes() == b"before"
    assert contents(tmp_path) == {"w": b"after"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_error_changes_nothing(kind, tmp_path, error):
    path = tmp_path / "w"
    path.write_bytes(b"before")
    with pytest.raises(error), atomic_write(path) as file:
        raise error(file.write(b"half"))
    assert contents(tmp_path) == {"w": b"before"}


@pytest.mark.parametrize("failing", ["fsync", "link", "replace"])
def test_a_system_that_fails_at_the_end_changes_nothing(kind, tmp_path, monkeypatch, failing):
    if (kind, failing) == ("hidden", "link"):
        pytest.skip("a hidden file has a name already")

    def fail(*arguments, **keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "w"
    monkeypatch.setattr(os, failing, fail)
    monkeypatch.setattr(type(path), failing, fail, raising=False)
    with pytest.raises(OSError, match=r"No space left on device.*/w'"), atomic_write(path) as file:
        file.write(b"all")
    assert contents(tmp_path) == {}


def test_an_error_of_something_else_keeps_its_file_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="other"), atomic_write(tmp_path / "w"):
        (tmp_path / "other").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o640])
def test_modes(kind, tmp_path, mode):
    path, plain = tmp_path / "w", tmp_path / "plain"
    plain.touch()
    with atomic_write(path) as file:
        file.write(b"first")
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(mode)
    with atomic_write(path) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == mode
        file.write(b"second")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"second"


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_stays_one(kind, tmp_path):
    (tmp_path / "folder").mkdir()
    target, path = tmp_path / "folder" / "target", tmp_path / "w"
    path.symlink_to("folder/target")
    for content in (b"new", b"again"):
        with atomic_write(path) as file:
            file.write(content)
        assert path.readlink() == Path("folder/target")
        assert contents(target.parent) == {"target": content}


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_where_the_hidden_file_would_be_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_nameless", lambda folder, mode: None)
    monkeypatch.setattr(files.secrets, "token_hex", lambda count: "guessed")
    bystander = tmp_path / "bystander"
    bystander.write_bytes(b"mine")
    (tmp_path / ".w.guessed.partial").symlink_to(bystander)
    with pytest.raises(FileExistsError), atomic_write(tmp_path / "w") as file:
        file.write(b"x")
    assert bystander.read_bytes() == b"mine"


def test_the_longest_name(kind, tmp_path):
    path = tmp_path / ("é" * 127)
    with atomic_write(path) as file:
        file.write(b"x")
    assert contents(tmp_path) == {path.name: b"x"}


def test_what_cannot_be_replaced(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "round").symlink_to("round")
    cases = [
        ("fifo", ValueError, "fifo' is there and is no regular file"),
        (".", ValueError, "is no regular file"),
        ("round", OSError, "Too many levels of symbolic links.*round'"),
        ("nowhere/w", FileNotFoundError, "nowhere/w' is in a directory that does not exist"),
        ("fifo/w", NotADirectoryError, "fifo/w'"),
    ]
    for name, error, words in cases:
        with pytest.raises(error, match=words), atomic_write(tmp_path / name):
            raise AssertionError("this is not reached")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_is_write_protected_stays(tmp_path, monkeypatch):
    path = tmp_path / "w"
    path.write_bytes(b"mine")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write to any
    with pytest.raises(PermissionError, match="w'"), atomic_write(path):
        raise AssertionError("this is not reached")
    assert contents(tmp_path) == {"w": b"mine"}


def test_the_file_and_then_its_folder_are_synced(kind, tmp_path, monkeypatch):
    synced = []

    def sync(file):
        synced.append((stat.S_ISDIR(os.fstat(file).st_mode), (tmp_path / "w").exists()))

    monkeypatch.setattr(os, "fsync", sync)
    with atomic_write(tmp_path / "w") as file:
        file.write(b"x")
    assert synced == [(False, False), (True, True)]
