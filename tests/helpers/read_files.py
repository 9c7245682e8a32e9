"""Arrays for files of every kind, and checks that read such files."""

import numpy as np
import pytest

from initlib.files.readers.open_file import open_tensors

ARRAYS = {
    "a.weight": np.arange(600, dtype=np.float32).reshape(20, 30),
    "b": np.array(2.5),
    "c": np.zeros((0, 3), np.float16),
    "d": np.arange(24, dtype=np.int64).reshape(2, 3, 4),
}


def whole_of(tensor, most=64):
    pieces = list(tensor.pieces(most))
    return np.concatenate(pieces).reshape(tensor.shape) if pieces else np.empty(tensor.shape)


def check(path, order, arrays=ARRAYS):
    usual_order, tensors = open_tensors(path)
    assert usual_order == order
    read = {tensor.name: (tensor.shape, tensor.dtype, whole_of(tensor)) for tensor in tensors}
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        shape, dtype, values = read[name]
        assert (shape, dtype) == (array.shape, array.dtype.name)
        assert np.array_equal(values, array)


def read_all(path):
    return [list(tensor.pieces()) for tensor in open_tensors(path)[1]]


def check_error(path, match=None):
    """Check that reading the file raises one ValueError."""
    with pytest.raises(ValueError, match=match):
        read_all(path)
