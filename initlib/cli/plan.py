"""Make a plan of the tensors of a checkpoint, or print a plan."""

import argparse
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import initlib

from .. import recipes
from ..checkpoints.like import like
from ..plans.parameter import KINDS, Parameter
from ..plans.text.nearest import nearest
from ..plans.text.table import table
from . import syntax

KINDS_OF_PYTORCH = (
    "--kind '*.bias=bias' --kind '*norm*.weight=scale' --kind '*embed*.weight=table' --axes '*.weight=OI...', with the "
    "names of your model"
)
# Options that take a pattern of names and a value, and may be given again: the option, its value, and its purpose.
PAIRS = (
    ("--rule", "INITIALIZER", "the initializer (or keep) of tensors, such as '*norm*=ones'; the first match counts"),
    ("--axes", "AXES", "the roles of the axes, such as '*.weight=OI'; initializers that scale by fans need the roles"),
    ("--kind", "KIND", "the kind of tensors, such as '*embed*=table' or '*_proj.weight=kernel'; recipes need kinds"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plan to print, or the checkpoint and the rules of a new plan."""
    parser.epilog = (
        "examples: initlib plan --like FOLDER --rule '*norm*=ones' --rule '*=normal(std=0.02)' -o plan.json; "
        f"initlib plan --like FOLDER --recipe gpt2:layers=12 {KINDS_OF_PYTORCH}"
    )
    parser.add_argument("plan", nargs="?", type=Path, metavar="PLAN.json", help="the plan to print")
    parser.add_argument(
        "--like",
        type=Path,
        metavar="PATH",
        help="make a plan of a .safetensors file, an index, or a folder with one of them",
    )
    for option, value, purpose in PAIRS:
        metavar = f"PATTERN={value}"
        parser.add_argument(option, action="append", default=[], type=syntax.pair, metavar=metavar, help=purpose)
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        type=syntax.text,
        help="rules of initlib.recipes, after the rules of --rule, such as torch_default or gpt2:layers=12",
    )
    parser.add_argument("--default", metavar="INITIALIZER", help="the initializer of the tensors that no rule matches")
    parser.add_argument("--dtype", type=syntax.text, help="the dtype to plan for (default: the checkpoint's own)")
    parser.add_argument("--all", action="store_true", help="print one line for every tensor, however long")
    parser.add_argument("-o", "--output", type=Path, metavar="PLAN.json", help="save the plan instead of printing it")


def run(options: argparse.Namespace) -> None:
    """Make or read the plan; save or print it."""
    if (options.plan is None) == (options.like is None):
        raise ValueError("plan must have either PLAN.json (a plan to print) or --like PATH (a checkpoint to plan for)")
    making = ("rule", "recipe", "default", "axes", "kind", "dtype")
    given = [f"--{name}" for name in making if getattr(options, name)]
    if options.plan is not None and given:
        raise ValueError(
            f"{', '.join(given)} must come with --like PATH, got PLAN.json. To print a plan, pass PLAN.json alone"
        )
    if options.plan is not None:
        plan = initlib.Plan.load(options.plan)
    else:
        default = None if options.default is None else syntax.fill(options.default)
        plan = like(
            options.like, _rules(options), default=default, axes=options.axes, kinds=options.kind, dtype=options.dtype
        )
    if options.output is None:
        print(plan.table(fold=False) if options.all else table(plan.entries, True, max(100, _columns())))
    else:
        plan.save(options.output)
        size = sum(entry.parameter.bytes for entry in plan.entries)
        print(f"wrote {options.output}: {len(plan.entries):,} tensors, {amount(size)}")


def _columns() -> int:
    """Return the width of the terminal; 0 without one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def _rules(options: argparse.Namespace) -> Callable[[tuple[Parameter, ...]], list[tuple[Any, Any]]]:
    """Return the rules of --rule, then those of the recipe, as a function of all parameters, as some recipes are."""
    first = [(pattern, syntax.fill(value)) for pattern, value in options.rule]
    recipe = None if options.recipe is None else _recipe(options.recipe)

    def rules(parameters: tuple[Parameter, ...]) -> list[tuple[Any, Any]]:
        made = recipe(parameters) if callable(recipe) else recipe
        kinds = [str(pattern) for pattern in made or () if str(pattern).rpartition(":")[2] in KINDS]
        if kinds and all(parameter.kind in ("other", "buffer") for parameter in parameters):
            raise ValueError(
                f"recipe {options.recipe!r} has rules for kinds ({', '.join(kinds)}), which a checkpoint does not "
                f"record. Pass {KINDS_OF_PYTORCH}"
            )
        return [*first, *(made or {}).items()]

    return rules


def _recipe(argument: str) -> Any:
    """Return the rules of a recipe with its arguments: torch_default, or gpt2:layers=12."""
    name = re.split(r"[:(]", argument)[0]
    choices = [recipe for recipe in recipes.__all__ if recipe != "analytic"]  # analytic needs a model
    if name not in choices:
        near = nearest(name, choices, "names")
        raise ValueError(f"recipe must be one of {', '.join(choices)}, got {argument!r}{near}")
    return syntax.call(getattr(recipes, name), argument)


def amount(size: float) -> str:
    """Return a number of bytes in its largest unit.

    >>> amount(16_060_522_496), amount(512)
    ('16.1 GB', '512 bytes')
    """
    for unit, value in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= value:
            return f"{size / value:.3g} {unit}"
    return f"{size:.0f} bytes"
