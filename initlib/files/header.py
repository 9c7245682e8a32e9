"""The header of a safetensors file: which tensors it holds, and where."""

import json
import math
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

# What the format names each dtype (None: what has no plain name), in the order in which the safetensors library
# sorts tensors: the last come first in a file.
CODES = {
    "BOOL": "bool",
    "F4": None,
    "F6_E2M3": None,
    "F6_E3M2": None,
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
}
CODE_OF = {name: code for code, name in CODES.items() if name is not None}
RANK = {code: rank for rank, code in enumerate(CODES)}
BITS = {code: 8 if code == "BOOL" else int(re.sub(r"^[A-Z]+|_.*", "", code)) for code in CODES}

METADATA = "__metadata__"
MOST = 100_000_000  # bytes of a header, by the format
MOST_OF_A_TENSOR = 4096  # bytes of what a header says of one tensor

MOST_OF_METADATA = 10_000_000  # bytes of its metadata

# JSON of at most two levels, read member by member: what is no header costs no memory. Nothing here backtracks
# (`*+`, `++`), so nothing takes more than linear time.
SPACE = rb"[ \t\r\n]*+"
STRING = rb'"(?:[^"\\]++|\\.)*+"'
OBJECT = rb'\{(?:[^{}"]++|' + STRING + rb")*+\}"
EMPTY = re.compile(SPACE + rb"\}")


def _member(value: bytes) -> re.Pattern[bytes]:
    name = SPACE + b"(" + STRING + b")" + SPACE
    return re.compile(name + b":" + SPACE + b"(" + value + b")" + SPACE + b"([,}])", re.DOTALL)


OF_OBJECTS, OF_STRINGS = _member(OBJECT), _member(STRING)
T = TypeVar("T")


class Stored(NamedTuple):
    """One tensor of a file: its dtype as the format names it, its shape, and its bytes, counted from the header's end.

    >>> Stored("BF16", (2, 3), 0, 12).dtype_name
    'bfloat16'
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def dtype_name(self) -> str | None:
        """The name that NumPy, ml_dtypes and PyTorch give the dtype; None where they have none."""
        return CODES[self.dtype]


class Header(NamedTuple):
    """What a safetensors file holds: its tensors in the order of their bytes, its metadata, and the header's own size.

    >>> header = Header.of({"bias": ("float16", (3,)), "weight": ("float32", (2, 3))}, {"format": "pt"})
    >>> header.tensors["bias"]
    Stored(dtype='F16', shape=(3,), start=24, stop=30)
    >>> len(header.to_bytes()) == header.data, header.size - header.data
    (True, 30)
    """

    tensors: dict[str, Stored]
    metadata: dict[str, str]
    data: int  # where the tensors' bytes begin

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.data + max((stored.stop for stored in self.tensors.values()), default=0)

    @classmethod
    def of(cls, tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str]) -> "Header":
        """Arrange tensors, given as (dtype, shape) by name, as the safetensors library does: the widest dtype first,
        then by name. Raises ValueError for a name or a dtype that the format does not have.
        """
        for name, (dtype, _) in tensors.items():
            check_text(name, "name")
            if name == METADATA:
                raise ValueError(f"name must not be {METADATA!r}, which a safetensors file keeps for its metadata")
            if dtype not in CODE_OF:
                raise ValueError(f"dtype of {name!r} must be one of {', '.join(CODE_OF)}, got {dtype!r}")
        arranged = {}
        at = 0
        for name in sorted(tensors, key=lambda name: (-RANK[CODE_OF[tensors[name][0]]], name.encode())):
            dtype, shape = tensors[name]
            size = math.prod(shape) * BITS[CODE_OF[dtype]] // 8
            arranged[name] = Stored(CODE_OF[dtype], tuple(shape), at, at + size)
            at += size
        header = cls(arranged, dict(metadata), 0)
        header = header._replace(data=len(header.to_bytes()))
        if header.data - 8 > MOST:
            raise ValueError(
                f"the header of {len(tensors)} tensors has {header.data - 8} bytes, the format allows {MOST}"
            )
        return header

    def to_bytes(self) -> bytes:
        """The bytes before the tensors'."""
        entries: dict[str, Any] = {METADATA: self.metadata} if self.metadata else {}
        for name, (dtype, shape, start, stop) in self.tensors.items():
            entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": (start, stop)}
        text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Header":
        """Read the header of a file that nobody vouches for.

        Raises OSError, or ValueError unless the header is what the format asks for: strings and sizes that fit one
        another, no name twice, and the tensors' bytes side by side from the header's end to the file's.
        """
        path = Path(path)
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a FIFO would wait for ever
            raise ValueError(f"{path} is not a file")
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if status.st_size < 8 or length > status.st_size - 8:
                    raise ValueError(f"the file of {status.st_size} bytes ends before its header does")
                if length > MOST:
                    raise ValueError(f"the header has {length} bytes, the format allows {MOST}")
                return _parse(file.read(length), status.st_size - 8 - length)
        except ValueError as error:
            raise ValueError(f"{path} is not a safetensors file: {error}") from None


def _parse(text: bytes, room: int) -> Header:
    """The header that a text is, of a file with so much room behind it."""
    metadata: dict[str, str] = {}

    def entry(name: str, value: bytes) -> Stored:
        if name != METADATA:
            return _stored(name, value)
        if len(value) > MOST_OF_METADATA:
            raise ValueError(f"its metadata takes {len(value)} bytes, more than {MOST_OF_METADATA}")
        metadata.update(strings(value))
        return Stored("U8", (0,), 0, 0)

    tensors = read_object(text, entry)
    tensors.pop(METADATA, None)
    tensors = dict(sorted(tensors.items(), key=lambda item: item[1][2:]))
    at = 0
    for name, stored in tensors.items():
        if stored.start != at:
            what = "overlaps the one before it" if stored.start < at else "leaves a hole before it"
            raise ValueError(f"tensor {short(name)} begins at byte {stored.start} and {what}, which ends at {at}")
        at = stored.stop
    if at != room:
        raise ValueError(f"its tensors have {at} bytes, and {room} follow the header")
    return Header(tensors, metadata, 8 + len(text))


def _stored(name: str, value: bytes) -> Stored:
    """What a header says of one tensor."""
    if len(value) > MOST_OF_A_TENSOR:
        raise ValueError(f"tensor {short(name)} takes {len(value)} bytes of the header, more than {MOST_OF_A_TENSOR}")
    try:
        pairs = json.loads(value.decode(), object_pairs_hook=list)
    except RecursionError:
        raise ValueError(f"tensor {short(name)} holds lists of lists of lists") from None
    fields = dict(pairs)
    if sorted(field for field, _ in pairs) != ["data_offsets", "dtype", "shape"]:
        raise ValueError(f"tensor {short(name)} must have dtype, shape and data_offsets, got {', '.join(fields)}")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in CODES:
        raise ValueError(f"tensor {short(name)} has the dtype {dtype!r}, the format has {', '.join(CODES)}")
    for numbers, what in ((shape, "shape"), (offsets, "data_offsets")):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 2**64 for n in numbers):
            raise ValueError(f"tensor {short(name)} has a {what} that is no list of numbers from 0 to 2**64 - 1")
    if len(offsets) != 2 or 8 * (offsets[1] - offsets[0]) != math.prod(shape) * BITS[dtype]:
        raise ValueError(f"tensor {short(name)} of {dtype}, shape {shape}, does not fill the bytes {offsets}")
    return Stored(dtype, tuple(shape), *offsets)


def strings(text: bytes) -> dict[str, str]:
    """An object of strings. Raises ValueError where the text is something else, or has a name twice.

    >>> strings(b'{"format": "pt"}')
    {'format': 'pt'}
    """
    return read_object(text, lambda name, value: _string(value), OF_STRINGS)


def read_object(text: bytes, read: Callable[[str, bytes], T], member: re.Pattern[bytes] = OF_OBJECTS) -> dict[str, T]:
    """What `read` makes of each name and value of an object of objects, each read before the next is looked at.

    >>> read_object(b'{"weight_map": {"a": "1"}} ', lambda name, value: value)
    {'weight_map': b'{"a": "1"}'}

    Raises ValueError where the text is something else, or has a name twice.
    """
    if not text.startswith(b"{"):
        raise ValueError("it does not begin with {")
    found: dict[str, T] = {}
    empty = EMPTY.match(text, 1)
    at, end = (empty.end(), b"}") if empty else (1, b",")
    while end == b",":
        match = member.match(text, at)
        if match is None:
            raise ValueError(f"what stands at its byte {at} is no name and value")
        name = _string(match[1])
        if name in found:
            raise ValueError(f"it has {short(name)} twice")
        found[name] = read(name, match[2])
        at, end = match.end(), match[3]
    if text[at:].strip(b" \t\r\n"):
        raise ValueError(f"something follows its end at byte {at}")
    return found


def _string(text: bytes) -> str:
    value: str = json.loads(text.decode())
    check_text(value, "a string")
    return value


def check_text(text: str, what: str) -> None:
    """Raise ValueError for what UTF-8 does not write: half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} must be text that UTF-8 can write, got {short(text)}") from None


def short(name: str) -> str:
    """A name as an error shows it: no longer than a line or two, and without what would move a terminal's cursor."""
    return repr(name if len(name) <= 160 else name[:160] + "…")
