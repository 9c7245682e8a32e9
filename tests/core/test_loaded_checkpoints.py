"""Checkpoints that are written from old weights."""

import tracemalloc

import numpy as np
import pytest
from checkpoints import contents, save_index
from old_weights import OLD, weight

from initlib import Plan, loaded, normal, parts, plan
from initlib.files.header import Header


def upcycled(path, dtype="bfloat16"):
    experts = [weight(f"layers.{i}.experts", (4, 6, 8), dtype) for i in range(4)]
    return plan(experts, {"layers.*.experts": loaded_experts(path)})


def loaded_experts(path):
    def experts(parameter):
        old = loaded(path, f"layers.{parameter.indices[0]}.w")
        return parts(f"layers.{parameter.indices[0]}.experts.{{i}}", old + normal(std=0.01), replaces=2)

    return experts


def test_a_checkpoint_is_written_resumed_and_verified(old, tmp_path):
    made = upcycled(old)
    paths = made.write(tmp_path / "new", 0, max_shard_size=500)
    assert len(paths) == 4
    assert not made.verify(tmp_path / "new", 0, whole=True)
    before = contents(tmp_path / "new")
    paths[1].unlink()
    assert made.write(tmp_path / "new", 0, max_shard_size=500) == (paths[1],)
    assert contents(tmp_path / "new") == before
    read = Plan.from_json(made.to_json(), sources={str(old): old})
    assert read.write(tmp_path / "new", 0, max_shard_size=500) == ()
    (difference, *_) = made.verify(tmp_path / "new", 1)
    assert difference.what == "has other values"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("is_link", [False, True])
def test_a_write_replaces_no_file_that_it_reads(tmp_path, overwrite, is_link):
    source, folder = tmp_path / "source", tmp_path / "folder"
    every = [weight(f"layers.{i}.w") for i in range(4)]
    for size in (10**6, 300):
        path, *_ = plan(every, normal()).write(source / str(size), 0, max_shard_size=size)
        target = path.parent
        if is_link:
            target = folder / str(size)
            target.mkdir(parents=True)
            (target / path.name).symlink_to(path)
        before = contents(path.parent)
        made = plan(every, {"*": loaded(path.parent) * 2})
        with pytest.raises(ValueError, match="must not be the folder of a checkpoint that the plan reads"):
            made.write(target, 0, max_shard_size=size, overwrite=overwrite)
        assert contents(path.parent) == before


@pytest.mark.parametrize("is_link", [False, True])
def test_a_saved_plan_replaces_no_file_that_the_plan_reads(tmp_path, is_link):
    every = [weight(f"layers.{i}.w") for i in range(4)]
    for size in (10**6, 300):
        folder = tmp_path / str(size)
        plan(every, normal()).write(folder, 0, max_shard_size=size)
        made = plan(every, {"*": loaded(folder) * 2})
        before = contents(folder)
        for path in sorted(folder.iterdir()):
            target = path
            if is_link:
                target = tmp_path / f"link to {size} {path.name}"
                target.symlink_to(path)
            with pytest.raises(ValueError, match="path must not be a file that the plan reads"):
                made.save(target)
        assert contents(folder) == before
        made.save(folder / "plan.json")
        assert (folder / "plan.json").exists()


def test_a_plan_that_opens_no_source_replaces_no_source_either(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    every = [weight(f"layers.{i}.w") for i in range(4)]
    for size in (10**6, 300):
        folder = tmp_path / str(size)
        plan(every, normal()).write(folder, 0, max_shard_size=size)
        before = contents(folder)
        for source in (folder, f"{size}", *folder.glob("*.json"), *folder.glob("model.safetensors")):
            read = Plan.from_json(plan(every, {"*": loaded(source) * 2}).to_json())
            for target in sorted(folder.iterdir()):
                for path in (target, f"{size}/../{size}/{target.name}"):
                    with pytest.raises(ValueError, match="path must not be a file that the plan reads"):
                        read.save(path)
        assert contents(folder) == before
        read.save(folder / "plan.json")


def test_a_foreign_copy_is_named(old, tmp_path):
    every = [weight(f"layers.{i}.w") for i in range(4)]
    made = plan(every, {"*": loaded(old)})
    swapped = plan(every, {"layers.1.w": loaded(old, "layers.2.w"), "*": loaded(old)})
    swapped.write(tmp_path / "new", 0)
    (difference,) = made.verify(tmp_path / "new", 0)
    assert str(difference) == "'layers.1.w' has other values from index (0, 0) on: holds layers.2.w"


def test_a_sharded_checkpoint_is_a_source(tmp_path):
    files = {f"{i}.safetensors": {f"layers.{i}.w": OLD[f"layers.{i}.w"]} for i in range(4)}
    save_index(tmp_path, files)
    every = [weight(f"layers.{i}.w") for i in range(4)]
    weights = plan(every, {"*": loaded(tmp_path)}).draw(0)
    assert all(np.array_equal(weights[name], array) for name, array in OLD.items())


def test_the_memory_of_a_write_does_not_grow_with_the_weights(tmp_path):
    shape, peaks = (64, 2**16), []
    header = Header.of({"w": ("float32", shape)}, {})
    with (tmp_path / "old").open("wb") as file:
        file.write(header.to_bytes())
        file.truncate(header.size)
    for experts in (1, 4):
        made = plan(
            [weight("w", (experts, *shape), "bfloat16")],
            {"w": parts("w.{i}", loaded(tmp_path / "old", "w") + normal())},
        )
        tracemalloc.start()
        try:
            made.write(tmp_path / str(experts), 0)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert max(peaks) < 32e6, peaks
    assert peaks[1] < 1.2 * peaks[0] + 1e6
