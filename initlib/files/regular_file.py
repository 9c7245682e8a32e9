"""Opening files for reading that cannot block."""

import os
import stat
from typing import BinaryIO

from .._arguments import as_path


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading, as bytes.

    Raises OSError, and ValueError for a folder, a device or a FIFO, which would wait for a writer.
    """
    path = as_path(path)
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{str(path)!r} must be a regular file, got a folder, a FIFO or a device")
    return path.open("rb")
