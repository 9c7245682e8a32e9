"""Plans: immutable and comparable mappings of names to entries."""

import pickle

import pytest
from plans import kernel, model

import initlib
from initlib import Parameter, Plan, PlanError, glorot_uniform, he_normal, ones, plan, zeros


def test_a_plan_is_immutable_and_comparable():
    table = plan(model(), he_normal)
    assert table == plan(iter(model()), default=he_normal)
    assert table != plan(model(), glorot_uniform)
    assert hash(table) == hash(plan(model(), he_normal))
    assert pickle.loads(pickle.dumps(table)) == table
    assert repr(table) == "Plan(11 parameters, 864 weights)"
    with pytest.raises(AttributeError):
        table.entries = ()


def test_a_plan_contains_and_yields_the_names_of_its_tensors():
    made = plan([Parameter("b", (2,)), Parameter("a", (3,), tied=("c",))], zeros)
    assert list(made) == ["b", "a"]
    assert len(made) == 2
    assert [name in made for name in ("a", "b", "c", "d", 0, None)] == [True, True, True, False, False, False]
    assert [made[name] for name in made] == list(made.entries)
    for wrong in (0, slice(1), [0]):
        with pytest.raises(ValueError, match="name must be the name of a parameter of the plan, got"):
            made[wrong]


def test_a_plan_made_by_hand_is_checked():
    entries = plan(model(), he_normal).entries
    with pytest.raises(PlanError, match="another parameter has the name 'mask' too"):
        Plan((*entries, entries[-1]))


def test_an_empty_plan_is_a_plan():
    assert plan([]).draw(0) == {}
    assert str(plan([])).splitlines()[1:] == ["0 parameters, 0 weights, 0 bytes"]
    with pytest.raises(PlanError, match="rule '\\*' matches nothing"):
        plan([], {"*": ones})


def test_planning_draws_nothing_and_imports_no_framework(monkeypatch):
    monkeypatch.setattr(initlib.plans.entry.Entry, "draw", None)
    huge = [kernel(f"h.{i}.w", (2**20, 2**20)) for i in range(3)]
    assert "3,298,534,883,328 weights" in str(plan(huge, he_normal))


def test_a_plan_of_other_objects_is_an_error():
    with pytest.raises(TypeError, match=r"entries must be made of Entry, got Parameter\. Call initlib\.plan"):
        initlib.Plan((Parameter("w", (4, 4)),))
