"""Batches that functions of every adapter take: inputs of one call, or the shape of standard normal inputs."""

import reprlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

import initlib

ITERABLES = {"DataLoader", "DatasetV2", "PyDataset"}  # classes that yield batches, of PyTorch, TensorFlow and Keras
PLAIN = (int, float, complex, str, bytes, set, frozenset, type, np.generic, type(None))  # not inputs of most models


def batch_of(batch: Any) -> Any:
    """Return the batch; for a shape, standard normal inputs. Raises TypeError for an iterable of batches."""
    if isinstance(batch, Iterator) or not ITERABLES.isdisjoint(cls.__name__ for cls in type(batch).__mro__):
        kind = type(batch).__name__
        raise TypeError(f"batch must be the inputs of one call, got a {kind}. Pass the inputs in next(iter(batch))")
    return initlib.normal()(batch, seed=0, name="batch") if _is_shape(batch) else batch


@contextmanager
def batch_errors_explained(batch: Any, argument: str, allowed: str) -> Iterator[None]:
    """Explain the error of a model that fails on a batch without arrays, or on standard normal inputs.

    Other errors of the model pass unchanged. `allowed` describes the allowed batches.
    """
    try:
        yield
    except Exception as error:
        if _is_shape(batch):
            error.add_note(
                f"{argument}={batch} stands for standard normal inputs of this shape. Pass other inputs, such as "
                "indices, instead of the shape."
            )
            raise
        if _is_plain(batch):
            raise TypeError(
                f"{argument} must be {allowed}, got {reprlib.repr(batch)}, on which the model failed. A shape is a "
                "tuple of ints, such as (32, 8)"
            ) from error
        raise


def _is_shape(batch: Any) -> bool:
    return isinstance(batch, tuple) and bool(batch) and all(type(size) is int for size in batch)


def _is_plain(batch: Any) -> bool:
    """Return whether a batch holds only objects of plain types, and no array or object of another class."""
    if isinstance(batch, Mapping):
        return all(map(_is_plain, batch.values()))
    return all(map(_is_plain, batch)) if isinstance(batch, (list, tuple)) else isinstance(batch, PLAIN)
