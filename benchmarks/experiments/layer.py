"""One tanh layer in NumPy: under a careless draw its signal vanishes, under Xavier's it stays."""

import math

import numpy as np
from matplotlib.figure import Figure

from initlib import glorot_uniform, normal, uniform

from .common import STYLES, Lab, new_figure

ROWS, INPUTS, OUTPUTS = 4, 10, 5
Z = 7.13  # standard errors: a right figure is called wrong with probability 1e-12


def mean_square(bound: float) -> float:
    """E tanh(z)² of z = Σ x w over the inputs, x standard normal, w uniform on [0, bound) or (-bound, bound).

    With φ the characteristic function of z, and sech² = 1 - tanh² that of Fourier transform π t / sinh(π t / 2),
    Parseval gives E sech²(z) = ∫ φ(t) t / sinh(π t / 2) dt / 2. For one input φ(t) = E exp(-t² w² / 2), an erf.
    """
    t = (np.arange(200_000) + 0.5) * 2e-4  # to 40, where sinh has ended it
    root = t * bound / math.sqrt(2)
    one = np.array([math.sqrt(math.pi) / 2 * math.erf(r) / r for r in root])
    return float(1 - (one**INPUTS * t / np.sinh(math.pi * t / 2)).sum() * 2e-4)


def _mean_square_normal(variance: float) -> float:
    """E tanh(z)² of a normal z."""
    z = np.linspace(-12, 12, 240_001)
    density = np.exp(-z * z / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    return float((np.tanh(z) ** 2 * density).sum() * 1e-4)


def run(lab: Lab) -> None:
    """Draw many such layers, and measure what theory says."""
    layers = 2**13 if lab.quick else 2**17
    limit = glorot_uniform.bounds((INPUTS, OUTPUTS))[1]
    schemes = {
        "careless": (uniform(0.0, 0.01), 0.01, 0.01**2 / 12),
        "Glorot": (glorot_uniform, limit, limit**2 / 3),
    }
    lab.say(
        f"x of shape ({ROWS}, {INPUTS}), N(0, 1); W of shape ({INPUTS}, {OUTPUTS}), uniform on [0, 0.01) or Xavier "
        f"uniform; a = tanh(x W). {layers} such layers are drawn at once, with axes BIO. A measured figure "
        f"must lie within {Z} standard errors of theory."
    )
    x = normal()((layers, ROWS, INPUTS), seed=0, name="x", axes="BIO").astype(np.float64)
    rows, activations = [], {}
    for name, (initializer, bound, variance) in schemes.items():
        w = initializer((layers, INPUTS, OUTPUTS), seed=0, name="w", axes="BIO").astype(np.float64)
        a = np.tanh(x @ w)
        activations[name] = a
        theory = {"x": 1.0, "W": variance, "a": mean_square(bound)}
        for letter, values in {"x": x, "W": w, "a": a}.items():
            # The layers are independent, the numbers within one are not: so the error is that of the layers' means.
            mean = bound / 2 if letter == "W" and name == "careless" else 0.0
            squares = ((values - mean) ** 2).mean(axis=(1, 2))
            measured, error = float(squares.mean()), float(squares.std() / math.sqrt(layers))
            rows.append([f"{name}: Var {letter}", f"{measured:.5g}", f"{theory[letter]:.5g}", f"{error:.1g}"])
            lab.claim(
                f"{name}: Var {letter} is {theory[letter]:.5g}",
                f"{measured:.5g}",
                abs(measured - theory[letter]) < Z * error,
            )
    lab.table(["", "measured", "theory", "standard error"], rows)
    lab.claim(
        "Var W is the reported 8.333e-6 and 0.13333",
        f"{schemes['careless'][2]:.4g} and {schemes['Glorot'][2]:.5f}",
        abs(schemes["careless"][2] - 8.333e-6) < 1e-9 and abs(schemes["Glorot"][2] - 0.13333) < 1e-5,
    )
    reported, exact = 0.44682, mean_square(limit)
    normal_ = _mean_square_normal(INPUTS * limit**2 / 3)
    measured = float((activations["Glorot"] ** 2).mean())
    lab.claim(
        f"Glorot: E tanh² is {exact:.5f}; the reported {reported} is that of a normal z, which ten inputs do not make",
        f"{measured:.4f}; {normal_:.5f} for a normal z",
        abs(normal_ - reported) < 1e-5 and abs(measured - exact) < abs(measured - reported) / 4,
    )
    lab.picture(_picture(activations), "Histograms of the activations under both draws")


def _picture(activations: dict[str, np.ndarray]) -> Figure:
    figure = new_figure("One tanh layer: its activations", 8, 3.4)
    colours = {"careless": STYLES["large"]["color"], "Glorot": STYLES["Glorot"]["color"]}
    titles = {"careless": "uniform on [0, 0.01)", "Glorot": "Xavier uniform"}
    for axes, (name, a) in zip(figure.subplots(1, 2, sharey=True), activations.items(), strict=True):
        flat = a.ravel()
        axes.hist(flat, bins=np.linspace(-1, 1, 81), weights=np.full(flat.size, 100 / flat.size), color=colours[name])
        axes.set(xlabel="activation a = tanh(x W)", yscale="log", title=f"{titles[name]}: std {flat.std():.3f}")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("share of the activations (%)")
    return figure
