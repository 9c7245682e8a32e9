"""Encoding: a plan as JSON text and back, without running anything."""

import base64
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..schemes.initializer import Initializer
from .describe import arguments, factories
from .entry import Entry
from .fillings import LIMIT, NESTED, Filling, Keep, Split, Stack, Values, keep, values
from .parameter import Parameter, check_name

__all__ = ["decode", "encode"]

FORMAT = "initlib plan"
VERSION = 1
MOST = 2**28  # characters of a plan's text
_VALUES = ("float16", "float32", "float64")
_PARTS = ("axis", "groups", "replaces")


def encode(entries: Iterable[Entry]) -> str:
    """The text of entries: a line for each filling, then one for each parameter, which says the filling's number."""
    numbers: dict[Filling, int] = {}
    lines = [_line(_parameter(entry, numbers.setdefault(entry.filling, len(numbers)))) for entry in entries]
    fillings = ",\n".join(_line(_filling(filling)) for filling in numbers)
    parameters = ",\n".join(lines)
    head = f'"format": "{FORMAT}",\n"version": {VERSION}'
    return f'{{\n{head},\n"fillings": [\n{fillings}\n],\n"parameters": [\n{parameters}\n]\n}}\n'


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _parameter(entry: Entry, filling: int) -> dict[str, Any]:
    """A parameter's fields, without those that are as they would be unsaid."""
    parameter = entry.parameter
    fields = {
        "name": parameter.name,
        "shape": list(parameter.shape),
        "dtype": None if parameter.dtype == "float32" else parameter.dtype,
        "axes": parameter.axes,
        "kind": None if parameter.kind == "other" else parameter.kind,
        "owner": parameter.owner,
        "tied": list(parameter.tied) or None,
        "padding": parameter.padding,
        "stream": None if entry.stream == parameter.name else entry.stream,
        "filling": filling,
        "notes": list(entry.notes) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _filling(filling: Any) -> Any:
    if isinstance(filling, Initializer):
        if filling.factory not in factories():
            raise ValueError(f"a plan can be saved with initializers of initlib alone, got {filling!r}")
        given = {
            name: _filling(value) if isinstance(value, Initializer) else value
            for name, value in arguments(filling).items()
        }
        return {"factory": filling.factory, "arguments": given}
    if isinstance(filling, Keep):
        return "keep"
    if isinstance(filling, Values):
        array = filling.array
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        text = base64.b64encode(data).decode("ascii")
        return {"values": text, "dtype": array.dtype.name, "shape": list(array.shape)}
    if isinstance(filling, Stack):
        inner = [_filling(each) for each in filling.fillings]
        return {"stack": filling.template, "fillings": inner, **_options(filling)}
    names = zip(filling.names, filling.sizes, filling.fillings, strict=True)
    return {"parts": [[name, size, _filling(each)] for name, size, each in names], **_options(filling)}


def _options(filling: Split | Stack) -> dict[str, int]:
    usual = {"axis": 0, "groups": 1, "replaces": None}
    given = {name: getattr(filling, name, usual[name]) for name in _PARTS}
    return {name: value for name, value in given.items() if value != usual[name]}


def decode(text: str) -> list[Entry]:
    """The entries of a text. Raises ValueError where it is none that `encode` of this version could have made."""
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")
    if len(text) > MOST:
        raise ValueError(f"the text of a plan has at most {MOST} characters, got {len(text)}")
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("the plan is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"the plan is no JSON that initlib writes: {error}") from None
    head = _fields(document, "the plan", {"format": str, "version": int}, {"fillings": list, "parameters": list})
    if head["format"] != FORMAT:
        raise ValueError(f"the plan's format must be {FORMAT!r}, got {head['format']!r}")
    if head["version"] != VERSION:
        raise ValueError(
            f"the plan's version is {head['version']}, and this initlib reads {VERSION}; a newer one may read it"
        )
    _fields(document, "the plan", {"format": str, "version": int, "fillings": list, "parameters": list}, {})
    fillings = [_told(f"filling {number}", _as_filling, each, 0) for number, each in enumerate(document["fillings"])]
    return [
        _told(f"parameter {number}", _as_entry, each, fillings) for number, each in enumerate(document["parameters"])
    ]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"an object has {next(n for n in names if names.count(n) > 1)!r} twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def _told(what: str, read: Any, *given: Any) -> Any:
    """What reading gives, with every error as a ValueError that says where."""
    try:
        return read(*given)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{what}: {error}") from None


def _fields(value: Any, what: str, needed: dict[str, type], allowed: dict[str, type]) -> dict[str, Any]:
    """The object, checked: it has the needed fields and no others than the allowed, of their types."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be an object, got {_shown(value)}")
    types = {**needed, **allowed}
    for name in value:
        if name not in types:
            raise ValueError(f"{what} has a field {_shown(name)}; known are {', '.join(types)}")
    for name in needed:
        if name not in value:
            raise ValueError(f"{what} has no {name!r}")
    for name, given in value.items():
        if type(given) is not types[name]:  # a bool is no int here
            raise ValueError(f"{name!r} of {what} must be of type {types[name].__name__}, got {_shown(given)}")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _as_entry(value: Any, fillings: list[Filling]) -> Entry:
    given = _fields(
        value,
        "it",
        {"name": str, "shape": list, "filling": int},
        {
            "dtype": str,
            "axes": str,
            "kind": str,
            "owner": str,
            "tied": list,
            "padding": int,
            "stream": str,
            "notes": list,
        },
    )
    fields = {name: each for name, each in given.items() if name not in ("stream", "filling", "notes")}
    parameter = Parameter(**{**fields, "shape": tuple(map(_int, given["shape"])), "tied": tuple(given.get("tied", ()))})
    if not 0 <= given["filling"] < len(fillings):
        raise ValueError(f"filling {given['filling']} is none of the {len(fillings)} that the plan has")
    stream = check_name(given.get("stream", parameter.name), "stream")
    notes = tuple(check_name(note, "a note") for note in given.get("notes", ()))
    return Entry(parameter, stream, fillings[given["filling"]], notes)


def _int(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"shape must be made of ints, got {_shown(value)}")
    return value


def _as_filling(value: Any, depth: int) -> Filling:
    if depth > 2 * NESTED:
        raise ValueError("it is nested too deeply")
    if value == "keep":
        return keep
    if isinstance(value, dict) and "values" in value:
        return _as_values(_fields(value, "it", {"values": str, "dtype": str, "shape": list}, {}))
    if isinstance(value, dict) and "stack" in value:
        given = _fields(value, "it", {"stack": str, "fillings": list}, {"axis": int, "replaces": int})
        inner = tuple(_as_filling(each, depth + 1) for each in given["fillings"])
        return Stack(given["stack"], inner, given.get("axis", 0), given.get("replaces"))
    if isinstance(value, dict) and "parts" in value:
        given = _fields(value, "it", {"parts": list}, {"axis": int, "groups": int, "replaces": int})
        for part in given["parts"]:
            if not isinstance(part, list) or len(part) != 3:
                raise ValueError(f"a part must be a name, a size and a filling, got {_shown(part)}")
        names, sizes, parts = zip(*given["parts"], strict=True) if given["parts"] else ((), (), ())
        inner = tuple(_as_filling(each, depth + 1) for each in parts)
        return Split(names, sizes, inner, given.get("axis", 0), given.get("groups", 1), given.get("replaces"))
    return _as_initializer(value, depth)


def _as_initializer(value: Any, depth: int) -> Initializer:
    given = _fields(value, "it", {"factory": str, "arguments": dict}, {})
    make = factories().get(given["factory"])
    if make is None:
        raise ValueError(f"factory must be one of {', '.join(factories())}, got {_shown(given['factory'])}")
    inner = {}
    for name, each in given["arguments"].items():
        if isinstance(each, list):
            raise ValueError(f"argument {_shown(name)} of {given['factory']} must be no list, got {_shown(each)}")
        inner[name] = _as_filling(each, depth + 1) if isinstance(each, dict) else each
    return make(**inner)


def _as_values(given: dict[str, Any]) -> Values:
    if given["dtype"] not in _VALUES:
        raise ValueError(f"dtype of values must be one of {', '.join(_VALUES)}, got {_shown(given['dtype'])}")
    if len(given["values"]) > 2 * LIMIT:
        raise ValueError(f"values take more than {LIMIT} bytes")
    data = base64.b64decode(given["values"], validate=True)
    flat = np.frombuffer(data, np.dtype(given["dtype"]).newbyteorder("<"))
    return values(flat.astype(given["dtype"]).reshape(tuple(map(_int, given["shape"]))))
