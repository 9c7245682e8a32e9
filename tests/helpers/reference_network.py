"""Reference for the reports of all frameworks: a small network whose signals NumPy computes in float64."""

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest

import initlib
from initlib.diagnostics.measurements import activation, parameter

SIZES = (20, 48, 32, 5)
WEIGHTS = [initlib.he_normal(shape, seed=0, name=f"layer{k}") for k, shape in enumerate(pairwise(SIZES))]
BIASES = [initlib.normal(std=0.1)((size,), seed=0, name=f"bias{k}") for k, size in enumerate(SIZES[1:])]
BATCH = initlib.normal()((16, 20), seed=0, name="batch")  # the input that a report draws for the shape (16, 20)
TARGET = initlib.normal()((16, 5), seed=1)
TO = 1e-4  # relatively


def expected(with_target):
    """Return the activations (linear, relu, linear, tanh, linear) and the parameters, with their gradients."""
    weights, biases = ([a.astype(np.float64) for a in arrays] for arrays in (WEIGHTS, BIASES))
    x = BATCH.astype(np.float64)
    inputs, values = [], []
    for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
        inputs.append(x)
        values.append(x @ w + b)
        x = (lambda z: np.maximum(z, 0), np.tanh, lambda z: z)[k](values[-1])
        if k < 2:
            values.append(x)
    error = values[-1] - (TARGET if with_target else 0)
    delta = 2 * error / error.size
    gradients, by_parameters = [delta], []
    for k in (2, 1, 0):
        by_parameters = [inputs[k].T @ delta, delta.sum(axis=0), *by_parameters]
        if k:
            through = delta @ weights[k].T
            delta = through * ((1 - values[3] ** 2) if k == 2 else (values[0] > 0))
            gradients = [delta, through, *gradients]
    rows = [activation("", "", value, gradient=g) for value, g in zip(values, gradients, strict=True)]
    named = [array for pair in zip(weights, biases, strict=True) for array in pair]
    parameters = [parameter("", array, g, learning_rate=0.1) for array, g in zip(named, by_parameters, strict=True)]
    return rows, parameters, float((error**2).mean())


def compare(report, with_target, order=range(6)):
    """Compare every number of a report with the expected number; `order` is the order of the report's parameters."""
    rows, parameters, loss = expected(with_target)
    assert report.loss == pytest.approx(loss, rel=TO)
    assert report.input_std == pytest.approx(float(BATCH.std()), rel=TO)
    assert len(report.activations) == len(rows)
    assert len(report.parameters) == len(parameters)
    rows_of_report = [*report.activations, *(report.parameters[k] for k in order)]
    for row, wanted in zip(rows_of_report, [*rows, *parameters], strict=True):
        for field in fields(wanted):
            value, exact = getattr(row, field.name), getattr(wanted, field.name)
            if isinstance(exact, float):
                scale = max(abs(exact), 1e-3 * wanted.std)  # means may be near 0
                assert abs(value - exact) < TO * scale, (row.name, field.name, value, exact)
