"""Audit: what the tensors of a file or a model are, and what is wrong with them."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..._public import public
from ...files.printable import printable
from ...files.readers.open_file import ORDER, open_tensors
from ...files.readers.stored_tensor import StoredTensor, UnmeasuredError
from ..table import number, size, table
from .matching import Match, match
from .tally import Lines, Tally

FINDINGS = {
    "nan": "numbers that are not finite",
    "zeros": "a weight of two axes or more that is all 0",
    "constant": "a weight of two axes or more that is all one number",
    "rows": "rows or columns that are equal: units whose symmetry nothing breaks",
    "shards": "equal parts along an axis: one seed on every rank",
    "duplicates": "a tensor that is equal to another",
    "stuck": "many numbers, or one far out, at the least or the greatest value",
}
MOST_PARTS = 64
FEWEST_BITS = 256  # of a line: shorter ones are equal by chance
FEWEST_EQUAL = 16  # numbers of tensors that are not equal by chance
FAR = 20.0  # stds
OTHER_ORDER = {"OI...": "...IO", "...IO": "OI..."}


@dataclass(frozen=True)
class AuditedTensor:
    """One tensor: its figures, the scheme that it matches with the tests behind the word, and what was found."""

    file: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    mean: float | None = None
    std: float | None = None
    least: float | None = None
    greatest: float | None = None
    zeros: int = 0
    nans: int = 0
    infinities: int = 0
    scheme: str | None = None
    also: tuple[str, ...] = ()  # schemes that cannot be told from it here
    axes: str | None = None  # that give the scheme its fans
    test: str = ""
    findings: tuple[tuple[str, str], ...] = ()  # a key of FINDINGS, and in words


class Audit:
    """The tensors that were audited: a table to print, `to_dicts`, and `found`.

    >>> from initlib import audit, he_normal, zeros
    >>> report = audit({"fc.kernel": he_normal((64, 128), seed=0), "out.kernel": zeros((128, 10))})
    >>> print(report)
    tensor      shape   dtype    mean       std    least   greatest  scheme     found
    fc.kernel   64x128  float32  -0.000745  0.179  -0.402  0.401     he_normal
    out.kernel  128x10  float32  0          0      0       0         zeros      zeros: all 1280 weights are 0
    >>> report.found("zeros", "nan")[0].name
    'out.kernel'
    """

    def __init__(self, tensors: Sequence[AuditedTensor]) -> None:
        self.tensors = tuple(tensors)

    def found(self, *findings: str) -> list[AuditedTensor]:
        """The tensors with one of these findings, keys of FINDINGS; with any, where none is given.

        Raises ValueError for another key.
        """
        wanted = check_findings(findings) or tuple(FINDINGS)
        return [tensor for tensor in self.tensors if any(word in wanted for word, _ in tensor.findings)]

    def __str__(self) -> str:
        files = len({tensor.file for tensor in self.tensors}) > 1
        heads = ["file"] * files + ["tensor", "shape", "dtype", "mean", "std", "least", "greatest", "scheme", "found"]
        rows = []
        for t in self.tensors:
            figures = [number(value) for value in (t.mean, t.std, t.least, t.greatest)]
            found = "; ".join(f"{word}: {printable(reason)}" for word, reason in t.findings)
            scheme = " or ".join([t.scheme or "-", *(other for other in t.also if not other.endswith(")"))])
            rows.append(
                [printable(t.file)] * files + [printable(t.name), size(t.shape), t.dtype, *figures, scheme, found]
            )
        return table(heads, rows)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))  # what IPython shows

    def to_dicts(self) -> list[dict[str, Any]]:
        """The tensors as dictionaries, fit for JSON but for numbers that are not finite."""
        return [asdict(tensor) for tensor in self.tensors]


def check_findings(findings: Sequence[str]) -> tuple[str, ...]:
    """The findings, if they are keys of FINDINGS."""
    for finding in findings:
        if finding not in FINDINGS:
            raise ValueError(f"finding must be one of {', '.join(FINDINGS)}, got {finding!r}")
    return tuple(findings)


Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Mapping[str, Any]


@public("initlib")
def audit(source: Source, *, axes: str | None = None) -> Audit:
    """Measure every tensor of a file, of several files, or of a dictionary of arrays, and look for what is wrong.

    >>> from initlib import audit, orthogonal
    >>> audit({"kernel": orthogonal(2.0)((64, 128), seed=0)}).tensors[0].scheme
    'orthogonal(gain=2)'

    Files: safetensors, an index of several or a folder with one; .npy, .npz; checkpoints of PyTorch; .keras and HDF5.
    Nothing in them is executed, and they are read piece by piece: memory holds some 50 MB beside one row of a tensor.
    `axes` ("OI..." or "...IO") say how weights are stored; by default that follows from their names ("kernel" is
    Keras's and JAX's, "weight" PyTorch's), else from the kind of file. A scheme is named where every test passes that
    a drawn weight passes 99 times in 100; else None, and the test that failed. Raises OSError, ImportError for a
    package that is missing, and ValueError for a file that is broken, or of no such kind, and for other `axes`.
    """
    if axes is not None and axes not in OTHER_ORDER:
        raise ValueError(f"axes must be one of {', '.join(OTHER_ORDER)}, got {axes!r}")
    if isinstance(source, Mapping):
        return audit_tensors([("", "...IO", [_in_memory(name, array) for name, array in source.items()])], axes)
    paths = [source] if isinstance(source, (str, os.PathLike)) else list(source)

    def opened() -> Iterator[tuple[str, str, Iterable[StoredTensor]]]:
        for path in paths:
            kind, tensors = open_tensors(path)
            yield Path(path).name, ORDER[kind], tensors

    return audit_tensors(opened(), axes)


def _in_memory(name: Any, array: Any) -> StoredTensor:
    """Return the stored tensor of an item of a dictionary, checked."""
    if not isinstance(name, str):
        raise TypeError(f"source must have names for keys, got {name!r}")
    numbers = np.asarray(array)
    if numbers.dtype.kind in "OSUMm" or numbers.dtype.type is np.void:
        raise TypeError(f"source[{name!r}] must be an array of numbers, got dtype {numbers.dtype}")
    return StoredTensor.of(name, numbers)


def audit_tensors(sources: Iterable[tuple[str, str, Iterable[StoredTensor]]], axes: str | None = None) -> Audit:
    """Audit tensors: the name of what holds them, the order of its axes, and each in turn."""
    audited: list[AuditedTensor] = []
    seen: dict[Any, tuple[str, Any]] = {}  # of what tensors are: the name of the first one, and its memory
    for file, order, tensors in sources:
        for tensor in tensors:
            row = AuditedTensor(file, tensor.name, tuple(tensor.shape), tensor.dtype)
            try:
                row, digest = _audited(row, tensor, _orders(tensor, axes, order))
            except UnmeasuredError as error:
                row, digest = replace(row, test=f"not measured: {error}"), None
            same = seen.get((row.shape, row.dtype, digest)) if digest else None
            if same is None and digest:
                seen[row.shape, row.dtype, digest] = (f"{file} {row.name}".strip(), tensor.memory)
            elif same and (tensor.memory is None or tensor.memory != same[1]):
                row = replace(row, findings=(*row.findings, ("duplicates", f"equal to {same[0]}")))
            audited.append(row)
    return Audit(audited)


def _orders(tensor: StoredTensor, given: str | None, order: str) -> tuple[str, ...]:
    """How the axes of a weight may lie, the likeliest first: as given, as its layer says, or by its name."""
    last = tensor.name.rpartition(".")[2].rpartition("/")[2]
    if last.endswith("weight"):
        order = "OI..."
    elif last.endswith(("kernel", "embedding", "embeddings")):
        order = "...IO"
    order = given or order
    # A scheme may have been told less than the layer knows: of packed kernels, that they are one.
    told = (tensor.axes,) if tensor.axes and not given else ()
    return (*told, order, OTHER_ORDER[order])


def _audited(row: AuditedTensor, tensor: StoredTensor, orders: Sequence[str]) -> tuple[AuditedTensor, bytes | None]:
    """The tensor measured; and its digest, where another that is equal would be a mistake."""
    tally = Tally(tensor.shape, tensor.pieces())
    row = replace(
        row,
        mean=tally.mean if tally.count else None,
        std=tally.std if tally.count else None,
        least=tally.least if tally.count else None,
        greatest=tally.greatest if tally.count else None,
        zeros=tally.zeros,
        nans=tally.nans,
        infinities=tally.infinities,
    )
    if not tally.floats:
        return replace(row, test="not floats"), None
    found: Match = match(tensor, tally, orders)
    row = replace(row, **found._asdict(), findings=tuple(_findings(tally)))
    return row, tally.digest if _is_one_of_a_kind(tally) else None


def _is_one_of_a_kind(tally: Tally) -> bool:
    """Whether another tensor that is equal would be a mistake: frequencies and positions are equal in every layer."""
    steps = np.diff(tally.sample)
    sequence = len(tally.shape) < 2 and ((steps >= 0).all() or (steps <= 0).all())
    return tally.size >= FEWEST_EQUAL and not tally.constant and not sequence


def _findings(tally: Tally) -> Iterator[tuple[str, str]]:
    if tally.nans or tally.infinities:
        yield "nan", f"{tally.nans} NaNs, {tally.infinities} infinities"
    if len(tally.shape) >= 2 and tally.constant:
        if tally.zeros:
            yield "zeros", f"all {tally.size} weights are 0"
        else:
            yield "constant", f"all {tally.size} weights are {tally.least:.4g}"
    if not tally.constant:
        for what, axis, lines in (("rows", "first", tally.rows), ("columns", "last", tally.columns)):
            if lines is not None and lines.length * tally.bits >= FEWEST_BITS:
                yield from _equal(what, axis, lines)
        yield from _stuck(tally)


def _equal(what: str, axis: str, lines: Lines) -> Iterator[tuple[str, str]]:
    hashes = lines.hashes
    different, counts = np.unique(hashes[hashes != 0], return_counts=True)  # lines of zeros alone have 0
    equal = int(counts[counts > 1].sum())
    if not equal:
        return
    for parts in range(min(MOST_PARTS, hashes.size // 2) if len(different) > 1 else 1, 1, -1):
        if hashes.size % parts == 0 and (hashes.reshape(parts, -1) == hashes[: hashes.size // parts]).all():
            yield "shards", f"{parts} equal parts along the {axis} axis"
            return
    yield "rows", f"{equal} of {hashes.size} {what} equal another"


def _stuck(tally: Tally) -> Iterator[tuple[str, str]]:
    for ends, bound in ((tally.lowest, tally.least), (tally.highest[::-1], tally.greatest)):
        values, counts = np.unique(ends, return_counts=True)
        if not values.size or values.size == tally.count:
            continue
        at = int(counts[values == bound][0])
        others = counts[values != bound]
        if at < len(ends) and at >= 3 and others.size and at > 5 * float(np.median(others[:8])):
            yield "stuck", f"{at} weights at {bound:.6g}"
        elif at == len(ends) and np.unique(tally.sample).size > 16:
            yield "stuck", f"{at} weights or more at {bound:.6g}"
        elif abs(bound) == 2 and abs(bound - tally.mean) > FAR * tally.std:
            stds = abs(bound - tally.mean) / tally.std
            yield "stuck", f"{at} at {bound:g}, {stds:.0f} stds out, as torch's trunc_normal_ leaves them"
