"""The formulas: six named schemes and contrib's table, beside what the peers ask of their generators."""

import math
from collections.abc import Callable
from importlib.util import find_spec
from types import SimpleNamespace
from unittest import mock

import numpy as np
from matplotlib.figure import Figure

import initlib
from initlib import variance_scaling

from .common import STYLES, Lab, new_figure

FAN_IN, FAN_OUT = 300, 100
SHAPE = (FAN_IN, FAN_OUT)
NAMES = ("glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform")
VARIANCE = {"glorot": 2 / (FAN_IN + FAN_OUT), "he": 2 / FAN_IN, "lecun": 1 / FAN_IN}
TRUNCATED_STD = 0.87962566103423978  # of a standard normal kept to ±2
# tf.contrib's factor, mode and uniform, and what each row was named after; the last two were xavier_initializer.
CONTRIB = (
    (2.0, "FAN_IN", False, "MSRA"),
    (1.0, "FAN_IN", True, "Caffe"),
    (1.0, "FAN_AVG", True, "Glorot and Bengio"),
    (1.0, "FAN_AVG", True, "xavier, uniform=True"),
    (1.0, "FAN_AVG", False, "xavier, uniform=False"),
)
# Relative errors of a std that are wrong with probability 1e-12, for 2**20 weights: by kurtosis.
TOLERANCE = {"truncated_normal": 0.00407, "uniform": 0.00311}


def keras_value(name: str) -> float | None:
    """The limit, or the std of the normal before it is cut at 2 sigma, that Keras asks its generator for."""
    import keras
    from keras.src.initializers import random_initializers

    asked = {}
    recorder = SimpleNamespace(
        **{kind: lambda *_, **arguments: asked.update(arguments) for kind in ("uniform", "truncated_normal")},
        make_default_seed=lambda: 0,
        draw_seed=lambda seed: seed,
    )
    initializer = getattr(keras.initializers, "".join(part.title() for part in name.split("_")))()
    with mock.patch.object(random_initializers, "random", recorder):
        initializer(SHAPE)
    return asked["maxval"] if name.endswith("uniform") else asked["stddev"]


def torch_value(name: str) -> float | None:
    """The limit that PyTorch asks for, or its std: its normals are not cut. It has no LeCun."""
    import torch

    class Recorder(torch.Tensor):
        def uniform_(self, low, high, **_):
            asked.append(high)
            return self

        def normal_(self, mean, std, **_):
            asked.append(std)
            return self

    asked: list[float] = []
    scheme, distribution = name.split("_")
    weight = torch.empty(SHAPE[::-1]).as_subclass(Recorder)
    if scheme == "lecun":
        return None
    if scheme == "he":
        getattr(torch.nn.init, f"kaiming_{distribution}_")(weight, nonlinearity="relu")
    else:
        getattr(torch.nn.init, f"xavier_{distribution}_")(weight)
    return asked[0]


def jax_value(name: str) -> float | None:
    """What JAX multiplies its draw on (-1, 1), or its normal cut at 2 sigma, with."""
    import jax
    from jax._src.nn import initializers

    one = SimpleNamespace(uniform=lambda *_, **__: 1.0, truncated_normal=lambda *_, **__: 1.0)
    with jax.enable_x64(True), mock.patch.object(initializers, "random", one):
        return float(getattr(jax.nn.initializers, name)()(jax.random.key(0), SHAPE, "float64"))


PEERS: dict[str, tuple[str, Callable[[str], float | None]]] = {
    "Keras": ("keras", keras_value),
    "PyTorch": ("torch", torch_value),
    "JAX": ("jax", jax_value),
}


def expected(name: str) -> tuple[float, float]:
    """The std and the limit of a scheme from its formula."""
    scheme, distribution = name.split("_")
    std = math.sqrt(VARIANCE[scheme])
    return std, math.sqrt(3) * std if distribution == "uniform" else 2 * std / TRUNCATED_STD


def contrib_std(factor: float, mode: str, uniform: bool) -> float:
    """The std of tf.contrib's variance_scaling_initializer, from its source: 1.3 stands for 1 / 0.8796**2."""
    n = FAN_IN if mode == "FAN_IN" else (FAN_IN + FAN_OUT) / 2
    return math.sqrt(factor / n) if uniform else math.sqrt(1.3 * factor / n) * TRUNCATED_STD


def run(lab: Lab) -> None:
    """Compare the formulas with the initializers, with large draws of them, and with the peers."""
    rows_of_weights = 2**20 if lab.quick else 2**22
    shape = (-(-rows_of_weights // (FAN_IN * FAN_OUT)), *SHAPE)
    count = math.prod(shape)
    lab.say(
        f"fan_in {FAN_IN}, fan_out {FAN_OUT}: variance 2 / (fan_in + fan_out) for Glorot, 2 / fan_in for He, "
        f"1 / fan_in for LeCun; measured on {count} weights each. For the normals, the limit is 2 "
        "standard deviations of the normal before it is cut; a peer's column is what it asks its generator for: the "
        "limit of a uniform, the std of a normal (Keras and JAX: before the cut; PyTorch does not cut)."
    )
    peers = {peer: value for peer, (package, value) in PEERS.items() if find_spec(package)}
    rows, weights = [], {}
    errors: list[float] = []  # of our formulas
    deviations: dict[str, float] = {}  # of the measured std, relative to what is tolerated
    differences: dict[str, list[float]] = {peer: [] for peer in peers}
    for name in NAMES:
        initializer = getattr(initlib, name)
        std, limit = expected(name)
        distribution = name.split("_")[1]
        errors += [initializer.std(SHAPE) / std - 1, initializer.bounds(SHAPE)[1] / limit - 1]
        weights[name] = initializer(shape, seed=0, name=name, axes="BIO")
        measured = float(weights[name].std(dtype=np.float64))
        deviations[name] = (measured / std - 1) / (TOLERANCE[initializer.distribution] * math.sqrt(2**20 / count))
        greatest = float(np.abs(weights[name]).max())
        lab.claim(
            f"{name}: its greatest weight comes within 0.1% of the limit, and none passes it",
            f"{greatest:.8g} of {limit:.8g}",
            0.999 * limit < greatest <= np.float32(limit),
        )
        row = [name, f"{std:.7f}", f"{measured:.5f}", f"{limit:.7f}"]
        for peer, value in peers.items():
            asked = value(name)
            row.append("-" if asked is None else f"{asked:.7f}")
            if asked is not None:
                ours = limit if distribution == "uniform" else std if peer == "PyTorch" else limit / 2
                differences[peer].append(asked / ours - 1)
        rows.append(row)
    lab.table(["scheme", "std", "measured", "limit", *peers], rows)
    worst = max(map(abs, errors))
    lab.claim("the six: std and limit are the formulas' to 1e-9", f"{worst:.1e}", worst < 1e-9)
    name = max(deviations, key=lambda name: abs(deviations[name]))
    lab.claim(
        "the six: the std of the weights is the formula's, within 7.13 standard errors",
        f"at most {7.13 * abs(deviations[name]):.2f}, {name}",
        abs(deviations[name]) < 1,
    )
    for peer, values in differences.items():
        worst = max(map(abs, values))
        lab.claim(f"{peer} asks for the same to 1e-9", f"{worst:.1e} over {len(values)} schemes", worst < 1e-9)
    _contrib(lab)
    lab.picture(_picture(weights), "Histograms of the six schemes, with their limits")


def _contrib(lab: Lab) -> None:
    rows = []
    high = {True: 0.0, False: math.sqrt(1.3) * TRUNCATED_STD - 1}  # of contrib's std, by uniform
    errors = []
    for factor, mode, uniform, what in CONTRIB:
        ours = variance_scaling(factor, mode, "uniform" if uniform else "truncated_normal").std(SHAPE)
        theirs = contrib_std(factor, mode, uniform)
        rows.append(
            [what, f"{factor:g}, {mode}, {uniform}", f"{ours:.8f}", f"{theirs:.8f}", f"{theirs / ours - 1:.3%}"]
        )
        errors.append(abs(theirs / ours - 1 - high[uniform]))
    lab.table(["contrib", "factor, mode, uniform", "std", "contrib's std", "too large"], rows)
    lab.claim(
        "contrib's arguments give contrib's std to 1e-9 where it is uniform; where it is normal its std is 0.29% too "
        "large, because it has 1.3 for 1 / 0.8796²",
        f"{high[False]:.4%}, 1 / 0.8796² = {1 / TRUNCATED_STD**2:.8f}",
        max(errors) < 1e-9 and 0.0029 < high[False] < 0.0030,
    )


def _picture(weights: dict[str, np.ndarray]) -> Figure:
    figure = new_figure(f"The six schemes at fan_in {FAN_IN}, fan_out {FAN_OUT}", 9, 5)
    edges = np.linspace(-0.2, 0.2, 161)
    colours = {"glorot": STYLES["Glorot"]["color"], "he": STYLES["He"]["color"], "lecun": STYLES["large"]["color"]}
    grid = figure.subplots(2, 3, sharex=True, sharey=True)
    for axes, (name, weight) in zip(grid.T.flat, weights.items(), strict=True):
        axes.hist(weight.ravel(), bins=edges, density=True, color=colours[name.split("_")[0]])
        std, limit = expected(name)
        for side in (-limit, limit):
            axes.axvline(side, color="black", linestyle="--", linewidth=1, label="limit" if side > 0 else None)
        axes.set_title(f"{name}: std {std:.4f}")
    for axes in grid[-1]:
        axes.set_xlabel("weight")
    for axes in grid[:, 0]:
        axes.set_ylabel("density")
    grid[0, 0].legend(loc="upper right")
    return figure
