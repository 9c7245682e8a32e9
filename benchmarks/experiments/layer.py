"""A tanh layer with weights in [0, 1) and with Xavier's, compared with the source's single draw."""

import math

import numpy as np
from matplotlib.figure import Figure

from initlib import Initializer, glorot_uniform, normal, uniform

from .lab import Lab
from .pictures import STYLES, new_figure

ROWS, INPUTS, OUTPUTS = 4, 10, 5
Z = 7.13  # standard errors: a right figure is called wrong with probability 1e-12
SCHEMES: dict[str, Initializer] = {"careless": uniform(0.0, 0.01), "Xavier": glorot_uniform}
TITLES = {"careless": "uniform on [0, 0.01)", "Xavier": "Xavier uniform"}
COLOURS = {"careless": STYLES["large"]["color"], "Xavier": STYLES["Glorot"]["color"]}
FIGURES = ("mean of x", "variance of x", "mean of W", "variance of W", "mean of a", "variance of a")
# The numbers that the source prints for its one draw of each, in that order; and both matrices a, to 8 digits.
SOURCE = {
    "careless": (
        -0.213624441131,
        1.09739694476,
        0.00514046097504,
        8.07739736653e-06,
        -0.0146231177692,
        0.000116552335896,
    ),
    "Xavier": (0.0592525909824, 1.13072093473, -0.0060916606688, 0.144268379321, -0.144510939779, 0.479629251386),
}
PRINTED = {
    "careless": [
        [-0.03169883, -0.01401587, -0.03051881, -0.01716881, -0.0068985],
        [0.00604145, -0.00514469, -0.00155403, -0.01120579, -0.00641372],
        [-0.01578172, -0.00402429, -0.00561204, -0.02732289, -0.01917034],
        [-0.02890823, -0.01879694, -0.00350305, -0.02548757, -0.02527769],
    ],
    "Xavier": [
        [0.90007808, 0.83604129, 0.78359356, -0.93803927, -0.62864109],
        [-0.53958882, -0.89232924, -0.61626704, 0.07091654, 0.5156064],
        [0.68572553, 0.56603592, 0.80902637, -0.83510455, -0.77763795],
        [-0.00522897, -0.77569961, -0.78265741, -0.39748203, -0.86856651],
    ],
}


def mean_square(bound: float) -> float:
    """Return E tanh(z)² of z = Σ x w over the inputs, x standard normal, w uniform on [0, bound) or (-bound, bound).

    With φ the characteristic function of z, and sech² = 1 - tanh² that of Fourier transform π t / sinh(π t / 2),
    Parseval gives E sech²(z) = ∫ φ(t) t / sinh(π t / 2) dt / 2. For one input φ(t) = E exp(-t² w² / 2), an erf.
    """
    t = (np.arange(200_000) + 0.5) * 2e-4  # to 40, beyond which sinh makes the integrand 0
    root = t * bound / math.sqrt(2)
    one = np.array([math.sqrt(math.pi) / 2 * math.erf(r) / r for r in root])
    return float(1 - (one**INPUTS * t / np.sinh(math.pi * t / 2)).sum() * 2e-4)


def repeat(initializer: Initializer, layers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Repeat the source's experiment; return x, W and a."""
    x = normal()((layers, ROWS, INPUTS), seed=0, name="x", axes="BIO").astype(np.float64)
    w = initializer((layers, INPUTS, OUTPUTS), seed=0, name="w", axes="BIO").astype(np.float64)
    return x, w, np.tanh(x @ w)


def figures(x: np.ndarray, w: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Return the six figures of every repeat: (repeats, 6)."""
    columns = [statistic(axis=(1, 2)) for values in (x, w, a) for statistic in (values.mean, values.var)]
    return np.stack(columns, axis=1)


def quantiles(drawn: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
    """Return the share of repeats below the given figure, for each figure."""
    return (drawn < np.array(values)).mean(axis=0)


def run(lab: Lab) -> None:
    """Repeat the experiment, and compare it with theory and with the source's figures."""
    layers = 2**14 if lab.quick else 2**17
    lab.quote(repeats=layers, rows=ROWS, inputs=INPUTS, outputs=OUTPUTS)
    activations, drawn, rows, places = {}, {}, [], {}
    for scheme, initializer in SCHEMES.items():
        x, w, a = repeat(initializer, layers)
        activations[scheme], drawn[scheme] = a, figures(x, w, a)
        places[scheme] = quantiles(drawn[scheme], SOURCE[scheme])
        for figure, source, place, values in zip(FIGURES, SOURCE[scheme], places[scheme], drawn[scheme].T, strict=True):
            low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
            rows.append(
                [f"{scheme}: {figure}", f"{source:.4g}", f"{middle:.3g} [{low:.3g}, {high:.3g}]", f"{place:.3f}"]
            )
        _theory(lab, scheme, x, w, a)
    lab.table("places", ["", "source", "median [5%, 95%] of the repeats", "source's quantile"], rows)
    _claims(lab, places, activations)
    lab.picture(_picture(lab, activations, drawn, places))


def _theory(lab: Lab, scheme: str, x: np.ndarray, w: np.ndarray, a: np.ndarray) -> None:
    """Check Var x, Var W and Var a against their exact values."""
    low, bound = SCHEMES[scheme].bounds((INPUTS, OUTPUTS))
    middle = (low + bound) / 2
    exact = {"x": 1.0, "W": (bound - low) ** 2 / 12, "a": mean_square(bound)}
    off, shown = 0.0, []
    for letter, values in {"x": x, "W": w - middle, "a": a}.items():
        # Only the layers are independent, not the numbers within a layer. So the error is that of the layers' means.
        squares = (values**2).mean(axis=(1, 2))
        off = max(off, abs(squares.mean() - exact[letter]) / (squares.std() / math.sqrt(len(squares))))
        shown.append(f"{squares.mean():.5g} for {exact[letter]:.5g}")
    lab.quote(**{f"{scheme.lower()}_std": f"{math.sqrt(exact['a']):.3f}"})
    lab.claim(
        f"{scheme}: Var x, Var W, Var a equal the exact variances, within {Z} standard errors",
        "; ".join(shown),
        off < Z,
    )


def _claims(lab: Lab, places: dict[str, np.ndarray], activations: dict[str, np.ndarray]) -> None:
    everything = np.concatenate(list(places.values()))
    lab.claim(
        "each of the twelve figures of the source lies between the quantiles 0.01 and 0.99",
        f"{everything.min():.3f} to {everything.max():.3f}",
        everything.min() > 0.01 and everything.max() < 0.99,
    )
    for scheme, printed in PRINTED.items():
        mean, variance = np.mean(printed), np.var(printed)
        off = max(abs(mean / SOURCE[scheme][4] - 1), abs(variance / SOURCE[scheme][5] - 1))
        lab.claim(
            f"{scheme}: the matrix a that the source prints has the mean and the variance that it prints, to 1e-6",
            f"{mean:.10f}, {variance:.10f}",
            off < 1e-6,
        )
    ratio = activations["Xavier"].std() / activations["careless"].std()
    lab.claim("Xavier's activations are at least 30 times as large", f"{ratio:.1f} times", ratio > 30)
    lab.quote(ratio=f"{ratio:.0f}")


def _picture(lab: Lab, activations: dict, drawn: dict, places: dict) -> Figure:
    figure = new_figure(
        f"One tanh layer: its activations, and the source's figures among {len(drawn['Xavier'])} repeats", 10, 6
    )
    grid = figure.subplots(2, 2, height_ratios=(1, 1.1))
    for (above, below), scheme in zip(grid.T, SCHEMES, strict=True):
        values = activations[scheme].ravel()
        above.hist(values, bins=np.linspace(-1, 1, 101), density=True, color=COLOURS[scheme])
        above.set(
            title=f"{TITLES[scheme]}: std of a {values.std():.3f}",
            xlabel="activation a = tanh(xW)",
            ylabel="density",
            xticks=(-1, -0.5, 0, 0.5, 1),
        )
        above.grid(alpha=0.3)
        for row in range(len(FIGURES)):
            # Each figure on the scale of its own spread: the middle 90% of the repeats reach from -1 to 1.
            low, middle, high = np.quantile(drawn[scheme][:, row], [0.05, 0.5, 0.95])
            scaled = 2 * (drawn[scheme][:, row] - middle) / (high - low)
            far = np.quantile(scaled, [0.005, 0.995])
            below.plot(far, [row, row], color="#999999", linewidth=1.5)
            below.plot(
                [2 * (low - middle) / (high - low), 2 * (high - middle) / (high - low)],
                [row, row],
                color=COLOURS[scheme],
                linewidth=8,
                alpha=0.6,
                solid_capstyle="butt",
            )
            below.plot(2 * (SOURCE[scheme][row] - middle) / (high - low), row, "*", color="black", markersize=10)
        below.set(yticks=range(6), yticklabels=FIGURES, xticks=[], xlabel="its spread: middle 90%, 99%; ★ the source's")
        below.set_ylim(5.6, -0.6)
    return figure
