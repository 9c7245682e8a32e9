"""Writing a file that is complete or absent."""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .._arguments import as_path

try:
    import fcntl
except ImportError:  # Windows, which removes no file that a process has open
    fcntl = None  # type: ignore[assignment]

NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK)  # a file system without hard links


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, replace: bool = True) -> Iterator[BinaryIO]:
    """Open a binary file that gets its name when all its bytes are on disk; an error leaves everything as it was.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "weights.bin")
    >>> with atomic_write(path) as file:
    ...     _ = file.write(b"all of it")
    >>> path.read_bytes()
    b'all of it'

    Until then the bytes are in a hidden file beside the path, `.weights.bin.….partial`. A killed process leaves this
    file behind, and the next write of the same path removes it. A replaced file keeps its mode; where the path is a
    symbolic link, the write replaces the file to which the link points.

    Raises OSError; FileExistsError if `replace` is false and the path exists, also where another process creates it
    during the write; ValueError for a folder, a FIFO or a device.
    """
    path = as_path(path)
    mode = _mode(path)
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{str(path)!r} must be in a directory that exists")
    if mode is not None and not replace:
        raise _exists(path)
    for partial in _partials(target):
        with suppress(OSError):
            if not _is_locked(partial):
                partial.unlink()
    partial, file = _create(target, mode)
    try:
        yield file
        file.flush()
        os.fsync(file.fileno())
        if fcntl is None:
            file.close()  # Windows renames no open file; elsewhere the lock must last until the file has its name
        if replace:
            partial.replace(target)
        else:
            _claim(partial, target)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(partial)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # by the name that the caller passed
    finally:
        file.close()
        partial.unlink(missing_ok=True)
    with suppress(OSError), _folder(target) as folder:  # some systems cannot sync folders
        os.fsync(folder)


def is_being_written(path: Path) -> bool:
    """Return whether another process is writing the path with `atomic_write`; False where files have no locks."""
    return any(map(_is_locked, _partials(Path(os.path.realpath(path)))))


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _mode(path: Path) -> int | None:
    """Return the mode of the file that will be replaced; None where there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{str(path)!r} must be a regular file or absent, got a folder, a FIFO or a device")
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return stat.S_IMODE(status.st_mode)


def _prefix(target: Path) -> str:
    return f".{target.name[:50]}."


def _partials(target: Path) -> list[Path]:
    """Return the hidden files of all writes of the target, living or killed."""
    if not target.parent.is_dir():
        return []
    is_partial = re.compile(re.escape(_prefix(target)) + r"[0-9a-z]{16}\.partial").fullmatch
    with os.scandir(target.parent) as entries:
        names = [entry.name for entry in entries if is_partial(entry.name) and entry.is_file(follow_symlinks=False)]
    return [target.with_name(name) for name in names]


def _create(target: Path, mode: int | None) -> tuple[Path, BinaryIO]:
    """Create and lock the hidden file. The flag "x" follows no symbolic link."""
    while True:
        partial = target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}.partial")
        file = open(partial, "x+b", opener=lambda name, flags: os.open(name, flags, 0o666 if mode is None else mode))  # noqa: SIM115
        try:
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), mode)  # the umask may have removed bits
            if _lock(file) and partial.exists():
                return partial, file
        except BaseException:
            file.close()
            partial.unlink(missing_ok=True)
            raise
        file.close()  # another process looked at the new file before it was locked, and may have removed it
        partial.unlink(missing_ok=True)


def _lock(file: BinaryIO) -> bool:
    """Lock the file until it is closed; return False where another process has the lock. The lock of a killed process
    is free.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _is_locked(partial: Path) -> bool:
    """Return whether a living process writes the hidden file."""
    if fcntl is None:
        return False
    try:
        with partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # locked, or a file system without locks, where each file may be a living process's
        return True
    return False


def _claim(partial: Path, target: Path) -> None:
    """Give the hidden file its name. Raises FileExistsError where the name is taken, however late."""
    if os.name == "nt":
        partial.rename(target)  # fails on Windows, and only there, where the name is taken
        return
    try:
        os.link(partial, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with _folder(target) as folder:
            with suppress(OSError):
                fcntl.flock(folder, fcntl.LOCK_EX)  # other writers wait until this one has renamed its file
            if os.path.lexists(target):
                raise _exists(target) from None
            partial.rename(target)


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    """Open the folder of a path."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield folder
    finally:
        os.close(folder)
