"""Progress bar."""

import io
import sys

import pytest

from initlib import _progress
from initlib._progress import progress


def terminal(monkeypatch):
    """Return a terminal in place of stderr; not a fixture, because pytest sets stderr anew before each test."""
    pytest.importorskip("rich")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_without_a_terminal_there_is_no_bar(capsys):
    with progress("writing") as advance:
        advance(1, 2)
    assert _progress._bar("writing") is None
    assert capsys.readouterr().err == ""


def test_without_rich_there_is_no_bar(monkeypatch):
    shown = terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with progress("writing") as advance:
        advance(1, 2)
    assert shown.getvalue() == ""


def test_a_terminal_shows_a_bar(monkeypatch):
    shown = terminal(monkeypatch)
    with progress("writing") as advance:
        for done in (0, 500_000, 1_000_000):
            advance(done, 1_000_000)
    assert "writing" in shown.getvalue()
    assert "1.0/1.0 MB" in shown.getvalue()


def test_the_bar_appears_after_its_patience(monkeypatch):
    screen = terminal(monkeypatch)
    monkeypatch.setattr(_progress.time, "monotonic", iter(range(10_000)).__next__)
    shown = []
    with progress("initialize", patience=2.0) as advance:
        for done in (1, 2, 3):
            advance(done, 3)
            shown.append("initialize" in screen.getvalue())
    assert shown == [False, True, True]


def test_an_interruption_ends_the_bar(monkeypatch):
    stopped = []

    class Bar:
        task_ids = (0,)

        def update(self, *arguments, **keywords):
            raise KeyboardInterrupt

        def stop(self):
            stopped.append(True)

    monkeypatch.setattr(_progress, "_bar", lambda description: Bar())
    with pytest.raises(KeyboardInterrupt), progress("writing") as advance:
        advance(1, 2)
    assert stopped == [True]
