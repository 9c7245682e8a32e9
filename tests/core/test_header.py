"""Header of a safetensors file: the bytes of the library, and hostile files."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initlib import Parameter, PlanError, loaded, plan
from initlib.dtypes import DTYPES, numpy_dtype
from initlib.files import header as module
from initlib.files.header import BITS, CODE_OF, CODES, MAX_HEADER, Header, Stored

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)
DRAWN = sorted(DTYPES.keys() & CODE_OF.keys())
TENSORS = st.dictionaries(TEXT.filter(lambda name: name != "__metadata__"), st.tuples(st.sampled_from(DRAWN), SHAPES))


def file_of(path, header, data=0):
    """Return a file with this header: bytes, or a value that JSON encodes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(data))
    return path


def tensor(dtype="F32", shape=(2, 3), offsets=(0, 24)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@given(TENSORS, st.dictionaries(st.just("format"), TEXT))
def test_headers_have_the_bytes_of_the_library(tmp_path_factory, tensors, metadata):
    library = pytest.importorskip("safetensors.numpy")
    pytest.importorskip("ml_dtypes")
    arrays = {name: np.zeros(shape, numpy_dtype(dtype)) for name, (dtype, shape) in tensors.items()}
    header = Header.of(tensors, metadata)
    whole = library.save(arrays, metadata or None)
    assert whole[: header.data] == header.to_bytes()
    assert len(whole) == header.size
    path = tmp_path_factory.mktemp("read") / "w.safetensors"
    path.write_bytes(whole)
    assert Header.read(path) == header


def test_every_dtype_of_the_library_is_known():
    safetensors = pytest.importorskip("safetensors")
    for code, bits in BITS.items():
        text = json.dumps({"a": tensor(code, (4,), (0, bits // 2))}).encode()
        ((_, read),) = safetensors.deserialize(len(text).to_bytes(8, "little") + text + bytes(bits // 2))
        assert read["dtype"] in (code, CODES[code])
    for name, code in CODE_OF.items():
        assert numpy_dtype(name).itemsize * 8 == BITS[code] if name in DTYPES else name


def test_dtypes_are_sorted_as_in_the_library():
    library = pytest.importorskip("safetensors.numpy")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    known = [name for name in CODE_OF if hasattr(np, name) or hasattr(ml_dtypes, name)]
    arrays = {}
    for k, name in enumerate(known):
        try:
            arrays[f"{k:02}"] = np.zeros(3, np.dtype(getattr(ml_dtypes, name, name)))
            library.save({"a": arrays[f"{k:02}"]})
        except (KeyError, ValueError):  # older versions know fewer
            del arrays[f"{k:02}"]
    assert len(arrays) >= 14
    header = Header.of({name: (array.dtype.name, array.shape) for name, array in arrays.items()}, {})
    assert library.save(arrays).startswith(header.to_bytes())


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"__metadata__": ("float32", (2,))}, "name must not be '__metadata__'"),
        ({"\ud800": ("float32", (2,))}, r"name must be text that UTF-8 can write, got '\\ud800'"),
        ({"a": ("complex128", (2,))}, "dtype of 'a' must be one of bool, .*got 'complex128'"),
    ],
)
def test_names_and_dtypes_outside_of_the_format_are_errors(tensors, words):
    with pytest.raises(ValueError, match=words):
        Header.of(tensors, {})


def test_a_header_over_the_limit_is_an_error(monkeypatch):
    monkeypatch.setattr(module, "MAX_HEADER", 1000)
    assert Header.of({"a" * 900: ("float32", (2,))}, {}).data <= 1008
    with pytest.raises(ValueError, match="the header of 1 tensors has 1056 bytes; the format allows 1000"):
        Header.of({"a" * 1000: ("float32", (2,))}, {})


def test_keys_and_tensors_may_have_any_order(tmp_path):
    first, second = b'{"shape":[3], "data_offsets":[24,27],\n"dtype":"U8"}', json.dumps(tensor()).encode()
    text = b'{ "b" :' + first + b',"a":' + second + b"}  "
    header = Header.read(file_of(tmp_path / "w", text, 27))
    assert list(header.tensors.items()) == [("a", Stored("F32", (2, 3), 0, 24)), ("b", Stored("U8", (3,), 24, 27))]
    assert (header.metadata, header.data, header.size) == ({}, 8 + len(text), 8 + len(text) + 27)


def test_files_without_tensors_and_empty_tensors_are_valid(tmp_path):
    assert Header.read(file_of(tmp_path / "none", b"{}")).tensors == {}
    empty = {"a": tensor("U8", (0,), (0, 0)), "b": tensor("U8", (1,), (0, 1)), "c": tensor("F64", (5, 0), (1, 1))}
    assert list(Header.read(file_of(tmp_path / "empty", empty, 1)).tensors) == ["a", "b", "c"]


ATTACKS = {
    "nothing": (b"", None, "ends before its header does"),
    "half a length": (b"\1\0\0", None, "ends before its header does"),
    "a header past the end": ((2**60).to_bytes(8, "little") + b"{}", None, "ends before its header does"),
    "a header of all there is": (b"\xff" * 100, None, "ends before its header does"),
    "no JSON": (b"no JSON", 0, "does not begin with {"),
    "a space first": (b' {"a": 1}', 0, "does not begin with {"),
    "not closed": (b'{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}', 24, "Expecting"),
    "a comma too many": (b'{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},}', 24, "Expecting"),
    "a second object": (b'{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}{}', 24, "Extra data"),
    "no object": ({"a": 1}, 0, "must have dtype, shape and data_offsets"),
    "no UTF-8": (b'{"\xff":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}', 0, "can't decode byte"),
    "half a surrogate": (
        b'{"\\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
        0,
        "text that UTF-8 can write",
    ),
    "a control character": (b'{"\x1b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}', 0, "control character"),
    "a name twice": (
        b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
        0,
        "an object has the name 'a' twice",
    ),
    "the same name, spelt another way": (
        b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
        0,
        "an object has the name 'a' twice",
    ),
    "a key twice": (
        b'{"a":{"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]}}',
        0,
        "an object has the name 'shape' twice",
    ),
    "a key too many": ({"a": tensor() | {"more": 1}}, 24, "must have dtype, shape and data_offsets"),
    "a key too few": ({"a": {"dtype": "F32", "shape": [2]}}, 8, "must have dtype, shape and data_offsets"),
    "another dtype": ({"a": tensor("F31")}, 24, "the dtype of tensor 'a' must be one of BOOL, .*, got 'F31'"),
    "a dtype that is none": ({"a": tensor(["F32"])}, 24, r"the dtype of tensor 'a' must be one of .*, got \['F32'\]"),
    "a negative size": ({"a": tensor(shape=(-2, -3))}, 24, "the shape of tensor 'a' must be a list of integers"),
    "a size that is no number": (
        {"a": tensor(shape=(True, 6))},
        24,
        "the shape of tensor 'a' must be a list of integers",
    ),
    "a size that is no integer": (
        {"a": tensor(shape=(2.0, 3))},
        24,
        "the shape of tensor 'a' must be a list of integers",
    ),
    "a shape that is none": ({"a": tensor(shape="23")}, 24, "the shape of tensor 'a' must be a list of integers"),
    "sizes whose product overflows": ({"a": tensor(shape=(2**33, 2**33, 0), offsets=(0, 24))}, 24, "does not fill"),
    "sizes that wrap to what is there": ({"a": tensor(shape=(2**62 + 2, 4), offsets=(0, 32))}, 32, "does not fill"),
    "a number of 4000 digits": (
        b'{"a":{"dtype":"U8","shape":[1' + b"0" * 4000 + b'],"data_offsets":[0,1]}}',
        1,
        "the shape of tensor 'a' must be a list of integers",
    ),
    "offsets back to front": ({"a": tensor(offsets=(24, 0))}, 24, "does not fill"),
    "three offsets": ({"a": tensor(offsets=(0, 24, 48))}, 24, "does not fill"),
    "more than the offsets hold": ({"a": tensor(shape=(2, 4))}, 24, "does not fill"),
    "offsets past the end": ({"a": tensor()}, 23, "the tensors have 24 bytes, and 23 bytes follow"),
    "bytes of no tensor": ({"a": tensor()}, 25, "the tensors have 24 bytes, and 25 bytes follow"),
    "a hole": ({"a": tensor(), "b": tensor(offsets=(32, 56))}, 56, "'b' begins at byte 32 and leaves a hole"),
    "a hole at the start": ({"a": tensor(offsets=(8, 32))}, 32, "'a' begins at byte 8 and leaves a hole"),
    "an overlap": ({"a": tensor(), "b": tensor(offsets=(16, 40))}, 40, "'b' begins at byte 16 and overlaps"),
    "the same bytes twice": ({"a": tensor(), "b": tensor()}, 24, "'b' begins at byte 0 and overlaps"),
    "metadata of numbers": ({"__metadata__": {"a": 1}}, 0, "metadata must be an object of strings"),
    "metadata of lists": ({"__metadata__": {"a": [["b"]]}}, 0, "metadata must be an object of strings"),
    "metadata twice": (
        b'{"__metadata__":{"a":"b"},"__metadata__":{"a":"b"}}',
        0,
        "an object has the name '__metadata__' twice",
    ),
    "metadata with a name twice": (b'{"__metadata__":{"a":"b","a":"c"}}', 0, "an object has the name 'a' twice"),
    "objects in objects": (b'{"a":' * 10**5 + b"}" * 10**5, 0, "nested too deeply"),
    "lists in lists": (b'{"a":{"dtype":' + b"[" * 4000 + b"]" * 40 + b"}}", 0, "nested too deeply|Expecting"),
    "long lists in lists": (b'{"a":{"dtype":' + b"[" * 10**6 + b"]" * 10**6 + b"}}", 0, "nested too deeply"),
    "a string without an end": (b'{"a' + b"\\" * 10**6, 0, "Unterminated string"),
    "a name of a megabyte": (b'{"' + b"a" * 10**6 + b'":{"dtype":0}}', 0, "tensor 'aaa.*…' must have"),
}


def attacked(folder, attack):
    """Write the file of an attack; return its path, and the expected words of the error."""
    header, data, words = ATTACKS[attack]
    path = folder / "w.safetensors"
    if data is None:
        path.write_bytes(header)
    else:
        file_of(path, header, data)
    return path, words


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused(tmp_path, attack):
    path, words = attacked(tmp_path, attack)
    with pytest.raises(ValueError, match=words) as caught:
        Header.read(path)
    assert str(caught.value).startswith(f"{path} is not a safetensors file: ")
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_on_old_weights_are_problems_of_the_plan(tmp_path, attack):
    path, words = attacked(tmp_path, attack)
    with pytest.raises(PlanError, match=words) as caught:
        plan([Parameter("a", (2, 3))], {"a": loaded(path)})
    (problem,) = caught.value.problems
    assert problem.startswith(f'a: "{path}" cannot be read: {path} is not a safetensors file: ')
    assert len(problem) < 1200
    assert problem.isprintable()


@pytest.mark.parametrize("each", [b"[],", b"{},", b'"ab",', b"999,", b"1,", b'{"a":1},'])
def test_a_large_hostile_header_takes_memory_in_proportion(tmp_path, each):
    size = 4_000_000
    path = file_of(tmp_path / "w", b'{"a":[' + each * (size // len(each)) + b"0]}")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="w is not a safetensors file: tensor 'a' must have dtype"):
            Header.read(path)
        assert tracemalloc.get_traced_memory()[1] < 50 * size
    finally:
        tracemalloc.stop()


def test_a_header_beyond_the_format_is_not_read(tmp_path):
    path = tmp_path / "w"
    with path.open("wb") as file:
        file.write((MAX_HEADER + 1).to_bytes(8, "little"))
        file.truncate(MAX_HEADER + 9)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="the header has 100000001 bytes; the format allows 100000000"):
            Header.read(path)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=40))
def test_noise_is_refused_or_read(tmp_path_factory, noise):
    path = file_of(tmp_path_factory.mktemp("noise") / "w", noise)
    try:
        header = Header.read(path)
    except ValueError:
        return
    assert (header.tensors, noise[:1]) == ({}, b"{")


@given(st.data())
def test_one_changed_byte_is_refused_or_reads_as_the_library_reads_it(tmp_path_factory, data):
    safetensors = pytest.importorskip("safetensors")
    header = Header.of({"a": ("float32", (2, 3)), "é": ("float16", ())}, {"format": "pt"})
    whole = bytearray(header.to_bytes() + bytes(26))
    at = data.draw(st.integers(0, header.data - 1))
    whole[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("changed") / "w"
    path.write_bytes(whole)
    try:
        read = Header.read(path)
    except ValueError:
        return
    expected = dict(safetensors.deserialize(bytes(whole)))
    assert {name: list(stored.shape) for name, stored in read.tensors.items()} == {
        name: tensor["shape"] for name, tensor in expected.items()
    }


def test_a_path_that_is_not_a_regular_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="must be a regular file"):
        Header.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        Header.read(tmp_path / "w")
