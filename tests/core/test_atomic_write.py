"""Atomic writes: a file is complete or absent."""

import errno
import os
import stat
from pathlib import Path

import pytest
from checkpoints import contents

from initlib.files import atomic_write as files
from initlib.files.atomic_write import atomic_write

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")


def test_the_name_comes_last(tmp_path):
    path = tmp_path / "w"
    with atomic_write(path) as file:
        file.write(b"half")
        assert not path.exists()
        assert len(contents(tmp_path)) == 1
        file.write(b" and half")
    assert contents(tmp_path) == {"w": b"half and half"}


def test_the_old_file_stays_until_the_new_file_is_complete(tmp_path):
    path = tmp_path / "w"
    path.write_bytes(b"before")
    with atomic_write(str(path)) as file:
        file.write(b"after")
        file.flush()
        assert path.read_bytes() == b"before"
    assert contents(tmp_path) == {"w": b"after"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_error_changes_nothing(tmp_path, error):
    path = tmp_path / "w"
    path.write_bytes(b"before")
    with pytest.raises(error), atomic_write(path) as file:
        raise error(file.write(b"half"))
    assert contents(tmp_path) == {"w": b"before"}


@pytest.mark.parametrize("failing", ["fsync", "link", "replace"])
def test_a_system_that_fails_at_the_end_changes_nothing(tmp_path, monkeypatch, failing):
    def fail(*arguments, **keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "w"
    monkeypatch.setattr(os, failing, fail)
    monkeypatch.setattr(type(path), failing, fail, raising=False)
    no_space = pytest.raises(OSError, match=r"No space left on device.*/w'")
    with no_space, atomic_write(path, replace=failing != "link") as file:
        file.write(b"all")
    assert contents(tmp_path) == {}


def test_an_error_about_another_file_keeps_its_file_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="other"), atomic_write(tmp_path / "w"):
        (tmp_path / "other").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o640])
def test_a_file_keeps_its_mode_or_gets_the_usual_one(tmp_path, mode):
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
def test_a_link_stays_a_link(tmp_path):
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
    monkeypatch.setattr(files.secrets, "token_hex", lambda count: "0123456789abcdef")
    bystander = tmp_path / "bystander"
    bystander.write_bytes(b"mine")
    (tmp_path / ".w.0123456789abcdef.partial").symlink_to(bystander)
    with pytest.raises(FileExistsError), atomic_write(tmp_path / "w") as file:
        file.write(b"x")
    assert bystander.read_bytes() == b"mine"


def test_the_longest_name(tmp_path):
    path = tmp_path / ("é" * 127)
    with atomic_write(path) as file:
        file.write(b"x")
    assert contents(tmp_path) == {path.name: b"x"}


def test_folders_and_devices_cannot_be_replaced(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "round").symlink_to("round")
    cases = [
        ("fifo", ValueError, "fifo' must be a regular file or absent, got"),
        (".", ValueError, "must be a regular file or absent"),
        ("round", OSError, "Too many levels of symbolic links.*round'"),
        ("nowhere/w", FileNotFoundError, "nowhere/w' must be in a directory that exists"),
        ("fifo/w", NotADirectoryError, "fifo/w'"),
    ]
    for name, error, words in cases:
        with pytest.raises(error, match=words), atomic_write(tmp_path / name):
            raise AssertionError("this is not reached")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_write_protected_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "w"
    path.write_bytes(b"mine")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write to any
    with pytest.raises(PermissionError, match="w'"), atomic_write(path):
        raise AssertionError("this is not reached")
    assert contents(tmp_path) == {"w": b"mine"}


def test_the_file_and_then_its_folder_are_synced(tmp_path, monkeypatch):
    synced = []

    def sync(file):
        synced.append((stat.S_ISDIR(os.fstat(file).st_mode), (tmp_path / "w").exists()))

    monkeypatch.setattr(os, "fsync", sync)
    with atomic_write(tmp_path / "w") as file:
        file.write(b"x")
    assert synced == [(False, False), (True, True)]


def test_without_replace_a_file_that_exists_is_an_error_before_anything_is_written(tmp_path):
    path = tmp_path / "w"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="/w'"), atomic_write(path, replace=False):
        raise AssertionError("this is not reached")
    assert contents(tmp_path) == {"w": b"mine"}


@pytest.mark.parametrize("links", [True, False])
def test_without_replace_a_file_that_appears_during_the_write_stays(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "w"
    writing = atomic_write(path, replace=False)
    writing.__enter__().write(b"late")
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="/w'"):
        writing.__exit__(None, None, None)
    assert contents(tmp_path) == {"w": b"mine"}


def no_links(*arguments, **keywords):
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("links", [True, False])
def test_without_replace_a_new_file_is_written(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with atomic_write(tmp_path / "w", replace=False) as file:
        file.write(b"new")
    assert contents(tmp_path) == {"w": b"new"}


def test_only_the_hidden_file_of_a_killed_process_is_removed(tmp_path):
    path, dead = tmp_path / "w", tmp_path / ".w.0123456789abcdef.partial"
    others = [".w.other.partial", ".v.0123456789abcdef.partial", "w.0123456789abcdef.partial"]
    for name in (dead.name, *others):
        (tmp_path / name).write_bytes(b"half")
    assert not files.is_being_written(path)
    with atomic_write(path) as first:
        first.write(b"first")
        assert not dead.exists()
        assert files.is_being_written(path)
        with atomic_write(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert contents(tmp_path) == {"w": b"first"} | dict.fromkeys(others, b"half")


@pytest.mark.skipif(os.name != "posix", reason="locks")
@pytest.mark.parametrize("call", ["link", "replace"])
def test_the_hidden_file_stays_locked_until_it_has_its_name(tmp_path, monkeypatch, call):
    path, locked = tmp_path / "w", []
    owner = os if call == "link" else Path
    real = getattr(owner, call)

    def look(partial, target):
        locked.append(files._is_locked(Path(partial)))
        return real(partial, target)

    monkeypatch.setattr(owner, call, look)
    with atomic_write(path, replace=call == "replace") as file:
        file.write(b"all")
    assert locked == [True]


def test_a_new_hidden_file_that_another_process_removed_is_made_again(tmp_path, monkeypatch):
    removed = []
    lock = files._lock

    def remove_once(file):
        if not removed:
            removed.append(file.name)
            Path(file.name).unlink()
        return lock(file)

    monkeypatch.setattr(files, "_lock", remove_once)
    with atomic_write(tmp_path / "w") as file:
        file.write(b"all")
    assert contents(tmp_path) == {"w": b"all"}
    assert len(removed) == 1
