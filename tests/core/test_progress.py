"""The bar of what takes long."""

import io
import sys

import pytest

from initlib.cli.progress import progress


def test_nobody_looks():
    with progress("writing") as advance:
        assert advance is None


def test_rich_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with progress("writing") as advance:
        assert advance is None


def test_a_terminal(monkeypatch):
    pytest.importorskip("rich")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("writing") as advance:
        for done in (0, 500_000, 1_000_000):
            advance(done, 1_000_000)
    assert "writing" in terminal.getvalue()
    assert "1.0/1.0 MB" in terminal.getvalue()
