"""Verdicts against training: a grid of small networks, and whether each one learns."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from sklearn.datasets import load_digits

from initlib import SignalReport, variance_scaling
from initlib.diagnostics.measurements import activation, parameter

from .lab import Lab

WIDTH, CLASSES, BATCH, STEPS = 64, 10, 64, 200
RATES = (0.1, 0.03, 0.01)
CHOSEN, CHECKED = 0, 1  # the seeds of the weights: of the grid that chose the thresholds, and of a second one
LEARNS = 0.7  # the accuracy, from one in ten at the start
DEPTHS = (5, 10, 20, 40)
SCALES = (0.25, 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 1.6, 2.0, 2.8, 4.0)  # the root of the weight variance
Function = Callable[[np.ndarray], np.ndarray]


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * z)


def _silu_slope(z: np.ndarray) -> np.ndarray:
    s = _sigmoid(z)
    return s * (1 + z * (1 - s))


ACTIVATIONS: dict[str, tuple[Function, Function]] = {  # and the derivative
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "silu": (lambda z: z * _sigmoid(z), _silu_slope),
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * (1 - _sigmoid(z))),
}


class Networks:
    """Networks of one depth and activation with weights of several scales, stacked: (networks, in, out)."""

    def __init__(self, activation: str, depth: int, scales: Sequence[float], seed: int = 0) -> None:
        self.function, self.slope = ACTIVATIONS[activation]
        sizes = [WIDTH] * depth + [CLASSES]
        self.weights = [
            np.stack([variance_scaling(s**2, "fan_in", "normal")(shape, seed=seed, name=f"layer{k}") for s in scales])
            for k, shape in enumerate(pairwise(sizes))
        ]

    def run(self, x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the input and the activations, then the values before them."""
        activations, zs = [np.broadcast_to(x, (len(self.weights[0]), *x.shape))], []
        for weight in self.weights:
            zs.append(activations[-1] @ weight)
            activations.append(zs[-1] if weight is self.weights[-1] else self.function(zs[-1]))
        return activations, zs

    def gradients(self, x: np.ndarray, labels: np.ndarray) -> tuple[list[np.ndarray], ...]:
        """Return the activations, and the gradients of the cross-entropy by z, by activations and by weights."""
        activations, zs = self.run(x)
        p = np.exp(zs[-1] - zs[-1].max(axis=-1, keepdims=True))
        delta = p / p.sum(axis=-1, keepdims=True)
        delta[:, np.arange(len(labels)), labels] -= 1
        delta /= len(labels)
        by_z, by_activation, by_weight = [], [delta], []
        for k in reversed(range(len(zs))):
            by_z.append(delta)
            by_weight.append(activations[k].swapaxes(1, 2) @ delta)
            if k:
                by_activation.append(delta @ self.weights[k].swapaxes(1, 2))
                delta = by_activation[-1] * self.slope(zs[k - 1])
        return activations, zs, by_z[::-1], by_activation[::-1], by_weight[::-1]

    def report(self, place: int, x: np.ndarray, labels: np.ndarray, name: str) -> SignalReport:
        """Return the signals of one of the networks."""
        arrays = [[array[place] for array in arrays] for arrays in self.gradients(x, labels)]
        activations, zs, by_z, by_activation, by_weight = arrays
        rows, weights = [], []
        for k, weight in enumerate(self.weights):
            rows.append(activation(f"layer{k}", "Linear", zs[k], gradient=by_z[k]))
            if k < len(zs) - 1:
                rows.append(activation(f"layer{k}.{name}()", name, activations[k + 1], gradient=by_activation[k]))
            weights.append(parameter(f"layer{k}.weight", weight[place], by_weight[k], axes="IO"))
        return SignalReport(rows, weights, input_std=float(x.std()))

    def train(self, x: np.ndarray, labels: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """Train each network with its learning rate, and return the accuracies."""
        rates = rates.astype(np.float32)[:, None, None]
        with np.errstate(all="ignore"):
            for step in range(STEPS):
                batch = slice(step * BATCH % (len(x) - BATCH), None)
                *_, by_weight = self.gradients(x[batch][:BATCH], labels[batch][:BATCH])
                for weight, gradient in zip(self.weights, by_weight, strict=True):
                    weight -= rates * gradient
            outputs = self.run(x)[0][-1]
        finite = np.isfinite(outputs).all(axis=(1, 2))
        return np.where(finite, (outputs.argmax(axis=-1) == labels).mean(axis=-1), 1 / CLASSES)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the 8 x 8 digits in a fixed random order, with mean 0 and std 1."""
    x, labels = load_digits(return_X_y=True)
    x = ((x - x.mean(axis=0)) / x.std()).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    return x[order], labels[order]


def run(lab: Lab) -> None:
    """Measure and train the grid, and compare the verdicts with the training."""
    x, labels = digits()
    names, depths = (["relu", "tanh"], DEPTHS[:3]) if lab.quick else (list(ACTIVATIONS), DEPTHS)
    grids = {}
    seeds = (CHOSEN,) if lab.quick else (CHOSEN, CHECKED)
    with lab.progress(len(names) * len(depths) * len(seeds)) as advance:
        for seed in seeds:
            for name in names:
                for depth in depths:
                    grids[seed, name, depth] = _row(x, labels, name, depth, seed)
                    advance()
    rows = [
        [name, str(depth), *(_cell(*outcome) for outcome in outcomes)]
        for (seed, name, depth), outcomes in grids.items()
        if seed == CHOSEN
    ]
    lab.table("grid", ["activation", "depth", *(f"{scale:g}" for scale in SCALES)], rows)
    learning, failing, alarms, caught = _counts(grids, CHOSEN)
    other_learning, other_failing, other_alarms, other_caught = _counts(grids, CHECKED)
    lab.quote(
        steps=STEPS,
        batch=BATCH,
        width=WIDTH,
        rates=", ".join(f"{rate:g}" for rate in RATES),
        learns=f"{LEARNS:.0%}",
        networks=learning + failing,
        learning=learning,
        failing=failing,
        alarms=alarms,
        caught=caught,
        other_learning=other_learning,
        other_failing=other_failing,
        other_alarms=other_alarms,
        other_caught=other_caught,
    )
    lab.claim("no network that learns is called dead, vanishing or exploding", f"{alarms} of {learning}", alarms == 0)
    lab.claim(
        "at least nine in ten of those that do not learn are not called healthy",
        f"{caught} of {failing}",
        caught >= math.ceil(0.9 * failing),
    )
    if lab.quick:
        return  # a small grid has too few networks to hold out
    lab.claim(
        "with other random weights, at most one in fifty networks that learn gets a wrong alarm",
        f"{other_alarms} of {other_learning}",
        other_alarms <= other_learning / 50,
    )
    lab.claim(
        "with other random weights, at least nine in ten of those that do not learn are not called healthy",
        f"{other_caught} of {other_failing}",
        other_caught >= 0.9 * other_failing,
    )


def _row(x: np.ndarray, labels: np.ndarray, name: str, depth: int, seed: int) -> list[tuple[str, float]]:
    """Return the verdict and the best accuracy at each scale."""
    measured = Networks(name, depth, SCALES, seed)
    reports = [measured.report(k, x[:256], labels[:256], name) for k in range(len(SCALES))]
    trained = Networks(name, depth, [scale for scale in SCALES for _ in RATES], seed)
    accuracies = trained.train(x, labels, np.tile(RATES, len(SCALES))).reshape(-1, len(RATES)).max(axis=1)
    verdicts = ["healthy" if report.healthy else report.ill[0].verdict for report in reports]
    return list(zip(verdicts, accuracies.tolist(), strict=True))


def _cell(verdict: str, accuracy: float) -> str:
    right = (verdict == "healthy") == (accuracy >= LEARNS)
    return f"{verdict if right else f'**{verdict}**'} {accuracy:.0%}"


def _counts(grids: dict, seed: int) -> tuple[int, int, int, int]:
    """Return the numbers of networks that learn and that fail, and of those without the verdict healthy."""
    outcomes = [
        (verdict, accuracy >= LEARNS) for key, row in grids.items() if key[0] == seed for verdict, accuracy in row
    ]
    learning = [verdict for verdict, learns in outcomes if learns]
    failing = [verdict for verdict, learns in outcomes if not learns]
    ill = [sum(verdict != "healthy" for verdict in verdicts) for verdicts in (learning, failing)]
    return len(learning), len(failing), *ill
