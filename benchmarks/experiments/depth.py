"""Fifty layers: the sizes of activations and gradients, measured and predicted."""

import math
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from initlib import Initializer, glorot_normal, he_normal, normal, propagation, variance_scaling

from .lab import Lab
from .pictures import STYLES, new_figure

WIDTH, LAYERS, BATCH = 256, 50, 64
SCHEMES: dict[str, Initializer] = {
    "small": normal(std=0.01),
    "Glorot": glorot_normal,
    "He": he_normal,
    "large": normal(std=1.0),
}
ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {  # and the derivative
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
}
Z = 7.13  # standard errors: a right figure is called wrong with probability 1e-12


def measure(initializer: Initializer, activation: str, seed: int, dtype: str = "float64") -> np.ndarray:
    """Measure the root mean square of the activations and of their gradients in each layer: (2, layers + 1).

    The gradient is that of a random linear function of the last layer's activations.
    """
    f, slope = ACTIVATIONS[activation]
    x = normal()((BATCH, WIDTH), dtype, seed=seed, name="x")
    weights = [initializer((WIDTH, WIDTH), dtype, seed=seed, name=f"layer{k}") for k in range(LAYERS)]
    zs, sizes = [], [_rms(x)]
    for weight in weights:
        zs.append(x @ weight)
        x = f(zs[-1])
        sizes.append(_rms(x))
    gradient = normal()((BATCH, WIDTH), dtype, seed=seed, name="gradient")
    gradients = [_rms(gradient)]
    for weight, z in zip(reversed(weights), reversed(zs), strict=True):
        gradient = (gradient * slope(z)) @ weight.T
        gradients.append(_rms(gradient))
    return np.array([sizes, gradients[::-1]])


def predict(initializer: Initializer, activation: str) -> np.ndarray:
    """Predict the same for infinitely wide layers: z is normal, of variance n Var(w) times the last mean square."""
    spread = WIDTH * initializer.std((WIDTH, WIDTH)) ** 2
    variances = propagation.lengths(activation, LAYERS + 1, weight_variance=spread, start=spread)
    factors = [propagation.chi(activation, weight_variance=spread, length=variance) for variance in variances[:-1]]
    return np.sqrt([variances / spread, np.cumprod([1.0, *reversed(factors)])[::-1]])


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def run(lab: Lab) -> None:
    """Measure both halves: the steps of the formula, and fifty layers."""
    _steps(lab)
    seeds = range(2 if lab.quick else 20)
    cells = [(activation, scheme) for activation in ACTIVATIONS for scheme in SCHEMES]
    measurements: dict[tuple[str, str], np.ndarray] = {}
    with lab.progress(len(cells) * len(seeds)) as advance:
        for activation, scheme in cells:
            rows = []
            for seed in seeds:
                rows.append(measure(SCHEMES[scheme], activation, seed))
                advance(1)
            measurements[activation, scheme] = np.array(rows)
    predicted = {(activation, scheme): predict(SCHEMES[scheme], activation) for activation, scheme in cells}
    lab.quote(width=WIDTH, layers=LAYERS, batch=BATCH, seeds=len(seeds))
    _table(lab, measurements, predicted)
    _claims(lab, measurements, predicted)
    lab.picture(_picture(measurements, predicted))


def _table(lab: Lab, measurements: dict, predicted: dict) -> None:
    rows = []
    for (activation, scheme), values in measurements.items():
        size, gradient = np.exp(np.log(values).mean(axis=0))[[0, 1], [-1, 0]]
        expected = predicted[activation, scheme][[0, 1], [-1, 0]]
        rows.append(
            [f"{activation}, {scheme}", f"{size:.2g}", f"{expected[0]:.2g}", f"{gradient:.2g}", f"{expected[1]:.2g}"]
        )
    lab.table("ends", ["", f"activations, layer {LAYERS}", "predicted", "gradients, first layer", "predicted"], rows)


def _claims(lab: Lab, measurements: dict, predicted: dict) -> None:
    # A finite layer is off by a random factor, and the factors multiply. Where tanh is saturated few units pass a
    # gradient on, and it is as if the layers were that much narrower.
    for number, (what, most) in enumerate((("activations", 2), ("gradients", 4))):
        worst = max(
            float(np.abs(np.log10(values[:, number]).mean(axis=0) - np.log10(predicted[cell][number])).max())
            for cell, values in measurements.items()
        )
        lab.claim(
            f"{what}: in every layer of the eight networks, within a factor of {most} of the prediction, which spans "
            "100 powers of ten",
            f"at most a factor of {10**worst:.2f}",
            worst < math.log10(most),
        )
    ends = {cell: np.exp(np.log(values).mean(axis=0)) for cell, values in measurements.items()}
    sizes = {cell: end[0, -1] for cell, end in ends.items()}
    gradients = {cell: end[1, 0] for cell, end in ends.items()}
    lab.claim(
        "relu: He alone keeps both, within a factor of 2 from one end to the other",
        f"activations {sizes['relu', 'He']:.2f}, gradients {gradients['relu', 'He']:.2f}",
        all(
            (0.5 < value < 2) == (cell[1] == "He")
            for ends_ in (sizes, gradients)
            for cell, value in ends_.items()
            if cell[0] == "relu"
        ),
    )
    lab.claim(
        "tanh: Glorot loses one power of ten in activations and in gradients; He's activations settle, its gradients "
        "grow",
        f"activations {sizes['tanh', 'Glorot']:.3f} and {sizes['tanh', 'He']:.2f}, "
        f"gradients {gradients['tanh', 'Glorot']:.2f} and {gradients['tanh', 'He']:.1f}",
        all(0.05 < ends_["tanh", "Glorot"] < 0.2 for ends_ in (sizes, gradients))
        and 0.5 < sizes["tanh", "He"] < 0.6
        and gradients["tanh", "He"] > 4,
    )
    lab.claim(
        "tanh, large: the activations look healthy, and the gradients explode",
        f"activations {sizes['tanh', 'large']:.2f}, gradients {gradients['tanh', 'large']:.1e}",
        0.9 < sizes["tanh", "large"] <= 1 and gradients["tanh", "large"] > 1e15,
    )
    with np.errstate(all="ignore"):
        small, large = (measure(SCHEMES[scheme], "relu", 0, "float32")[0] for scheme in ("small", "large"))
    dead, burst = int(np.argmax(small == 0)), int(np.argmax(~np.isfinite(large)))
    lab.quote(dead_layer=dead, burst_layer=burst)
    lab.claim(
        "relu in float32: small weights give exact zeros, and large weights give inf or nan, before the last layer",
        f"zeros from layer {dead} on, inf or nan from layer {burst} on",
        small[-1] == 0 and small[1] > 0 and not np.isfinite(large[-1]) and np.isfinite(large[1]),
    )


def _steps(lab: Lab) -> None:
    """Check Var(Y) = n Var(W) Var(X) step by step, also after relu and backward."""
    n, out, count = 100, 300, 2**14 if lab.quick else 2**18

    def weights(factor: float, name: str) -> np.ndarray:
        """Return a row of n uniform weights for each sum."""
        return variance_scaling(factor, "fan_in", "uniform")((count, n, 1), seed=1, name=name, axes="BIO")[..., 0]

    x = normal()((count, n), seed=1, name="x")
    w, he, half = weights(1.0, "w"), weights(2.0, "he"), np.maximum(x, 0)
    glorot = variance_scaling(1.0, "fan_avg", "uniform").std((n, out)) ** 2
    rows, worst = [], 0.0
    for step, formula, predicted, values in (
        ("one product, both of mean 0", "Var(wx) = Var(w) Var(x)", 1 / n, (w * x)[:, 0]),
        ("a sum of n, independent; Var(w) = 1/n", "Var(y) = n Var(w) Var(x)", 1.0, (w * x).sum(axis=1)),
        ("x = relu(z) has a mean: its mean square counts", "E x² = Var(z) / 2", 0.5, half[:, 0]),
        ("Var(w) = 1/n after relu", "Var(y) = n Var(w) E x²", 0.5, (w * half).sum(axis=1)),
        ("He: Var(w) = 2/n after relu", "Var(y) = Var(z)", 1.0, (he * half).sum(axis=1)),
    ):
        squares = values.astype(np.float64) ** 2
        measured, error = squares.mean(), squares.std() / math.sqrt(len(squares))
        worst = max(worst, abs(measured - predicted) / error)
        rows.append([step, formula, f"{predicted:.4g}", f"{measured:.4f}"])
    lab.table("steps", ["step", "formula", "predicted", "measured"], rows)
    lab.quote(inputs=n, outputs=out, forward=f"{n * glorot:.2f}", backward=f"{out * glorot:.2f}", sums=count)
    lab.claim(
        f"Var(Y) = n Var(W) Var(X): each of the five steps within {Z} standard errors of its formula",
        f"at most {worst:.1f}",
        worst < Z,
    )


def _picture(measurements: dict, predicted: dict) -> Figure:
    figure = new_figure(f"{LAYERS} layers of {WIDTH} units: markers measured, dashes predicted", 11, 6.6)
    layers = np.arange(LAYERS + 1)
    limits = np.finfo(np.float32)
    columns = (("relu", tuple(SCHEMES), (1e-55, 1e60)), ("tanh", tuple(SCHEMES), (1e-55, 1e60)))
    close = ("tanh", ("Glorot", "He"), (0.05, 20))
    for column, (activation, schemes, (low, high)) in zip(
        figure.subplots(2, 3, sharex=True).T, (*columns, close), strict=True
    ):
        for number, (axes, what) in enumerate(zip(column, ("activations", "gradients"), strict=True)):
            for scheme in schemes:
                middle = np.exp(np.log(measurements[activation, scheme][:, number]).mean(axis=0))
                label = f"{scheme}: {SCHEMES[scheme].std((WIDTH, WIDTH)):.3g}"
                axes.plot(layers, middle, **STYLES[scheme], markevery=5, markersize=5, label=label)
                axes.plot(layers, predicted[activation, scheme][number], color="black", linestyle="--", linewidth=1)
            axes.set(yscale="log", ylim=(low, high), title=f"{activation}: {what}")
            axes.grid(alpha=0.3)
            if high > 1e50:
                axes.set_yticks([10.0**power for power in range(-40, 41, 20)])
                axes.axhspan(float(limits.max), high, color="#BBBBBB", alpha=0.5, linewidth=0)
                axes.axhspan(low, float(limits.smallest_subnormal), color="#BBBBBB", alpha=0.5, linewidth=0)
                axes.text(25, 1e48, "beyond float32", fontsize=8, ha="center")
            else:
                axes.set_title(f"{activation}, close: {what}")
        column[1].set_xlabel("layer")
    for axes in figure.axes[:4:3]:
        axes.set_ylabel("root mean square")
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, title="std of the weights")
    return figure
