import pickle

import numpy as np
import pytest

from initlib import Parameter, he_normal, keep, parts, zeros


def test_facts_follow_from_the_fields():
    parameter = Parameter("h.3.conv1.weight", [4, 3], "bfloat16", "OI", "kernel", "Conv1d", tied=["head.weight"])
    assert parameter.shape == (4, 3)
    assert parameter.tied == ("head.weight",)
    assert parameter.names == ("h.3.conv1.weight", "head.weight")
    assert parameter.indices == (3, 1)
    assert (parameter.size, parameter.bytes) == (12, 24)
    assert pickle.loads(pickle.dumps(parameter)) == parameter


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float16", 2), ("bfloat16", 2), ("float64", 8), ("int64", 8), ("bool", 1), ("float8_e4m3fn", 1), (np.float32, 4)],
)
def test_bytes_follow_from_shape_and_dtype(dtype, size):
    assert Parameter("a", (2, 3), dtype).bytes == 6 * size


def test_a_tensor_without_axes_has_one_weight():
    assert Parameter("a", ()).size == 1


WRONG = [
    ({"name": ""}, ValueError, "name must be a printable string of at least one character, got ''"),
    ({"name": "a\nb"}, ValueError, "printable"),
    ({"name": 3}, TypeError, "name must be a string, got 3"),
    ({"shape": (3, -1)}, ValueError, "negative size"),
    ({"shape": (1,) * 65}, ValueError, "at most 64 axes"),
    ({"shape": "ab"}, TypeError, "shape must be an int or a sequence of ints"),
    ({"dtype": "Float!"}, ValueError, "dtype must be a name such as 'float32', got 'Float!'"),
    ({"dtype": 7}, TypeError, "dtype must be a name or a NumPy dtype, got 7"),
    ({"axes": "OIH"}, ValueError, "axes must name 2 axes for shape (4, 3), got 'OIH' with 3"),
    ({"axes": 5}, TypeError, "axes must be a string"),
    ({"axes": "(3 O)I"}, ValueError, "axes must pack a number of kernels that divides the axis size 4"),
    ({"axes": "O" * 2000}, ValueError, "at most 1024 characters"),
    ({"kind": "weight"}, ValueError, "kind must be one of kernel, recurrent, bias, scale, table, buffer, other"),
    ({"kind": ["bias"]}, ValueError, "kind must be one of"),
    ({"owner": ""}, ValueError, "owner must be a printable string"),
    (
        {"default": 0.0},
        TypeError,
        "default must be an initializer, keep, values(...), parts(...) or loaded(...), got 0.0",
    ),
    ({"default": lambda parameter: zeros}, TypeError, "default must be"),
    ({"tied": "b"}, TypeError, "tied must be a sequence of names, got 'b'"),
    ({"tied": ("",)}, ValueError, "tied must be a printable string"),
    ({"padding": 4}, ValueError, "padding must be at least 0 and below 4, got 4"),
    ({"needs": ""}, ValueError, "needs must be a printable string"),
    ({"padding": True}, TypeError, "padding must be an int, got True"),
]


@pytest.mark.parametrize(("fields", "error", "message"), WRONG)
def test_errors_name_the_field(fields, error, message):
    with pytest.raises(error) as caught:
        Parameter(**{"name": "a", "shape": (4, 3), **fields})
    assert message in str(caught.value)


@pytest.mark.parametrize("default", [he_normal, keep, parts({"a": 1, "b": 1}, zeros)], ids=repr)
def test_a_default_may_be_any_fill(default):
    assert Parameter("a", (4, 3), default=default).default == default
