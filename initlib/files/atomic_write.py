"""A file that is written whole, or not at all."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write, which takes its name when all of it is on disk: on an error, nothing has happened.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "weights.bin")
    >>> with atomic_write(path) as file:
    ...     _ = file.write(b"all of it")
    >>> path.read_bytes()
    b'all of it'

    Where the path is a link, what it leads to is written; a file that was there keeps its mode. Until then the file
    has no name, so that nothing is left of a process that is killed; where the file system has no nameless files, it
    has a hidden one beside the path, `.weights.bin.….partial`. Raises OSError, or ValueError for what is no regular
    file (a FIFO, a folder), before anything is written.
    """
    path = Path(path)
    mode = _mode(path)
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{str(path)!r} is in a directory that does not exist")
    partial = target.with_name(f".{target.name[:50]}.{secrets.token_hex(8)}.partial")
    try:
        nameless = _nameless(target.parent, mode)
        with nameless or _hidden(partial, mode) as file:
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), mode)  # the umask may have taken some of it
            yield file
            file.flush()
            os.fsync(file.fileno())
            if nameless:
                _name(file, partial)
        partial.replace(target)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(partial)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # as the caller knows it
    finally:
        partial.unlink(missing_ok=True)
    with suppress(OSError), _folder(target.parent) as folder:  # not every system syncs folders
        os.fsync(folder)


def _mode(path: Path) -> int | None:
    """The mode of the file that will be replaced; None where there is none."""
    try:
        status = path.stat()  # of what a link leads to; a loop of links raises
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{str(path)!r} is there and is no regular file, which alone can be replaced")
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return stat.S_IMODE(status.st_mode)


def _nameless(folder: Path, mode: int | None) -> BinaryIO | None:
    """A file in a folder without a name, which vanishes with its process; None where the system has none."""
    if not hasattr(os, "O_TMPFILE") or not Path("/proc/self/fd").is_dir():
        return None
    try:
        file = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666 if mode is None else mode)
    except OSError:
        return None
    return os.fdopen(file, "w+b")


def _hidden(partial: Path, mode: int | None) -> BinaryIO:
    """A new file of that name: no link that somebody has laid there is followed."""
    return open(partial, "x+b", opener=lambda name, flags: os.open(name, flags, 0o666 if mode is None else mode))


def _name(file: BinaryIO, path: Path) -> None:
    """Give a nameless file a name."""
    with _folder(path.parent) as folder:  # with a folder, `link` follows the link that /proc has for an open file
        os.link(f"/proc/self/fd/{file.fileno()}", path.name, dst_dir_fd=folder)


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    folder = os.open(path, os.O_RDONLY)
    try:
        yield folder
    finally:
        os.close(folder)
