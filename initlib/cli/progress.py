"""A bar on the terminal: how much is done, how fast, and how long it will take."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(does: str) -> Iterator[Callable[[int, int], None] | None]:
    """What is to be called with the bytes that are done and all of them; None without rich, or without a terminal."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as SpeedColumn
    except ImportError:  # an extra that nothing depends on
        yield None
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), SpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(does, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
