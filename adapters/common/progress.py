"""Progress: a bar on the terminal, for work that takes a while."""

import time
from types import TracebackType
from typing import Any

PATIENCE = 2.0  # seconds without a bar


class Progress:
    """How many of the weights are there: a bar of rich, if that is installed, on a terminal, after two seconds."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.start = time.monotonic()
        self.bar: Any = None
        self.tried = False

    def advance(self, count: int) -> None:
        """Say that so many more are there."""
        self.done += count
        if not self.tried and time.monotonic() - self.start > PATIENCE:
            self.tried = True
            self.bar = _bar(self.total)
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=self.done)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()  # the terminal is left as it was, also after Ctrl-C


def _bar(total: int) -> Any:
    try:
        from rich.console import Console
        from rich.progress import Progress as Bar
    except ImportError:
        return None
    console = Console(stderr=True)
    if not console.is_terminal:
        return None
    bar = Bar(console=console, transient=True)
    bar.add_task("initialize", total=total)
    bar.start()
    return bar
