"""Plans with old weights as text: code, tables, differences and JSON."""

import json
import pickle

import numpy as np
import pytest
from checkpoints import save
from hypothesis import given
from hypothesis import strategies as st
from old_weights import OLD, weight

import initlib
from initlib import Plan, PlanError, loaded, normal, parts, plan, values
from initlib.files import checkpoint_source

# Code and tables


@pytest.mark.parametrize(
    "fill",
    [
        loaded("a folder/old.safetensors", 'a "quoted" name'),
        loaded("old", index=slice(0, 8)) * 0.1,
        loaded("old", "é", index=(3, ..., slice(None, None, -2)), axes="(3 O)I") * -2,
        loaded("old") + loaded("new") * 0.5 + normal(std=0.001),
    ],
    ids=repr,
)
def test_the_repr_is_code_that_makes_the_fill(fill):
    again = eval(repr(fill), vars(initlib) | {"loaded": loaded, "normal": normal})
    assert again == fill
    assert hash(again) == hash(fill)
    assert pickle.loads(pickle.dumps(fill)) == fill


def test_a_printed_plan_folds_the_names_of_tensors(old):
    twice = [weight(f"h.{i}.w") for i in range(8)]
    made = plan(twice, {"h.*.w": lambda p: loaded(old, f"layers.{p.indices[0] // 2}.w") * (1 / 3) + normal(std=0.001)})
    lines = str(made).splitlines()
    assert len(lines) == 3
    assert 'loaded("old.safetensors", "layers.{0..3}.w") * 0.333333 + normal(std=0.001)' in lines[1]
    (row, *_) = made.to_dicts()
    assert (row["initializer"], row["std"]) == (
        'loaded("old.safetensors", "layers.0.w") * 0.333333 + normal(std=0.001)',
        0.001,
    )
    assert plan([weight()], {"*": loaded(old)}).to_dicts()[0]["std"] is None
    stack = plan([weight("h", (4, 6, 8))], {"h": parts("layers.{i}.w", loaded(old))})
    assert "layers.{0..3}.w  6x8" in str(stack)
    assert str(stack).count("loaded(") == 1


def test_the_difference_of_plans_names_tensors(old):
    every = [weight(f"layers.{i}.w") for i in range(4)]
    copies, noisy = plan(every, {"*": loaded(old)}), plan(every, {"*": loaded(old) + normal(std=0.01)})
    assert not copies.diff(plan(every, {"layers.*.w": loaded(old, "layers.*.w")}))
    text = str(copies.diff(noisy))
    name = 'loaded("old.safetensors", "layers.{0..3}.w")'
    assert text.startswith(f"layers.{{0..3}}.w: initializer {name} → {name} + normal(std=0.01), std none → 0.01")


# JSON


def saved(old):
    rules = {
        "x": parts({"a": (1, loaded(old, "layers.0.w", index=(slice(0, 3), ...)) * 0.5), "b": 1}, normal()),
        "*": loaded(old) + values(np.ones((6, 8), "float32")) + normal(std=0.01),
    }
    return plan([weight(), weight("layers.1.w"), weight("x", (6, 8))], rules)


def test_json_holds_the_path_the_digest_and_the_size(old):
    made = saved(old)
    text = made.to_json()
    (source,) = json.loads(text)["sources"]
    digest = checkpoint_source.CheckpointSource(old).digest
    assert source == {"path": str(old), "sha256": digest, "bytes": old.stat().st_size}
    assert Plan.from_json(text) == made
    assert Plan.from_json(text).to_json() == text


def test_a_plan_from_json_opens_no_file_that_is_not_named(old, tmp_path, monkeypatch):
    text, new = saved(old).to_json(), tmp_path / "written"
    saved(old).write(new, 0)
    with monkeypatch.context() as patch:
        patch.setattr("initlib.plans.fills.sources.CheckpointSource", None)  # a call of it would be a TypeError
        read = Plan.from_json(text)
        print(read)
        assert read == Plan.from_json(text)
        message = f"source '{old}' must be named before it is read. Pass sources="
        for use in (lambda: read.draw(0), lambda: read.write(tmp_path / "new", 0), lambda: read.verify(new, 0)):
            with pytest.raises(ValueError, match=message):
                use()
    assert not (tmp_path / "new").exists()


def test_a_plan_from_json_reads_the_files_that_are_named(old, tmp_path):
    made = saved(old)
    made.save(tmp_path / "plan.json")
    moved = old.rename(tmp_path / "moved.safetensors")
    read = Plan.load(tmp_path / "plan.json", sources={str(old): moved})
    assert read == made
    assert read.to_json() == made.to_json()
    weights = Plan.from_json(made.to_json(), sources={str(old): str(moved)}).draw(0)
    assert all(np.array_equal(weights[name], array) for name, array in read.draw(0).items())
    expected = OLD["layers.1.w"] + np.float32(1) + normal(std=0.01)((6, 8), seed=0, name="layers.1.w")
    assert np.array_equal(weights["layers.1.w"], expected)


def test_another_checkpoint_in_the_place_of_a_source_is_an_error(old, tmp_path):
    text = saved(old).to_json()
    for arrays in (OLD | {"more": np.ones(1)}, {f"{name}.x": array for name, array in OLD.items()}):
        other = save(tmp_path / "other", arrays)
        with pytest.raises(PlanError, match="must be the checkpoint that the plan was made with"):
            Plan.from_json(text, sources={str(old): other})
    with pytest.raises(PlanError, match=r"cannot be read: .* No such file"):
        Plan.from_json(text, sources={str(old): tmp_path / "none"})
    with pytest.raises(ValueError, match="sources must have only paths in the plan, got 'old'"):
        Plan.from_json(text, sources={"old": old})
    for sources, message in (("old", "sources must be a mapping"), ({str(old): 3}, "source must be a path")):
        with pytest.raises(TypeError, match=message):
            Plan.from_json(text, sources=sources)


def test_arrays_in_memory_cannot_be_saved(tmp_path):
    made = plan([weight()], {"*": loaded(OLD)})
    for save_it in (made.to_json, lambda: made.write(tmp_path, 0)):
        with pytest.raises(
            ValueError, match=r"must be in a file, got <4 arrays>. Save the arrays as a safetensors file"
        ):
            save_it()


def text_of(filling, source=None):
    """Return a plan of one parameter with a filling and a source as JSON."""
    source = {"path": "old", "sha256": "0" * 64, "bytes": 9} if source is None else source
    return json.dumps({
        "format": "initlib plan", "version": 1, "sources": [source], "fillings": [filling],
        "parameters": [{"name": "w", "shape": [6, 8], "filling": 0}],
    })  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (text_of({"loaded": "w", "source": 1}), "source must be the index of one of 1 sources, got 1"),
        (text_of({"loaded": "w", "source": -1}), "source must be the index of one of 1 sources, got -1"),
        (text_of({"loaded": "w", "source": True}), "source must be of type int"),
        (text_of({"loaded": "w"}), "the object must have the fields loaded, source"),
        (text_of({"loaded": 3, "source": 0}), "loaded must be of type str"),
        (text_of({"loaded": "\x1b[2J", "source": 0}), "name must be a printable string"),
        (text_of({"loaded": "w", "source": 0, "more": 1}), "the object must have the fields"),
        (text_of({"loaded": "w", "source": 0, "index": [[1, 2]]}), "index must be made of"),
        (text_of({"loaded": "w", "source": 0, "index": [1.5]}), "index must be made of"),
        (text_of({"loaded": "w", "source": 0, "index": [[1, 2, 3, 4]]}), "index must be made of"),
        (text_of({"loaded": "w", "source": 0, "axes": "?"}), "axes must consist of"),
        (text_of({"loaded": "w", "source": 0, "scale": 1}), "scale must be of type float"),
        (text_of({"loaded": "w", "source": 0, "scale": 1e999}), "source 0|Infinity is not a JSON number"),
        (text_of({"sum": []}), "sum must be made of loaded weights and values"),
        (text_of({"sum": ["keep"]}), "sum must be made of loaded weights and values"),
        (text_of({"sum": [{"sum": [{"loaded": "w", "source": 0}]}]}), "sum must be made of"),
        (text_of({"sum": [{"loaded": "w", "source": 0}], "noise": "x"}), "noise must be of type dict"),
        (text_of({"loaded": "w", "source": 0}, {"path": "old"}), "the object must have the fields path, sha256, bytes"),
        (text_of({"loaded": "w", "source": 0}, {"path": "", "sha256": "0" * 64, "bytes": 1}), "source must be a path"),
        (text_of({"loaded": "w", "source": 0}, {"path": "a\x1b", "sha256": "0" * 64, "bytes": 1}), r"got 'a\x1b'"),
        (text_of({"loaded": "w", "source": 0}, {"path": "a", "sha256": "0" * 63, "bytes": 1}), "64 hexadecimal"),
    ],
)
def test_a_hostile_text_is_an_error(text, message):
    with pytest.raises(ValueError) as caught:
        Plan.from_json(text)
    assert any(each in str(caught.value) for each in message.split("|"))


@given(st.data())
def test_any_change_of_a_text_is_a_plan_or_a_value_error(data):
    noisy = {"sum": [{"loaded": "w", "source": 0, "index": [[0, 6, None], "..."], "scale": 0.5}], "noise": None}
    noisy["noise"] = {"factory": "normal", "arguments": {"mean": 0.0, "std": 1.0}}
    text = text_of(noisy)
    at = data.draw(st.integers(0, len(text) - 1))
    new = data.draw(st.sampled_from(["", '"', "0", "-", "}", "]", "1e999", "null", "true", "{", ",", "\\", "9" * 40]))
    try:
        read = Plan.from_json(text[:at] + new + text[at + data.draw(st.integers(0, 3)) :])
    except ValueError:  # and no other error
        return
    assert Plan.from_json(read.to_json()) == read
