"""Descriptions: initializers by the name of their factory and its arguments, as in code."""

import inspect
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import initlib

from ...schemes.factories import FACTORIES
from ...schemes.initializer import Initializer


def presets() -> dict[str, Initializer]:
    """Return the initializers that the package exports, by name."""
    members = {name: getattr(initlib, name) for name in initlib.__all__}
    return {name: member for name, member in members.items() if isinstance(member, Initializer)}


@lru_cache(maxsize=1)
def _names() -> dict[Initializer, str]:
    """Return the name of each preset initializer. A preset with two names gets the first in the alphabet."""
    return {preset: name for name, preset in reversed(presets().items())}


def advice_for_text(text: str | os.PathLike[Any]) -> str:
    """Return the advice for a text in the place of an initializer: a recipe or an initializer by name, or a path."""
    path = os.fspath(text)
    if is_path(text):
        return f". For a checkpoint, write loaded({path!r})"
    if path in initlib.recipes.__all__:
        return f". Call the recipe: recipes.{path}(...)"
    return advice_for_name(str(path), "without quotes")


def is_path(text: Any) -> bool:
    """Return whether a value is a path, or a text that looks like the path of a checkpoint."""
    if isinstance(text, str):
        return Path(text).name != text or text.endswith((".safetensors", ".json"))
    return isinstance(text, os.PathLike)


def advice_for_name(name: str, how: str) -> str:
    """Return the advice to write the initializer or factory of that name; empty where this library has none."""
    if name not in initlib.__all__:
        return ""
    if isinstance(getattr(initlib, name), Initializer):
        return f". Write {name}, {how}"
    return f". Write {name}(...), {how}" if name in FACTORIES else ""


def described(filling: Any) -> str:
    """Return a fill in few words: he_normal, normal(std=0.02), normal(std=0.02) * 0.25."""
    if not isinstance(filling, Initializer):
        return repr(filling)
    preset = _names().get(filling)
    if preset is not None:
        return preset
    given = filling.get_config()
    if filling.factory == "scaled":
        return f"{described(given['initializer'])} * {given['factor']:.6g}"
    make = FACTORIES.get(filling.factory)
    usual = {} if make is None else {n: p.default for n, p in inspect.signature(make).parameters.items()}
    shown = (f"{name}={_short(value)}" for name, value in given.items() if value != usual.get(name, inspect._empty))
    return f"{filling.factory}({', '.join(shown)})"


def _short(value: Any) -> str:
    if isinstance(value, Initializer):
        return described(value)
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
