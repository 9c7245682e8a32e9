"""A progress bar on the terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = Callable[[int, int], None]  # called with the bytes that are done, and all bytes


@contextmanager
def progress(description: str, patience: float = 0.0) -> Iterator[Progress]:
    """Return a function to call with the bytes that are done and all bytes, which draws a bar of rich on the terminal.

    The bar appears after `patience` seconds, and vanishes at the end. Without rich or a terminal there is no bar.
    """
    start, bar, tried = time.monotonic(), None, False

    def advance(done: int, total: int) -> None:
        nonlocal bar, tried
        if not tried and time.monotonic() - start >= patience:
            tried = True
            bar = _bar(description)
        if bar is not None:
            bar.update(bar.task_ids[0], completed=done, total=total)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.stop()  # restores the terminal, also after Ctrl-C


def _bar(description: str) -> Any:
    """Start a bar; return None without rich or a terminal."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
        from rich.progress import TransferSpeedColumn as SpeedColumn
    except ImportError:  # rich is an extra
        return None
    console = Console(stderr=True)
    if not console.is_terminal:
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), SpeedColumn(), TimeRemainingColumn())
    bar = Bar(*columns, console=console, transient=True)
    bar.add_task(description, total=None)
    bar.start()
    return bar
