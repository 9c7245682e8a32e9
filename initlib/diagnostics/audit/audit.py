"""Audit of a file or a model: a row for each tensor, with its statistics, its scheme and its faults."""

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._adapters import framework_of
from ..._public import public
from ...files.printable import printable
from ...files.readers.open_file import open_tensors
from ...files.readers.stored_tensor import StoredTensor, UnmeasuredError
from ..table import Report, number, size, table
from .matching import match
from .tally import Lines, Tally

FINDINGS = {
    "nan": "numbers that are not finite",
    "zeros": "a weight of two axes or more with all numbers 0",
    "constant": "a weight of two axes or more with all numbers equal",
    "rows": "equal rows or columns, whose units stay equal in training",
    "shards": "equal parts along an axis, as from one seed on every rank",
    "duplicates": "a tensor equal to another tensor",
    "stuck": "many numbers at the least or the greatest value, or one number far from all others",
}
MOST_PARTS = 64
FEWEST_BITS = 256  # of a line: shorter lines may be equal by chance
FEWEST_EQUAL = 16  # of a tensor: shorter tensors may be equal by chance
FAR = 20.0  # stds
OTHER_ORDER = {"OI...": "...IO", "...IO": "OI..."}


@dataclass(frozen=True)
class AuditedTensor:
    """A tensor: its statistics, its scheme, the tests that support the scheme, and its faults."""

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
    also: tuple[str, ...] = ()  # schemes with the same weights at this shape
    axes: str | None = None  # the axes that give the scheme its fans
    test: str = ""
    findings: tuple[tuple[str, str], ...] = ()  # a key of FINDINGS, and the details


class Audit(Report):
    """Report of `audit`. `print` shows a table, `to_dicts` returns dictionaries, and `found` selects tensors by fault.

    Args:
        tensors: one row for each tensor.

    Example:
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
        """Return the tensors with one of the findings.

        Args:
            *findings: "nan", "zeros", "constant", "rows", "shards", "duplicates" or "stuck"; by default all findings.

        Returns:
            The rows of these tensors, as `tensors` contains them.

        Raises:
            ValueError: a finding has another name.
        """
        wanted = check_findings(findings) or tuple(FINDINGS)
        return [tensor for tensor in self.tensors if any(word in wanted for word, _ in tensor.findings)]

    def __str__(self) -> str:
        files = len({tensor.file for tensor in self.tensors}) > 1
        heads = ["file"] * files + ["tensor", "shape", "dtype", "mean", "std", "least", "greatest", "scheme", "found"]
        rows = []
        for t in self.tensors:
            figures = [number(value) for value in (t.mean, t.std, t.least, t.greatest)]
            findings = "; ".join(f"{word}: {printable(reason)}" for word, reason in t.findings)
            scheme = " or ".join([t.scheme or "-", *(other for other in t.also if not other.endswith(")"))])
            names = [printable(t.file)] * files + [printable(t.name)]
            rows.append([*names, size(t.shape), t.dtype, *figures, scheme, findings])
        return table(heads, rows)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the tensors as dictionaries. JSON can store the dictionaries if all numbers are finite."""
        return [asdict(tensor) for tensor in self.tensors]


def check_findings(findings: Sequence[str]) -> tuple[str, ...]:
    """Return the findings. Raise ValueError for one that is no key of FINDINGS."""
    for finding in findings:
        if finding not in FINDINGS:
            raise ValueError(f"finding must be one of {', '.join(FINDINGS)}, got {finding!r}")
    return tuple(findings)


FilePath = str | os.PathLike[str]
Source = FilePath | Sequence[FilePath] | Mapping[str, ArrayLike]


@public("initlib")
def audit(source: Source, *, axes: str | None = None) -> Audit:
    """Measure every tensor of a file, of several files, or of a dictionary of arrays, and look for faults.

    Each row names the initialization scheme whose tests the tensor passes, or else the test that failed. A weight that
    was drawn from a scheme passes each test of the scheme in at least 99 of 100 cases. No code in a file is executed.
    Files are read piece by piece: memory use is about 50 MB plus one row of a tensor.

    Args:
        source: a path, several paths, or a dictionary of arrays by name. A path may be a safetensors file, the index of
            a checkpoint or a folder with an index; a .npy, .npz, .keras or HDF5 file; or a checkpoint of PyTorch.
        axes: the order of the axes of weights, "OI..." or "...IO". By default the names decide: "weight" has PyTorch's
            order, "kernel" has the order of Keras and JAX. For other names, the kind of file decides.

    Returns:
        An `Audit`, with a printed table, `to_dicts()` and `found()`.

    Raises:
        OSError: a file cannot be read.
        ImportError: the package that reads a file is not installed.
        ValueError: a file is damaged or has another format, or `axes` is not allowed.
        TypeError: a name is not a string, or a value is not an array of numbers.

    Example:
        >>> from initlib import audit, orthogonal
        >>> audit({"kernel": orthogonal(2.0)((64, 128), seed=0)}).tensors[0].scheme
        'orthogonal(gain=2)'
    """
    if isinstance(source, Mapping):
        arrays = [StoredTensor.of(*_checked_array(name, values)) for name, values in source.items()]
        return audit_tensors([("", "...IO", arrays)], axes)
    framework = framework_of(source)
    if framework is not None:
        raise TypeError(
            f"source must be paths or a dictionary of arrays, got {type(source).__name__}. "
            f"For a model: initlib.adapters.{framework}.audit(model)"
        )
    paths: list[FilePath] = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    return audit_tensors(((Path(path).name, *open_tensors(path)) for path in paths), axes)


def _checked_array(name: object, values: object) -> tuple[str, NDArray[Any]]:
    """Return the name and the array. Raise TypeError for a name that is no string, or values that are no numbers."""
    if not isinstance(name, str):
        raise TypeError(f"names must be strings, got {name!r}. Pass {{{str(name)!r}: array}}")
    array = None if isinstance(values, Mapping) else np.asarray(values)
    if array is None or array.dtype.kind in "OSUMm" or array.dtype.names:
        kind = type(values).__name__ if array is None or not array.ndim else f"an array of dtype {array.dtype}"
        raise TypeError(f"{name} must be an array of numbers, got {kind}. Pass a flat dictionary of arrays")
    return name, array


def audit_tensors(sources: Iterable[tuple[str, str, Iterable[StoredTensor]]], axes: str | None = None) -> Audit:
    """Audit the tensors of several sources; each source has a name, an order of axes and its tensors."""
    if axes is not None and axes not in OTHER_ORDER:
        raise ValueError(f"axes must be one of {', '.join(OTHER_ORDER)}, got {axes!r}")
    audited: list[AuditedTensor] = []
    # The name and the memory of the first tensor of each shape, dtype and digest.
    seen: dict[tuple[tuple[int, ...], str, bytes], tuple[str, Hashable]] = {}
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
    """Return the axes that a weight may have, the likeliest first: as given, as its layer has, or by its name."""
    last = tensor.name.rpartition(".")[2].rpartition("/")[2]
    if last.endswith("weight"):
        order = "OI..."
    elif last.endswith(("kernel", "embedding", "embeddings")):
        order = "...IO"
    order = given or order
    # The layer's own axes first. The others follow because packed kernels may have been drawn as one.
    own = (tensor.axes,) if tensor.axes and not given else ()
    return (*own, order, OTHER_ORDER[order])


def _audited(row: AuditedTensor, tensor: StoredTensor, orders: Sequence[str]) -> tuple[AuditedTensor, bytes | None]:
    """Return the measured row, and the digest of a tensor that has no intended equal."""
    tally = Tally(tensor.shape, tensor.pieces())
    row = replace(row, zeros=tally.zeros, nans=tally.nans, infinities=tally.infinities)
    if tally.count:
        row = replace(row, mean=tally.mean, std=tally.std, least=tally.least, greatest=tally.greatest)
    if not tally.floats:
        return replace(row, test="not floats"), None
    row = replace(row, **match(tensor, tally, orders)._asdict(), findings=tuple(_findings(tally)))
    return row, tally.digest if _is_unique(tally) else None


def _is_unique(tally: Tally) -> bool:
    """Return whether an equal tensor would be a mistake: frequencies and positions are equal in every layer."""
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
        for side, axis, lines in (("rows", "first", tally.rows), ("columns", "last", tally.columns)):
            if lines is not None and lines.length * tally.bits >= FEWEST_BITS:
                yield from _equal(side, axis, lines)
        yield from _stuck(tally)


def _equal(side: str, axis: str, lines: Lines) -> Iterator[tuple[str, str]]:
    hashes = lines.hashes
    different, counts = np.unique(hashes[hashes != 0], return_counts=True)  # the hash of a line of zeros is 0
    equal = int(counts[counts > 1].sum())
    if not equal:
        return
    for parts in range(min(MOST_PARTS, hashes.size // 2) if len(different) > 1 else 1, 1, -1):
        if hashes.size % parts == 0 and (hashes.reshape(parts, -1) == hashes[: hashes.size // parts]).all():
            yield "shards", f"{parts} equal parts along the {axis} axis"
            return
    yield "rows", f"{equal} of {hashes.size} {side} equal another"


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
            yield "stuck", f"{at} at {bound:g}, {stds:.0f} stds from the mean, as torch's trunc_normal_ leaves them"
