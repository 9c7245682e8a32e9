"""Make a plan of the tensors that a checkpoint has, or print one."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import initlib

from .. import recipes
from ..checkpoints.like import like
from ..plans.parameter import Parameter
from . import syntax


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The plan that is there, or what makes one."""
    parser.epilog = (
        "example: initlib plan --like model.safetensors --rule '*norm*=ones' --rule '*=normal:std=0.02' -o plan.json"
    )
    parser.add_argument("plan", nargs="?", type=Path, metavar="PLAN.json", help="a plan that is there: print it")
    parser.add_argument(
        "--like", type=Path, metavar="PATH", help="make a plan of a .safetensors, an index, or a folder with one"
    )
    parser.add_argument(
        "--rule",
        action="append",
        default=[],
        type=syntax.pair,
        metavar="PATTERN=INITIALIZER",
        help="what fills the tensors whose names match, such as '*norm*=ones', or keep; the first that matches counts",
    )
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        type=syntax.text,
        help="rules of initlib.recipes, after those of --rule, such as torch_default or llama_depth:width=4096",
    )
    parser.add_argument("--default", metavar="INITIALIZER", help="what fills the tensors that no rule matches")
    parser.add_argument(
        "--axes",
        action="append",
        default=[],
        type=syntax.pair,
        metavar="PATTERN=AXES",
        help="what the axes of tensors mean, such as '*.weight=OI': initializers that scale by fans ask for it",
    )
    parser.add_argument(
        "--kind",
        action="append",
        default=[],
        type=syntax.pair,
        metavar="PATTERN=KIND",
        help="what tensors are, such as '*embed*=table' or '*_proj.weight=kernel': recipes ask for it",
    )
    parser.add_argument("--dtype", type=syntax.text, help="the dtype to plan for (default: the checkpoint's own)")
    parser.add_argument("--all", action="store_true", help="print a line for every tensor: none is folded")
    parser.add_argument("-o", "--output", type=Path, metavar="PLAN.json", help="save the plan, and do not print it")


def run(options: argparse.Namespace) -> None:
    """Make the plan or read it; save it or print it."""
    if (options.plan is None) == (options.like is None):
        raise ValueError("plan takes one of PLAN.json, a plan to print, and --like PATH, a checkpoint to plan for")
    making = ("rule", "recipe", "default", "axes", "kind", "dtype")
    given = [f"--{name}" for name in making if getattr(options, name)]
    if options.plan is not None and given:
        raise ValueError(f"{', '.join(given)} make a plan of --like PATH; a plan that is there is as it is")
    if options.plan is not None:
        plan = initlib.Plan.load(options.plan)
    else:
        default = None if options.default is None else syntax.filling(options.default)
        plan = like(
            options.like, _rules(options), default=default, axes=options.axes, kinds=options.kind, dtype=options.dtype
        )
    if options.output is None:
        print(plan.table(fold=not options.all))
    else:
        plan.save(options.output)
        size = sum(entry.parameter.bytes for entry in plan.entries)
        print(f"wrote {options.output}: {len(plan.entries):,} tensors, {amount(size)}")


def _rules(options: argparse.Namespace) -> Callable[[tuple[Parameter, ...]], list[tuple[Any, Any]]]:
    """The rules that the options say, then those of the recipe: a function of all parameters, as some recipes are."""
    said = [(pattern, syntax.filling(value)) for pattern, value in options.rule]
    recipe = None if options.recipe is None else _recipe(options.recipe)

    def rules(parameters: tuple[Parameter, ...]) -> list[tuple[Any, Any]]:
        made = recipe(parameters) if callable(recipe) else recipe
        return [*said, *(made or {}).items()]

    return rules


def _recipe(argument: str) -> Any:
    """What a recipe makes of its arguments: torch_default, or llama_depth:width=4096."""
    name = argument.partition(":")[0]
    known = [recipe for recipe in recipes.__all__ if recipe != "analytic"]  # which asks for a model
    if name not in known:
        raise ValueError(f"recipe must be one of {', '.join(known)}, got {argument!r}")
    return syntax.call(getattr(recipes, name), argument)


def amount(size: float) -> str:
    """A number of bytes for people.

    >>> amount(16_060_522_496), amount(512)
    ('16.1 GB', '512 bytes')
    """
    for unit, value in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= value:
            return f"{size / value:.3g} {unit}"
    return f"{size:.0f} bytes"
