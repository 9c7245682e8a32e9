"""Formulas of six schemes and of contrib, against large draws and the peers."""

import math
from collections.abc import Callable
from importlib.util import find_spec
from types import SimpleNamespace
from unittest import mock

import numpy as np
from matplotlib.figure import Figure

import initlib
from initlib import truncated_normal, variance_scaling

from .lab import Lab
from .pictures import STYLES, new_figure

FAN_IN, FAN_OUT = 300, 100
SHAPE = (FAN_IN, FAN_OUT)
NAMES = ("glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform")
VARIANCE = {"glorot": 2 / (FAN_IN + FAN_OUT), "he": 2 / FAN_IN, "lecun": 1 / FAN_IN}
WRITTEN = {"glorot": "2 / (in + out)", "he": "2 / in", "lecun": "1 / in"}
LIMIT = {"glorot": "√(6 / (in + out))", "he": "√(6 / in)", "lecun": "√(3 / in)"}
TRUNCATED_STD = 0.87962566103423978  # of a standard normal kept to ±2
# tf.contrib's factor, mode and uniform, and what each row was named after; the last two were xavier_initializer.
CONTRIB = (
    (2.0, "FAN_IN", False, "MSRA"),
    (1.0, "FAN_IN", True, "Caffe"),
    (1.0, "FAN_AVG", True, "Glorot and Bengio"),
    (1.0, "FAN_AVG", True, "xavier, uniform=True"),
    (1.0, "FAN_AVG", False, "xavier, uniform=False"),
    (2.0, "FAN_OUT", False, "the third mode"),
)
# Relative errors of a std that are wrong with probability 1e-12, for 2**20 weights: by kurtosis.
TOLERANCE = {"truncated_normal": 0.00407, "uniform": 0.00311}


def keras_value(name: str) -> float | None:
    """Return the argument of Keras's generator: a limit, or the std of a normal before the cut at 2 sigma."""
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
    """Return the argument of PyTorch's generator: a limit, or the std of a normal without a cut. It has no LeCun."""
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
    """Return JAX's factor of a draw on (-1, 1), or of a normal that is cut at 2 sigma."""
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
    """Return the std and the limit of a scheme by its formula."""
    scheme, distribution = name.split("_")
    std = math.sqrt(VARIANCE[scheme])
    return std, math.sqrt(3) * std if distribution == "uniform" else 2 * std / TRUNCATED_STD


def contrib_std(factor: float, mode: str, uniform: bool) -> float:
    """Return the std of tf.contrib's variance_scaling_initializer, which has 1.3 in place of 1 / 0.8796**2."""
    n = {"FAN_IN": FAN_IN, "FAN_OUT": FAN_OUT, "FAN_AVG": (FAN_IN + FAN_OUT) / 2}[mode]
    return math.sqrt(factor / n) if uniform else math.sqrt(1.3 * factor / n) * TRUNCATED_STD


def drawn(initializer: initlib.Initializer, count: int, name: str) -> np.ndarray:
    """Draw a stack of kernels of SHAPE with at least that many weights."""
    return initializer((-(-count // math.prod(SHAPE)), *SHAPE), seed=0, name=name, axes="BIO")


def measured_std(weights: np.ndarray) -> float:
    """Return the std in float64, around the mean 0."""
    return math.sqrt(np.square(weights, dtype=np.float64).mean())


def run(lab: Lab) -> None:
    """Compare the formulas with the initializers, with large draws of them, and with the peers."""
    count = 2**20 if lab.quick else 2**22
    lab.quote(fan_in=FAN_IN, fan_out=FAN_OUT, weights=f"{count:,}".replace(",", " "))
    peers = {peer: value for peer, (package, value) in PEERS.items() if find_spec(package)}
    rows, written, weights = [], [], {}
    errors: list[float] = []  # of our formulas
    deviations: dict[str, float] = {}  # of the measured std, relative to the tolerance
    reaches: dict[str, float] = {}  # the greatest weight, relative to the limit
    differences: dict[str, list[float]] = {peer: [] for peer in peers}
    for name in NAMES:
        initializer = getattr(initlib, name)
        std, limit = expected(name)
        scheme, distribution = name.split("_")
        errors += [initializer.std(SHAPE) / std - 1, initializer.bounds(SHAPE)[1] / limit - 1]
        weights[name] = drawn(initializer, count, name)
        measured = measured_std(weights[name])
        deviations[name] = (measured / std - 1) / (TOLERANCE[initializer.distribution] * math.sqrt(2**20 / count))
        reaches[name] = float(np.abs(weights[name]).max()) / float(np.float32(limit))
        formula = LIMIT[scheme] if distribution == "uniform" else f"2 √({WRITTEN[scheme]}) / 0.8796"
        written.append([name, WRITTEN[scheme], formula, f"{std:.5f}", f"{measured:.5f}", f"{limit:.5f}"])
        row = [name]
        for peer, value in peers.items():
            asked = value(name)
            row.append("-" if asked is None else f"{asked:.7f}")
            if asked is not None:
                expected_value = limit if distribution == "uniform" else std if peer == "PyTorch" else limit / 2
                differences[peer].append(asked / expected_value - 1)
        rows.append(row)
    lab.table("six", ["scheme", "variance", "limit", "std here", "measured", "limit here"], written)
    lab.table("peers", ["asks its generator for", *peers], rows)
    worst = max(map(abs, errors))
    lab.claim("the six: std and limit are the formulas' to 1e-9", f"{worst:.1e}", worst < 1e-9)
    name = max(deviations, key=lambda name: abs(deviations[name]))
    lab.claim(
        "the six: the std of the weights is the formula's, within 7.13 standard errors",
        f"at most {7.13 * abs(deviations[name]):.2f}, {name}",
        abs(deviations[name]) < 1,
    )
    lab.claim(
        "the six: the greatest weight comes within 0.1% of the limit, and none passes it",
        f"{min(reaches.values()):.6f} to {max(reaches.values()):.6f} of it",
        min(reaches.values()) > 0.999 and max(reaches.values()) <= 1,
    )
    for peer, values in differences.items():
        worst = max(map(abs, values))
        lab.claim(f"{peer} asks for the same to 1e-9", f"{worst:.1e} over {len(values)} schemes", worst < 1e-9)
    _printed(lab, count)
    _contrib(lab)
    lab.picture(_picture(weights, drawn(truncated_normal(std=math.sqrt(2 / FAN_IN)), count, "printed")))


def _printed(lab: Lab, count: int) -> None:
    """Check the source's printed code: the truncated normal, and the two lines with randn(out, in)."""
    tolerance = math.sqrt(2**20 / count)
    narrow = measured_std(drawn(truncated_normal(std=math.sqrt(2 / FAN_IN)), count, "printed")) / math.sqrt(2 / FAN_IN)
    lab.quote(narrow=f"{narrow:.4f}", narrower=f"{100 * (1 - narrow):.0f}")
    lab.claim(
        "truncated_normal(0, √(factor / n)), as printed, has 0.8796 of the std that it should have",
        f"{narrow:.5f}",
        abs(narrow / TRUNCATED_STD - 1) < TOLERANCE["truncated_normal"] * tolerance,
    )
    transposed = (FAN_OUT, FAN_IN)
    off, wrong = 0.0, 0.0
    for factor, mode, std in ((1.0, "fan_in", math.sqrt(1 / FAN_IN)), (1.0, "fan_avg", math.sqrt(2 / sum(SHAPE)))):
        initializer = variance_scaling(factor, mode, "normal")
        weights = initializer((count // math.prod(SHAPE) + 1, *transposed), seed=0, name=mode, axes="BOI")
        off = max(off, abs(measured_std(weights) / std - 1))
        wrong = max(wrong, initializer.std(transposed) / std)  # with the default axes, "...IO"
    lab.quote(wrong=f"{wrong:.2f}")
    lab.claim(
        'randn(out, in) √(1 / in) and randn(out, in) √(2 / (in + out)): variance_scaling with axes="OI" draws that std',
        f"off by {off:.1e}; without the axes by a factor of {wrong:.2f}",
        off < 0.00492 * tolerance,
    )


def _contrib(lab: Lab) -> None:
    rows = []
    high = {True: 0.0, False: math.sqrt(1.3) * TRUNCATED_STD - 1}  # of contrib's std, by uniform
    errors = []
    for factor, mode, uniform, what in CONTRIB:
        own_std = variance_scaling(factor, mode, "uniform" if uniform else "truncated_normal").std(SHAPE)
        contrib = contrib_std(factor, mode, uniform)
        rows.append(
            [what, f"{factor:g}, {mode}, {uniform}", f"{own_std:.8f}", f"{contrib:.8f}", f"{contrib / own_std - 1:.3%}"]
        )
        errors.append(abs(contrib / own_std - 1 - high[uniform]))
    lab.table("contrib", ["contrib", "factor, mode, uniform", "std", "contrib's std", "too large"], rows)
    lab.claim(
        "contrib's arguments give contrib's std to 1e-9 where it is uniform, and 1 / 1.0029 of it where it is normal",
        f"{max(errors):.1e}",
        max(errors) < 1e-9,
    )
    count = 2**23 if lab.quick else 2**26  # about 7 million weights are needed to measure 0.29%
    hidden = drawn(truncated_normal(std=math.sqrt(1.3 * 2 / FAN_IN)), count, "contrib")
    excess = measured_std(hidden) / measured_std(drawn(initlib.he_normal, count, "ours")) - 1
    lab.quote(excess=f"{100 * excess:.2f}")
    lab.claim(
        "contrib's hidden 1.3, drawn: its std is 0.29% larger than ours, within 7.13 standard errors",
        f"{100 * excess:.3f}%",
        abs(excess - high[False]) < math.sqrt(2) * TOLERANCE["truncated_normal"] * math.sqrt(2**20 / count),
    )


def _picture(weights: dict[str, np.ndarray], printed: np.ndarray) -> Figure:
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
    grid[0, 1].hist(
        printed.ravel(), bins=edges, density=True, histtype="step", color="black", label="as printed: 12% less"
    )
    grid[0, 1].legend(loc="upper right", fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("weight")
    for axes in grid[:, 0]:
        axes.set_ylabel("density")
    grid[0, 0].legend(loc="upper right")
    return figure
