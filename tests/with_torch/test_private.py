"""The private names of PyTorch that the adapter needs: which have vanished, and what takes their place."""

import re
from pathlib import Path

import pytest
import torch

import initlib.adapters.torch as init
from initlib.adapters.torch import _private as internals

FOLDER = Path(internals.__file__).parent


def test_nothing_has_vanished():
    assert internals.VANISHED == []
    assert internals.strided_shard() != ()


def test_what_vanishes_is_named():
    try:
        assert internals.find("nn.init._no_such_name", "fallback") == "fallback"
        with pytest.raises(RuntimeError, match=r"has no torch\.nn\.init\._nor_this"):
            internals.find("nn.init._nor_this")()
        assert internals.VANISHED == ["torch.nn.init._no_such_name", "torch.nn.init._nor_this"]
    finally:
        internals.VANISHED.clear()


def test_private_names_are_used_in_one_file_alone():
    private = re.compile(
        r"torch(\.\w+)*\._(?!_)\w+|from torch\S* import .*\b_(?!_)\w+|\._(local_tensor|is_view|torchdynamo\w+)\b"
    )
    files = {path.name: private.findall(path.read_text()) for path in FOLDER.rglob("*.py")}
    assert files.pop("_private.py")
    assert {name for name, found in files.items() if found} == set()


def test_where_modes_cannot_be_counted_tensors_are_copied_to(monkeypatch):
    expected = init.he_normal_(torch.empty(6, 8), seed=0)
    monkeypatch.setattr(internals, "_dispatch_modes", lambda: 1)
    assert torch.equal(init.he_normal_(torch.empty(6, 8), seed=0), expected)
