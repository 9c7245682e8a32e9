"""Differences between two plans."""

import pickle

import numpy as np
import pytest
from checkpoints import LLAMA_RULES, everything, llama

from initlib import Parameter, Plan, constant, he_normal, keep, normal, orthogonal, parts, plan, same_as, values, zeros

STD = normal(std=0.02)


def kernel(name="mlp.down.weight", shape=(64, 64), axes="OI", **fields):
    return Parameter(name, shape, axes=axes, kind="kernel", **fields)


def lines(before, after):
    return str(before.diff(after)).splitlines()


def test_equal_plans_have_no_difference():
    made = everything()
    changes = made.diff(Plan.from_json(made.to_json()))
    assert not changes
    assert (len(changes), list(changes), changes.to_dicts()) == (0, [], [])
    assert str(changes) == "no difference in 9 parameters"
    assert plan([]).diff(plan([])).changes == ()


def test_notes_kinds_and_owners_do_not_count():
    first = plan([Parameter("w", (8, 8), kind="table", owner="A")], he_normal)
    second = plan([Parameter("w", (8, 8), kind="other", owner="B", default=zeros)], STD)
    assert second["w"].notes
    assert first != second
    assert not first.diff(second)


CHANGES = [
    (
        plan([kernel()], STD),
        plan([kernel()], normal(std=0.0041)),
        "mlp.down.weight: initializer normal(std=0.02) → normal(std=0.0041), std 0.02 → 0.0041 (× 0.205)",
    ),
    (
        plan([kernel()], zeros),
        plan([kernel()], STD),
        "mlp.down.weight: initializer zeros → normal(std=0.02), std 0 → 0.02",
    ),
    (
        plan([kernel()], STD),
        plan([kernel()], {"*": keep}),
        "mlp.down.weight: fan_in 64 → none, fan_out 64 → none, initializer",
    ),
    (
        plan([kernel()], STD),
        plan([kernel(shape=(64, 32))], STD),
        "mlp.down.weight: shape 64x64 → 64x32, fan_in 64 → 32",
    ),
    (
        plan([kernel(shape=(8, 4))], he_normal),
        plan([kernel(shape=(8, 4), axes="IO")], he_normal),
        "mlp.down.weight: axes OI → IO, fan_in 4 → 8, fan_out 8 → 4, std 0.7071 → 0.5 (× 0.707)",
    ),
    (plan([kernel()], STD), plan([kernel(dtype="bfloat16")], STD), "mlp.down.weight: dtype float32 → bfloat16"),
    (plan([kernel()], STD), plan([kernel(tied=("a", "b"))], STD), "mlp.down.weight: tied none → a, b"),
    (
        plan([Parameter("t", (8, 2), kind="table")], STD),
        plan([Parameter("t", (8, 2), kind="table", padding=3)], STD),
        "t: padding none → 3",
    ),
    (plan([kernel("a")], STD), plan([kernel("b")], STD, rename={"b": "a"}), "a: name → b"),
    (plan([kernel("a")], STD), plan([kernel("a")], STD, rename={"a": "b"}), "a: stream → b"),
    (
        plan([Parameter("v", (2,))], {"v": values([1, 2])}),
        plan([Parameter("v", (2,))], {"v": values([2, 3])}),
        "v: initializer values(float64[2]) → other values(float64[2])",
    ),
    (
        plan([Parameter("v", (2,))], constant(1 / 3)),
        plan([Parameter("v", (2,))], constant(0.333333333)),
        "v: initializer constant(value=0.3333333333333333) → other constant(value=0.333333333)",
    ),
]


@pytest.mark.parametrize(("before", "after", "text"), CHANGES, ids=[text for _, _, text in CHANGES])
def test_each_field_that_changed_is_shown(before, after, text):
    changes = before.diff(after)
    assert changes
    line, total = str(changes).splitlines()
    assert line.startswith(text)
    assert total == "1 changed of 1 parameters"
    assert pickle.loads(pickle.dumps(changes)) == changes


def test_parameters_are_added_and_removed():
    before = plan([kernel("a"), *(kernel(f"h.{i}.old") for i in range(3))], STD)
    after = plan([kernel("a"), Parameter("head", (10, 64))], STD)
    assert lines(before, after) == [
        "- h.{0..2}.old: removed (64x64 float32, normal(std=0.02))",
        "+ head: added (10x64 float32, normal(std=0.02))",
        "1 added, 3 removed of 5 parameters",
    ]


def test_renamed_layers_are_one_line():
    old = plan([kernel(f"h.{i}.w") for i in range(4)], STD)
    new = plan([kernel(f"blocks.{i}.w") for i in range(4)], STD, rename={"blocks.*": "h.*"})
    assert lines(old, new) == ["h.{0..3}.w: name → blocks.{0..3}.w", "4 changed of 4 parameters"]
    kept_names = plan([kernel(f"h.{i}.w") for i in range(4)], STD, rename={"h.*": "blocks.*"})
    assert lines(old, kept_names) == ["h.{0..3}.w: stream → blocks.{0..3}.w", "4 changed of 4 parameters"]


def test_parts_are_compared_by_name():
    def fused(**fillings):
        return plan([kernel("attn.qkv", (96, 32))], {"*.qkv": parts({n: (1, each) for n, each in fillings.items()})})

    before = fused(q=he_normal, k=STD, v=STD)
    assert lines(before, fused(q=orthogonal(), k=STD, v=STD))[0].startswith(
        "attn.qkv part attn.q: initializer he_normal → orthogonal(), std"
    )
    assert lines(before, plan([kernel("attn.qkv", (96, 32))], STD))[0].startswith("attn.qkv: fan_in none → 32")
    assert "attn.qkv: initializer 3 parts → 2 parts" in lines(before, fused(q=he_normal, k=STD))


def test_shared_streams_are_paired_by_name():
    networks = [kernel("online.w"), kernel("target.w")]
    shared = plan(networks, STD, rename={"target.*": same_as("online.*")})
    assert not shared.diff(shared)
    assert lines(plan(networks, STD), shared)[0] == "target.w: stream → online.w"


def test_dictionaries_hold_the_values_before_and_after():
    (change,) = plan([kernel()], STD).diff(plan([kernel()], normal(std=0.01))).to_dicts()
    assert change == {
        "name": "mlp.down.weight",
        "what": "changed",
        "initializer": ("normal(std=0.02)", "normal(std=0.01)"),
        "std": (0.02, 0.01),
    }


def test_one_changed_rule_of_a_large_model_is_a_short_text():
    model = list(llama(layers=80))
    before = plan(model, LLAMA_RULES)
    after = plan(model, {"*.down_proj.weight": normal(std=0.0041), **LLAMA_RULES})
    assert len(before.entries) == 723
    changes = before.diff(after)
    assert len(changes) == 80
    assert len(str(changes).splitlines()) == 2
    assert np.isclose(changes.to_dicts()[0]["std"][1], 0.0041)


def test_a_comparison_with_another_object_is_an_error():
    with pytest.raises(TypeError, match="other must be a Plan, got dict"):
        plan([]).diff({})


def test_the_command_line_compares_two_plans(command, tmp_path):
    paths = [str(tmp_path / name) for name in ("a.json", "b.json")]
    for path, std in zip(paths, (0.02, 0.01), strict=True):
        plan([kernel()], normal(std=std)).save(path)
    assert command("diff", paths[0], paths[0]) == (0, ["no difference in 1 parameters"], [])
    code, out, err = command("diff", *paths)
    assert (code, out[-1], err) == (1, "1 changed of 1 parameters", [])
    (tmp_path / "b.json").write_text("{")
    code, out, err = command("diff", *paths)
    assert (code, out) == (2, [])
    assert "must be a plan, got another text. Make a plan: initlib plan --like FOLDER" in err[0]
