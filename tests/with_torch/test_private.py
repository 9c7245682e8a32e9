"""Private names of PyTorch that the adapter needs: one file uses them, and replaces those that have vanished."""

import ast
import re
from pathlib import Path

import pytest
import torch

import initlib.adapters.torch as init
from initlib.adapters.torch import _private as internals

FOLDER = Path(internals.__file__).parent


def test_this_pytorch_has_all_private_names():
    assert internals.VANISHED == []
    assert internals.strided_shard() != ()


def test_an_error_names_what_has_vanished():
    try:
        assert internals.find("nn.init._no_such_name", "fallback") == "fallback"
        with pytest.raises(RuntimeError, match=r"has no torch\.nn\.init\._nor_this"):
            internals.find("nn.init._nor_this")()
        assert internals.VANISHED == ["torch.nn.init._no_such_name", "torch.nn.init._nor_this"]
    finally:
        internals.VANISHED.clear()


# Attributes of Python's own classes whose names begin with an underscore, and are public all the same.
PUBLIC = {"_replace", "_asdict", "_fields", "_getframe"}


def private_names(source):
    """Return the private names that a file takes from other objects than its own instances, and from other packages."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            names = [] if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls") else [node.attr]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
        else:
            names = []
        yield from (name for name in names if re.match(r"_[^_]", name) and name not in PUBLIC)


def test_private_names_of_pytorch_are_used_in_one_file_alone():
    files = {path: set(private_names(path.read_text())) for path in FOLDER.rglob("*.py")}
    assert len(files) > 30
    assert files.pop(FOLDER / "_private.py") >= {"_local_tensor", "_apply", "_torchdynamo_disable"}
    assert {str(path.relative_to(FOLDER)): names for path, names in files.items() if names} == {}


def test_a_private_name_anywhere_is_found():
    source = "from torch._C import _f\ntensor._version\nself._own\nsys._getframe(1)\nbox._replace(a=1)\nx.y._is_view()"
    assert sorted(private_names(source)) == ["_C", "_f", "_is_view", "_version"]


def test_values_are_copied_where_modes_cannot_be_counted(monkeypatch):
    expected = init.he_normal_(torch.empty(6, 8), seed=0)
    monkeypatch.setattr(internals, "_dispatch_modes", lambda: 1)
    assert torch.equal(init.he_normal_(torch.empty(6, 8), seed=0), expected)
