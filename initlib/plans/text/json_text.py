"""Encoding: a plan as JSON text and back. Nothing in a text is run: it names factories of a closed list."""

import base64
import json
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...schemes import FACTORIES
from ...schemes.initializer import Initializer
from ..entry import Entry
from ..parameter import Parameter, check_name
from ..rules.parts import NESTED, Split, Stack
from ..rules.values import LIMIT, Fill, Keep, Values, keep, values

FORMAT = "initlib plan"
VERSION = 1
LONGEST = 2**28  # characters of a text

T = TypeVar("T")


def encode(entries: Iterable[Entry]) -> str:
    """The text of entries: what fills them, each once, a line each; then a line for each parameter."""
    numbers: dict[Fill, int] = {}
    parameters = [_line(_parameter(entry, numbers.setdefault(entry.filling, len(numbers)))) for entry in entries]
    fillings = [_line(_filling(filling)) for filling in numbers]
    head = f'{{\n"format": {_line(FORMAT)},\n"version": {VERSION},\n'
    return head + f'"fillings": {_lines(fillings)},\n"parameters": {_lines(parameters)}\n}}\n'


def _lines(items: list[str]) -> str:
    return "[\n" + ",\n".join(items) + "\n]"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _parameter(entry: Entry, filling: int) -> dict[str, Any]:
    """The fields of a parameter and its entry, but for those that are as they would be unsaid."""
    parameter = entry.parameter
    fields = {
        "name": parameter.name,
        "shape": list(parameter.shape),
        "dtype": parameter.dtype if parameter.dtype != "float32" else None,
        "axes": parameter.axes,
        "kind": parameter.kind if parameter.kind != "other" else None,
        "owner": parameter.owner,
        "tied": list(parameter.tied) or None,
        "padding": parameter.padding,
        "stream": entry.stream if entry.stream != parameter.name else None,
        "filling": filling,
        "notes": list(entry.notes) or None,
        "shared": entry.shared or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _filling(filling: Any) -> Any:
    if isinstance(filling, Initializer):
        if type(filling) is not FACTORIES.get(filling.factory):
            raise ValueError(f"only initializers of initlib's own can be saved in a plan, got {filling!r}")
        return {
            "factory": filling.factory,
            "arguments": {name: _argument(each) for name, each in filling.get_config().items()},
        }
    if isinstance(filling, Keep):
        return "keep"
    if isinstance(filling, Values):
        data = filling.array.astype(filling.array.dtype.newbyteorder("<")).tobytes()
        text = base64.b64encode(data).decode("ascii")
        return {"dtype": filling.array.dtype.name, "shape": list(filling.array.shape), "values": text}
    fillings = [_filling(each) for each in filling.fillings]
    shared = {"axis": filling.axis, "replaces": filling.replaces, "fillings": fillings}
    if isinstance(filling, Stack):
        return {"stack": filling.template, **shared}
    sizes = [list(pair) for pair in zip(filling.names, filling.sizes, strict=True)]
    return {"parts": sizes, "groups": filling.groups, **shared}


def _argument(value: Any) -> Any:
    if isinstance(value, Initializer):
        return _filling(value)
    infinite = isinstance(value, float) and math.isinf(value)
    return str(value) if infinite else value  # JSON has no infinity


def read(path: str | os.PathLike[str]) -> str:
    """The text of a file. Raises ValueError where it is longer than a plan may be, or no UTF-8."""
    with Path(path).open(encoding="utf-8") as file:
        return file.read(LONGEST + 1)


def decode(text: str) -> list[Entry]:
    """The entries of a text. Raises ValueError where it is none that `encode` could have made."""
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")
    if len(text) > LONGEST:
        raise ValueError(f"a plan has at most {LONGEST} characters, got more")
    try:
        plan = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("a plan is not nested so deeply") from None
    except ValueError as error:
        raise ValueError(f"a plan is JSON, and this is not: {error}") from None
    if not isinstance(plan, dict) or plan.get("format") != FORMAT:
        raise ValueError(f"a plan is an object whose format is {FORMAT!r}, got {_shown(plan)}")
    if plan.get("version") != VERSION:
        raise ValueError(f"this initlib reads plans of version {VERSION}, got version {_shown(plan.get('version'))}")
    _check_fields(plan, {"format": str, "version": int, "fillings": list, "parameters": list})
    fillings = [_located(f"filling {k}", _as_fill, each, 0) for k, each in enumerate(plan["fillings"])]
    return [_located(f"parameter {k}", _as_entry, each, fillings) for k, each in enumerate(plan["parameters"])]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"an object has the name {twice!r} twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _located(where: str, make: Callable[..., T], *given: Any) -> T:
    """What is made of a value; what makes that impossible, whatever it is, is a ValueError that says where."""
    try:
        return make(*given)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{where} of the plan: {error}") from None


def _check_fields(value: Any, needed: dict[str, type], optional: dict[str, type] | None = None) -> None:
    """Raise ValueError unless it is an object of these fields, of these types."""
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {_shown(value)}")
    types = {**needed, **(optional or {})}
    unknown = [name for name in value if name not in types]
    missing = [name for name in needed if name not in value]
    if unknown or missing:
        raise ValueError(f"expected the fields {', '.join(types)}, got {_shown(list(value))}")
    for name, each in value.items():
        if type(each) is not types[name]:  # a bool is an int elsewhere
            raise ValueError(f"{name} must be a {types[name].__name__}, got {_shown(each)}")


def _check_list(values: list[Any], kind: type, what: str) -> None:
    for each in values:
        if type(each) is not kind:
            raise ValueError(f"{what} must be made of {kind.__name__}, got {_shown(each)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _as_entry(value: Any, fillings: list[Fill]) -> Entry:
    optional = {"dtype": str, "axes": str, "kind": str, "owner": str, "padding": int, "stream": str}
    _check_fields(
        value, {"name": str, "shape": list, "filling": int}, {**optional, "tied": list, "notes": list, "shared": bool}
    )
    given = dict(value)
    _check_list(given["shape"], int, "shape")
    number, notes, shared = given.pop("filling"), given.pop("notes", []), given.pop("shared", False)
    stream = check_name(given.pop("stream", given["name"]), "stream")
    if not 0 <= number < len(fillings):
        raise ValueError(f"filling must be one of {len(fillings)}, got {number}")
    parameter = Parameter(**{**given, "shape": tuple(given["shape"]), "tied": tuple(given.get("tied", ()))})
    return Entry(parameter, stream, fillings[number], tuple(check_name(note, "a note") for note in notes), shared)


def _as_fill(value: Any, depth: int) -> Fill:
    if depth > 2 * NESTED:
        raise ValueError(f"fillings may be nested at most {2 * NESTED} deep")
    if value == "keep":
        return keep
    if isinstance(value, dict) and "values" in value:
        return _as_values(value)
    if not isinstance(value, dict) or not value.keys() & {"stack", "parts"}:
        return _as_initializer(value, depth)
    given = {name: each for name, each in value.items() if each is not None}
    if "stack" in given:
        _check_fields(given, {"stack": str, "fillings": list}, {"axis": int, "replaces": int})
    else:
        _check_fields(given, {"parts": list, "fillings": list}, {"axis": int, "replaces": int, "groups": int})
    fillings = tuple(_as_fill(each, depth + 1) for each in given["fillings"])
    shared = (fillings, given.get("axis", 0), given.get("replaces"))
    if "stack" in given:
        return Stack(*shared, given["stack"])
    for pair in given["parts"]:
        if not isinstance(pair, list) or [type(each) for each in pair] != [str, int]:
            raise ValueError(f"parts must be made of pairs of a name and a size, got {_shown(pair)}")
    names, sizes = zip(*given["parts"], strict=True) if given["parts"] else ((), ())
    return Split(*shared, names, sizes, given.get("groups", 1))


def _as_initializer(value: Any, depth: int) -> Initializer:
    _check_fields(value, {"factory": str, "arguments": dict})
    scheme = FACTORIES.get(value["factory"])
    if scheme is None:
        raise ValueError(f"factory must be one of {', '.join(FACTORIES)}, got {_shown(value['factory'])}")
    if depth > 2 * NESTED:
        raise ValueError(f"initializers may be nested at most {2 * NESTED} deep")
    given = {name: _as_argument(each, depth + 1) for name, each in value["arguments"].items()}
    try:
        return scheme.from_config(given)
    except TypeError as error:
        raise ValueError(f"{value['factory']} cannot be made of {_shown(given)}: {error}") from None


def _as_argument(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return _as_initializer(value, depth)
    return float(value) if value in ("inf", "-inf") else value


def _as_values(value: dict[str, Any]) -> Values:
    _check_fields(value, {"dtype": str, "shape": list, "values": str})
    _check_list(value["shape"], int, "shape")
    if value["dtype"] not in ("float16", "float32", "float64"):
        raise ValueError(f"values must be float16, float32 or float64, got {_shown(value['dtype'])}")
    if len(value["values"]) > 2 * LIMIT:
        raise ValueError(f"values may take at most {LIMIT} bytes")
    data = base64.b64decode(value["values"], validate=True)
    stored = np.frombuffer(data, np.dtype(value["dtype"]).newbyteorder("<"))
    return values(stored.astype(value["dtype"]).reshape(value["shape"]))
