"""Header of a safetensors file: the names, dtypes, shapes and places of its tensors."""

import json
import math
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .json_object import parse_object
from .printable import printable
from .regular_file import open_regular

# The format's code of each dtype and its plain name (None: it has none). The safetensors library sorts tensors in
# this order: the last come first in a file.
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
MAX_HEADER = 100_000_000  # bytes, by the format
MAX_METADATA = 10_000_000  # characters
MAX_AXES = 1024


class Stored(NamedTuple):
    """A tensor of a file: the format's code of its dtype, its shape, and its bytes, counted from the header's end.

    >>> Stored("BF16", (2, 3), 0, 12).dtype_name
    'bfloat16'
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def dtype_name(self) -> str:
        """Return the name of the dtype in NumPy, ml_dtypes and PyTorch; the code in lower case where they have none."""
        return CODES[self.dtype] or self.dtype.lower()


class Header(NamedTuple):
    """Tensors of a safetensors file in the order of their bytes, its metadata, and the size of the header.

    >>> header = Header.of({"bias": ("float16", (3,)), "weight": ("float32", (2, 3))}, {"format": "pt"})
    >>> header.tensors["bias"]
    Stored(dtype='F16', shape=(3,), start=24, stop=30)
    >>> len(header.to_bytes()) == header.data, header.size - header.data
    (True, 30)
    """

    tensors: dict[str, Stored]
    metadata: dict[str, str]
    data: int  # the first byte of the tensors

    @property
    def size(self) -> int:
        """Return the number of bytes of the file."""
        return self.data + max((stored.stop for stored in self.tensors.values()), default=0)

    @classmethod
    def of(cls, tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str]) -> "Header":
        """Arrange tensors, given as (dtype, shape) by name, as the safetensors library does: the widest dtype first,
        then by name.

        Raises ValueError for a name or a dtype that the format does not allow.
        """
        for name, (dtype, _) in tensors.items():
            check_text(name, "name")
            if name == METADATA:
                raise ValueError(f"name must not be {METADATA!r}: a safetensors file uses this name for its metadata")
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
        if header.data - 8 > MAX_HEADER:
            raise ValueError(
                f"the header of {len(tensors)} tensors has {header.data - 8} bytes; the format allows {MAX_HEADER}"
            )
        return header

    def to_bytes(self) -> bytes:
        """Return the bytes of the header."""
        entries: dict[str, Any] = {METADATA: self.metadata} if self.metadata else {}
        for name, (dtype, shape, start, stop) in self.tensors.items():
            entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": (start, stop)}
        text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Header":
        """Read the header of a file that other people wrote.

        Raises OSError; ValueError unless the header follows the format: sizes that fit one another, no name twice,
        and the bytes of the tensors side by side from the end of the header to the end of the file.
        """
        try:
            with open_regular(path) as file:
                size = os.fstat(file.fileno()).st_size
                length = int.from_bytes(file.read(8), "little")
                if size < 8 or length > size - 8:
                    raise ValueError(f"the file of {size} bytes ends before its header does")
                if length > MAX_HEADER:
                    raise ValueError(f"the header has {length} bytes; the format allows {MAX_HEADER}")
                return _parse(file.read(length), size - 8 - length)
        except ValueError as error:
            raise ValueError(f"{path} is not a safetensors file: {error}") from None


def _parse(text: bytes, room: int) -> Header:
    """Return the header of a text, for a file with `room` bytes behind the header."""
    if not text.startswith(b"{"):
        raise ValueError("the header does not begin with {")
    members = parse_object(text.decode())
    metadata = _metadata(members.pop(METADATA, {}))
    entries = [(name, _stored(name, entry)) for name, entry in members.items()]
    tensors = dict(sorted(entries, key=lambda item: item[1][2:]))
    at = 0
    for name, stored in tensors.items():
        if stored.start != at:
            where = "overlaps the tensor" if stored.start < at else "leaves a hole"
            raise ValueError(f"tensor '{printable(name)}' begins at byte {stored.start} and {where} before byte {at}")
        at = stored.stop
    if at != room:
        raise ValueError(f"the tensors have {at} bytes, and {room} bytes follow the header")
    return Header(tensors, metadata, 8 + len(text))


def _metadata(value: Any) -> dict[str, str]:
    """Check the metadata."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("the metadata must be an object of strings")
    for text in (*value, *value.values()):
        check_text(text, "metadata")
    if sum(len(name) + len(text) for name, text in value.items()) > MAX_METADATA:
        raise ValueError(f"the metadata must have at most {MAX_METADATA} characters")
    return value


def _stored(name: str, entry: Any) -> Stored:
    """Check the entry of one tensor."""
    check_text(name, "a name")
    tensor = f"tensor '{printable(name)}'"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{tensor} must have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in CODES:
        raise ValueError(f"the dtype of {tensor} must be one of {', '.join(CODES)}, got {printable(repr(dtype))}")
    for numbers, field in ((shape, "shape"), (offsets, "data_offsets")):
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 2**64 for n in numbers):
            raise ValueError(f"the {field} of {tensor} must be a list of integers from 0 to 2**64 - 1")
    if len(shape) > MAX_AXES:
        raise ValueError(f"the shape of {tensor} must have at most {MAX_AXES} axes, got {len(shape)}")
    if len(offsets) != 2 or 8 * (offsets[1] - offsets[0]) != math.prod(shape) * BITS[dtype]:
        raise ValueError(
            f"{tensor} of dtype {dtype} and shape {printable(str(shape))} does not fill the bytes {offsets[:3]}"
        )
    return Stored(dtype, tuple(shape), *offsets)


def check_text(text: str, argument: str) -> None:
    """Raise ValueError for text that UTF-8 cannot write: half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{argument} must be text that UTF-8 can write, got '{printable(text)}'") from None
