"""Tensors that a checkpoint writes in pieces, or at once."""

from initlib import Parameter, he_normal, identity, orthogonal, parts, plan
from initlib.checkpoints.spans import spans


def test_weights_that_depend_on_one_another_are_not_cut():
    parameters = [Parameter(name, (8, 6), axes="OI") for name in ("free", "whole", "index", "qk")]
    rules = {
        "free": he_normal,
        "whole": orthogonal(),
        "index": identity(),
        "qk": parts({"q": (1, he_normal), "k": (1, orthogonal())}),
    }
    entries = {entry.parameter.name: entry for entry in plan(parameters, rules).entries}
    assert [len(spans(entry, 12)) for entry in entries.values()] == [4, 1, 4, 1]
