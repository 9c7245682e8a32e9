"""Warnings that point at the line of the user, outside of this package.

The adapters and the core call each other at several depths, so no fixed `stacklevel` fits, and Python 3.11 has no
`skip_file_prefixes`.
"""

import sys
import warnings


def warn(text: str, *, library: str = "initlib") -> None:
    """Issue a UserWarning at the first line of the call stack that is outside of initlib, and outside of the library.

    A library such as "torch" calls functions of initlib on behalf of the user.
    """
    skipped = {"initlib", library}
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in skipped:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
