"""A program that compares one model with its plan under every layout over gloo; each rank reports its own memory."""

import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch.distributed.tensor.debug import CommDebugMode
from torch_model_ranks import BUILT, RULES, Model, Tied, layouts, wrapped

import initlib.adapters.torch as init
from initlib import normal
from initlib.adapters.torch.drawing.fill import local_boxes
from initlib.adapters.torch.models.tensors import model_tensors, walk
from initlib.stream.boxes import normalize_index

FIRST, SECOND = "layers.0.mix.weight", "layers.1.mix.weight"


def models(world):
    """Yield the name of each layout, and a function that makes a model of that layout."""

    def laid_out(cls, lay_out):
        model = cls()
        lay_out(model)
        return model

    for name, cls, lay_out in layouts(world):
        yield name, lambda cls=cls, lay_out=lay_out: laid_out(cls, lay_out)
    for cls in (Model, Tied):
        for original in (True, False):
            yield "flat", lambda cls=cls, original=original: wrapped(cls, original)


def initialize(model, rules=None):
    return init.initialize(model, (rules or {}) | BUILT, seed=5, default=normal(std=0.02))


def held(model, name):
    """Return the views of a tensor's memory on this rank, each with its box."""
    tensor = next(each for each in model_tensors(walk(model)) if name in each.names)
    local = local_boxes(tensor.tensor) if tensor.flat is None else tensor.flat.boxes()
    boxes = [(view.detach(), normalize_index(index, tensor.shape)) for view, index in local]
    return [(view, box) for view, box in boxes if view.numel()]


def reports(model, plan, seed=5, **options):
    with CommDebugMode() as communication:
        result = init.verify(model, plan, seed, **options)
    assert communication.get_total_counts() == 0
    return [str(difference) for difference in result]


def check_initialized(build):
    model = build()
    plan = initialize(model, RULES)
    for whole in (False, True):
        assert reports(model, plan, whole=whole) == []


def check_one_weight(build):
    model = build()
    plan = initialize(model)
    expected = []
    views = held(model, SECOND)
    if dist.get_rank() == dist.get_world_size() - 1 and views:
        view, box = views[-1]
        view[-1, -1] += 1e-3
        index = tuple(part.start + (part.size - 1) * part.step for part in box)
        expected = [f"'{SECOND}' has other values from index {index} on"]
    assert reports(model, plan, whole=True) == expected


def check_two_rows(build):
    model = build()
    plan = initialize(model)
    expected = []
    for view, (rows, columns) in held(model, FIRST):
        if dist.get_rank() == 0 and rows.size > 1 and not expected:
            view[:2] = view[:2].flip(0)
            expected = [
                f"'{FIRST}' has other values from index {(rows.start, columns.start)} on: "
                f"holds row {rows.start + 1} of the same weight"
            ]
    assert reports(model, plan, whole=True) == expected


def check_two_weights(build):
    model = build()
    plan = initialize(model)
    views = list(zip(held(model, FIRST), held(model, SECOND), strict=True))
    for (first, _), (second, _) in views:
        values = first.clone()
        first.copy_(second)
        second.copy_(values)
    names = [(FIRST, SECOND), (SECOND, FIRST)] if views else []
    for whole in (False, True):
        lines = reports(model, plan, whole=whole)
        assert [line.split("'")[1] for line in lines] == [name for name, _ in names], lines
        assert all(line.endswith(f" on: holds {other}") for line, (_, other) in zip(lines, names, strict=True)), lines


def check_a_shard_of_another_rank(build):
    """Put the rows of the next rank in place of this rank's, and return whether the layout has such rows."""
    model = build()
    plan = initialize(model)
    boxes = [None] * dist.get_world_size()
    views = held(model, FIRST)
    dist.all_gather_object(boxes, [box for _, box in views])
    others = boxes[(dist.get_rank() + 1) % len(boxes)]
    if len(views) != 1 or len(others) != 1:
        return False
    ((view, (rows, columns)),) = views
    ((other_rows, other_columns),) = others
    if rows == other_rows or (rows.size, columns) != (other_rows.size, other_columns):
        return False
    stop = other_rows.start + other_rows.size
    view.copy_(
        torch.from_numpy(plan.draw_one(FIRST, 5, (slice(other_rows.start, stop), slice(None))))[
            :, columns.start : columns.start + columns.size
        ]
    )
    assert reports(model, plan) == [
        f"'{FIRST}' has other values from index {(rows.start, columns.start)} on: "
        f"holds rows {other_rows.start}..{stop - 1} of the same weight"
    ]
    return True


def check_another_seed(build):
    model = build()
    plan = initialize(model)
    drawn = [
        entry.parameter.name
        for entry in plan.entries
        if entry.parameter.kind in ("kernel", "table") and held(model, entry.parameter.name)
    ]
    assert [line.split("'")[1] for line in reports(model, plan, 6)] == drawn


def check_missing(build, name):
    model = build()
    plan = initialize(model)
    expected = []
    if dist.get_rank() == 0 and name != "flat":
        del model.norm.bias
        expected = ["'norm.bias' is missing"]
    assert reports(model, plan) == expected


def main(rank, world, store):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(store, world), rank=rank, world_size=world)
    for name, build in models(world):
        try:
            check_initialized(build)
            check_one_weight(build)
            check_two_rows(build)
            check_two_weights(build)
            moved = check_a_shard_of_another_rank(build)
            assert moved or world == 1 or name not in ("fully_shard", "tensor parallel")
            check_another_seed(build)
            check_missing(build, name)
        except AssertionError as error:
            raise AssertionError(f"{name} on rank {rank} of {world}") from error
    dist.destroy_process_group()


if __name__ == "__main__":
    for world in map(int, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            # Forked, so that PyTorch is imported once.
            multiprocessing.start_processes(main, (world, str(Path(folder) / "store")), world, start_method="fork")
        print(f"{world} ranks")
