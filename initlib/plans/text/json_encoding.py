"""A plan as JSON text."""

import base64
import json
import math
from collections.abc import Iterable
from typing import Any

from ...schemes.factories import FACTORIES
from ...schemes.initializer import Initializer
from ..entry import Entry
from ..fills.loaded import Loaded
from ..fills.new_weights import NewRows, Redrawn
from ..fills.parts import Stack
from ..fills.sources import ArraySource, FileSource
from ..fills.sums import Sum
from ..fills.values import Fill, Keep, Values

FORMAT = "initlib plan"
VERSION = 1

Numbers = dict[FileSource | ArraySource, int]


def encode(entries: Iterable[Entry]) -> str:
    """Return the text of entries: a line for each different fill, then a line for each parameter."""
    numbers: dict[Fill, int] = {}
    sources: Numbers = {}
    parameters = [_line(_parameter(entry, numbers.setdefault(entry.filling, len(numbers)))) for entry in entries]
    fillings = [_line(_filling(filling, sources)) for filling in numbers]
    head = f'{{\n"format": {_line(FORMAT)},\n"version": {VERSION},\n'
    if sources:
        head += f'"sources": {_lines([_line(_source(source)) for source in sources])},\n'
    return head + f'"fillings": {_lines(fillings)},\n"parameters": {_lines(parameters)}\n}}\n'


def _lines(items: list[str]) -> str:
    return "[\n" + ",\n".join(items) + "\n]"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _parameter(entry: Entry, filling: int) -> dict[str, Any]:
    """Return the fields of a parameter and its entry that differ from their defaults."""
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
        "shared": entry.shared or None,
        "notes": list(entry.notes) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _source(source: FileSource | ArraySource) -> dict[str, Any]:
    if not isinstance(source, FileSource) or source.digest is None:
        raise ValueError(
            f"loaded weights of a saved plan must be in a file, got {source}. Save the arrays as a safetensors file, "
            "and pass its path"
        )
    return {"path": source.path, "sha256": source.digest, "bytes": source.size}


def _filling(filling: Any, sources: Numbers) -> Any:
    if isinstance(filling, Initializer):
        if type(filling) is not FACTORIES.get(filling.factory):
            raise ValueError(f"initializers of a saved plan must be initlib's own, got {filling!r}")
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
    if isinstance(filling, NewRows):
        old, noise = _filling(filling.old, sources), _filling(filling.noise, sources)
        return {"rows_like": old, "noise": noise, "covariance": filling.covariance}
    if isinstance(filling, Redrawn):
        chosen = {"axis": filling.axis, "share": filling.share, "choice": filling.choice, "seed": filling.seed}
        return {"redrawn": _filling(filling.old, sources), **chosen}
    if isinstance(filling, Sum):
        noise = {} if filling.noise is None else {"noise": _filling(filling.noise, sources)}
        return {"sum": [_filling(term, sources) for term in filling.terms], **noise}
    if isinstance(filling, Loaded):
        index = None if filling.index is None else ["..." if each is ... else each for each in filling.index]
        number = sources.setdefault(filling.source, len(sources))
        scale = None if filling.scale == 1 else filling.scale
        fields = {"loaded": filling.name, "source": number, "index": index, "axes": filling.axes, "scale": scale}
        return {name: value for name, value in fields.items() if value is not None}
    fillings = [_filling(each, sources) for each in filling.fillings]
    shared = {"axis": filling.axis, "replaces": filling.replaces, "fillings": fillings}
    if isinstance(filling, Stack):
        return {"stack": filling.template, **shared}
    sizes = [list(pair) for pair in zip(filling.names, filling.sizes, strict=True)]
    return {"parts": sizes, "groups": filling.groups, **shared}


def _argument(value: Any) -> Any:
    if isinstance(value, Initializer):
        return _filling(value, {})
    infinite = isinstance(value, float) and math.isinf(value)
    return str(value) if infinite else value  # JSON has no infinity
