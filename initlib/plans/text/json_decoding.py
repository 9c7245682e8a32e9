"""A plan from JSON text. No code in a text runs: a text names factories of a closed list."""

import base64
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from ...files.json_object import parse_object
from ...files.regular_file import open_regular
from ...schemes._normal import normal
from ...schemes.factories import FACTORIES
from ...schemes.initializer import Initializer
from ..entry import Entry
from ..fills.loaded import Loaded, loaded
from ..fills.new_weights import NewRows, Redrawn
from ..fills.opened_sources import OpenedSources
from ..fills.parts import NESTED, Parts, Split, Stack
from ..fills.sources import FileSource, source_path
from ..fills.sums import Sum, Term
from ..fills.values import LIMIT, Fill, Values, keep, values
from ..parameter import Parameter, check_name
from .errors import PlanError, Problem, RuleNeededError
from .json_encoding import FORMAT, VERSION
from .nearest import nearest

MAKE_ONE = "Make a plan: initlib plan --like FOLDER -o plan.json"
MAX_BYTES = 2**28  # of a text

T = TypeVar("T")


def read(path: str | os.PathLike[str]) -> str:
    """Return the text of a file. Raises ValueError for a FIFO, and for a text that is too long or not a plan."""
    with open_regular(path) as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError(f"{path} must be a plan of at most {MAX_BYTES} bytes, got more")
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a plan, got a file that is not text. {MAKE_ONE}") from None
    if FORMAT not in decoded:
        raise ValueError(f"{path} must be a plan, got another text. {MAKE_ONE}")
    return decoded


def decode(text: str, paths: Mapping[str, str] | None = None) -> list[Entry]:
    """Return the entries of a text. Raises ValueError for a text that `encode` cannot have made.

    `paths` maps paths in the text to the checkpoints to open. No other file is opened. Raises PlanError for checkpoints
    that differ from the checkpoints of the plan.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")
    if len(text) > MAX_BYTES:
        raise ValueError(f"text must have at most {MAX_BYTES} characters, got {len(text)}")
    try:
        plan = parse_object(text)
    except ValueError as error:
        raise ValueError(f"text must be the JSON of a plan: {error}") from None
    if plan.get("format") != FORMAT:
        raise ValueError(f"text must have the format {FORMAT!r}, got {_shown(plan)}")
    if plan.get("version") != VERSION:
        raise ValueError(f"text must have version {VERSION} to be read here, got {_shown(plan.get('version'))}")
    fields = {"format": str, "version": int, "fillings": list, "parameters": list}
    _check_fields(plan, fields, {"sources": list})
    sources = [_located(f"source {k}", _as_source, each) for k, each in enumerate(plan.get("sources", []))]
    fillings = [_located(f"filling {k}", _as_fill, each, 0, sources) for k, each in enumerate(plan["fillings"])]
    entries = [_located(f"parameter {k}", _as_entry, each, fillings) for k, each in enumerate(plan["parameters"])]
    return _with_sources(entries, {} if paths is None else paths, [source.path for source in sources])


def _with_sources(entries: list[Entry], paths: Mapping[str, str], in_plan: list[str]) -> list[Entry]:
    """Return the entries with the checkpoints that may be opened."""
    for path in paths:
        if path not in in_plan:
            raise ValueError(
                f"sources must have only paths in the plan, got {path!r}{nearest(str(path), in_plan, 'paths')}"
            )
    sources, opened, problems = OpenedSources(paths), [], []
    for entry in entries:
        try:
            opened.append(sources.complete(entry))
        except RuleNeededError as error:
            problems.append(Problem(entry.parameter.name, error.reason, error.advice))
        except ValueError as error:
            problems.append(Problem(entry.parameter.name, str(error)))
    if problems:
        raise PlanError.of(problems)
    return opened


def _located(where: str, make: Callable[..., T], *arguments: Any) -> T:
    """Return `make(*arguments)`; turn its errors into ValueError with the place in the plan."""
    try:
        return make(*arguments)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{where} of the plan: {error}") from None


def _check_fields(value: Any, needed: dict[str, type], optional: dict[str, type] | None = None) -> None:
    """Raise ValueError unless the value is an object of these fields, of these types."""
    if not isinstance(value, dict):
        raise ValueError(f"the value must be an object, got {_shown(value)}")
    types = {**needed, **(optional or {})}
    unknown = [name for name in value if name not in types]
    missing = [name for name in needed if name not in value]
    if unknown or missing:
        raise ValueError(f"the object must have the fields {', '.join(types)}, got {_shown(list(value))}")
    for name, each in value.items():
        if type(each) is not types[name]:  # for isinstance, a bool is an int
            raise ValueError(f"{name} must be of type {types[name].__name__}, got {_shown(each)}")


def _check_list(values: list[Any], kind: type, what: str) -> None:
    """Raise ValueError unless all values are of the type."""
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
    fields = dict(value)
    _check_list(fields["shape"], int, "shape")
    number, notes, shared = fields.pop("filling"), fields.pop("notes", []), fields.pop("shared", False)
    stream = check_name(fields.pop("stream", fields["name"]), "stream")
    if not 0 <= number < len(fillings):
        raise ValueError(f"filling must be the index of one of {len(fillings)} fillings, got {number}")
    parameter = Parameter(**{**fields, "shape": tuple(fields["shape"]), "tied": tuple(fields.get("tied", ()))})
    return Entry(parameter, stream, fillings[number], tuple(check_name(note, "a note") for note in notes), shared)


def _as_source(value: Any) -> FileSource:
    _check_fields(value, {"path": str, "sha256": str, "bytes": int})
    if not re.fullmatch("[0-9a-f]{64}", value["sha256"]):
        raise ValueError(f"sha256 must be 64 hexadecimal digits, got {_shown(value['sha256'])}")
    return FileSource(source_path(value["path"]), value["sha256"], value["bytes"])


def _as_fill(value: Any, depth: int, sources: list[FileSource]) -> Fill:
    if depth > 2 * NESTED:
        raise ValueError(f"fillings must be nested at most {2 * NESTED} deep")
    match value:
        case "keep":
            return keep
        case {"values": _}:
            return _as_values(value)
        case {"loaded": _}:
            return _as_loaded(value, sources)
        case {"sum": _}:
            return _as_sum(value, depth, sources)
        case {"rows_like": _}:
            return _as_new_rows(value, depth, sources)
        case {"redrawn": _}:
            return _as_redrawn(value, sources)
        case {"stack": _} | {"parts": _}:
            return _as_parts(value, depth, sources)
    return _as_initializer(value, depth)


def _as_new_rows(value: dict[str, Any], depth: int, sources: list[FileSource]) -> NewRows:
    _check_fields(value, {"rows_like": dict, "noise": dict, "covariance": bool})
    old, noise = _as_loaded(value["rows_like"], sources), _as_initializer(value["noise"], depth + 1)
    return NewRows((old,), noise, value["covariance"])


def _as_redrawn(value: dict[str, Any], sources: list[FileSource]) -> Redrawn:
    _check_fields(value, {"redrawn": dict, "axis": int, "share": float, "choice": str, "seed": int})
    choice = value["choice"] and check_name(value["choice"], "choice")  # "" of a pattern without `*`
    chosen = (value["axis"], value["share"], choice, value["seed"])
    return Redrawn((_as_loaded(value["redrawn"], sources),), normal(), *chosen)


def _as_parts(value: dict[str, Any], depth: int, sources: list[FileSource]) -> Parts:
    fields = {name: each for name, each in value.items() if each is not None}
    if "stack" in fields:
        _check_fields(fields, {"stack": str, "fillings": list}, {"axis": int, "replaces": int})
    else:
        _check_fields(fields, {"parts": list, "fillings": list}, {"axis": int, "replaces": int, "groups": int})
    fillings = tuple(_as_fill(each, depth + 1, sources) for each in fields["fillings"])
    shared = (fillings, fields.get("axis", 0), fields.get("replaces"))
    if "stack" in fields:
        return Stack(*shared, fields["stack"])
    for pair in fields["parts"]:
        if not isinstance(pair, list) or [type(each) for each in pair] != [str, int]:
            raise ValueError(f"parts must be made of pairs of a name and a size, got {_shown(pair)}")
    names, sizes = zip(*fields["parts"], strict=True) if fields["parts"] else ((), ())
    return Split(*shared, names, sizes, fields.get("groups", 1))


def _as_initializer(value: Any, depth: int) -> Initializer:
    _check_fields(value, {"factory": str, "arguments": dict})
    scheme = FACTORIES.get(value["factory"])
    if scheme is None:
        raise ValueError(f"factory must be one of {', '.join(sorted(FACTORIES))}, got {_shown(value['factory'])}")
    if depth > 2 * NESTED:
        raise ValueError(f"initializers must be nested at most {2 * NESTED} deep")
    arguments = {name: _as_argument(each, depth + 1) for name, each in value["arguments"].items()}
    try:
        return scheme.from_config(arguments)
    except TypeError as error:
        raise ValueError(f"{value['factory']} cannot be made of {_shown(arguments)}: {error}") from None


def _as_argument(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return _as_initializer(value, depth)
    return float(value) if value in ("inf", "-inf") else value


def _as_loaded(value: dict[str, Any], sources: list[FileSource]) -> Loaded:
    _check_fields(value, {"loaded": str, "source": int}, {"index": list, "axes": str, "scale": float})
    if not 0 <= value["source"] < len(sources):
        raise ValueError(f"source must be the index of one of {len(sources)} sources, got {value['source']}")
    index = None if "index" not in value else tuple(map(_as_index_entry, value["index"]))
    made = loaded({}, value["loaded"], index=index, axes=value.get("axes"), scale=value.get("scale", 1.0))
    return replace(made, source=sources[value["source"]])


def _as_index_entry(value: Any) -> Any:
    if value == "...":
        return ...
    if type(value) is int:
        return value
    if not isinstance(value, list) or len(value) != 3 or {*map(type, value)} - {int, type(None)}:
        raise ValueError(
            f"index must be made of integers, lists of start, stop and step, and '...', got {_shown(value)}"
        )
    return slice(*value)


def _as_sum(value: dict[str, Any], depth: int, sources: list[FileSource]) -> Sum:
    _check_fields(value, {"sum": list}, {"noise": dict})
    fills = [_as_fill(each, depth + 1, sources) for each in value["sum"]]
    terms = [fill for fill in fills if isinstance(fill, Term)]
    if not terms or len(terms) < len(fills):
        raise ValueError("sum must be made of loaded weights and values")
    noise = value.get("noise")
    return Sum(tuple(terms), None if noise is None else _as_initializer(noise, depth + 1))


def _as_values(value: dict[str, Any]) -> Values:
    _check_fields(value, {"dtype": str, "shape": list, "values": str})
    _check_list(value["shape"], int, "shape")
    if value["dtype"] not in ("float16", "float32", "float64"):
        raise ValueError(f"values must be float16, float32 or float64, got {_shown(value['dtype'])}")
    if len(value["values"]) > 2 * LIMIT:
        raise ValueError(f"values must take at most {LIMIT} bytes")
    data = base64.b64decode(value["values"], validate=True)
    stored = np.frombuffer(data, np.dtype(value["dtype"]).newbyteorder("<"))
    return values(stored.astype(value["dtype"]).reshape(value["shape"]))
