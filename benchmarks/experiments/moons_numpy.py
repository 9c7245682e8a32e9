"""make_moons, a NumPy network: zeros never start, large weights end high and hard, He learns."""

import itertools

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import make_moons

from initlib import Initializer, normal, variance_scaling, zeros

from .common import Lab, new_figure, plot_curves, plot_regions

SIZES = (2, 12, 6, 1)
EPOCHS = 15000
RATE = 0.01
EPSILON = 1e-5  # inside the logarithms of the cost
EVERY = 50  # epochs between two points of a curve
SEEDS = (0, 1, 2)
SCHEMES: dict[str, Initializer] = {
    "zeros": zeros,
    "large": normal(std=10.0),
    "He": variance_scaling(2.0, "fan_in", "normal"),
}
# What has been reported for this set-up: soft accuracy, train and test, in percent; the cost, first and last.
REPORTED = {
    "zeros": ("50 / 50", "0.693 → 0.693"),
    "large": ("86 / 83", "7.3 → 4.6"),
    "He": ("95 / 94", "0.698 → 0.069"),
}


class Network:
    """relu, relu, sigmoid; trained by gradient descent on the cross-entropy."""

    def __init__(self, initializer: Initializer, seed: int) -> None:
        shapes = itertools.pairwise(SIZES)
        self.weights = [initializer(s, "float64", seed=seed, name=f"layer{k}") for k, s in enumerate(shapes)]
        self.biases = [np.zeros(size) for size in SIZES[1:]]

    def forward(self, x: np.ndarray) -> list[np.ndarray]:
        """The input, and the activations of every layer."""
        activations = [x]
        for weight, bias in zip(self.weights, self.biases, strict=True):
            z = activations[-1] @ weight + bias
            # 1 / (1 + exp(-z)), which does not overflow
            activations.append(np.maximum(z, 0) if weight is not self.weights[-1] else 0.5 + 0.5 * np.tanh(z / 2))
        return activations

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The probability of class 1."""
        return self.forward(x)[-1][:, 0]

    def step(self, x: np.ndarray, y: np.ndarray, rate: float = RATE) -> float:
        """One step on all points; the cost before it."""
        activations = self.forward(x)
        p = activations[-1]
        delta = (p - y) / len(y)  # the cross-entropy's: with the epsilon's, a saturated network would never move
        for k in reversed(range(len(self.weights))):
            weight_step, bias_step = activations[k].T @ delta, delta.sum(axis=0)
            delta = (delta @ self.weights[k].T) * (activations[k] > 0)
            self.weights[k] -= rate * weight_step
            self.biases[k] -= rate * bias_step
        return cost(p, y)


def cost(p: np.ndarray, y: np.ndarray) -> float:
    """The cross-entropy with the epsilon of the report."""
    return float(-(y * np.log(p + EPSILON) + (1 - y) * np.log(1 - p + EPSILON)).mean())


def accuracies(p: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The soft accuracy, which is what was reported, and the usual one, hard: both in percent."""
    return float(100 * (y * p + (1 - y) * (1 - p)).mean()), float(100 * ((p > 0.5) == y).mean())


def run(lab: Lab) -> None:
    """Train under every scheme and seed, and compare with the report."""
    x, y = make_moons(400, noise=0.2, random_state=0)
    test_x, test_y = make_moons(100, noise=0.2, random_state=1)
    epochs, seeds = (EPOCHS * 2 // 3, SEEDS[:1]) if lab.quick else (EPOCHS, SEEDS)
    lab.say(
        f"A network {'-'.join(map(str, SIZES))} (relu, relu, sigmoid; biases 0) on 400 points, 100 more to test; "
        f"{epochs} full-batch epochs, learning rate {RATE}; the mean over seeds {', '.join(map(str, seeds))} "
        "(0 for zeros). Soft accuracy is the mean of y p + (1 - y)(1 - p), hard accuracy that of p > 1/2."
    )
    networks: dict[str, Network] = {}
    curves: dict[str, list[float]] = {}
    found: dict[str, np.ndarray] = {}  # per seed: soft and hard accuracy on both sets, first and last cost
    with lab.progress((1 + 2 * len(seeds)) * epochs // EVERY) as advance:
        for name, initializer in SCHEMES.items():
            rows = []
            for seed in seeds[:1] if name == "zeros" else seeds:
                network = Network(initializer, seed)
                costs = []
                for epoch in range(epochs):
                    costs.append(network.step(x, y[:, None]))
                    if epoch % EVERY == 0:
                        advance(1)
                train, test = accuracies(network.predict(x), y), accuracies(network.predict(test_x), test_y)
                rows.append((*train, *test, costs[0], cost(network.forward(x)[-1], y[:, None])))
                if seed == seeds[0]:
                    networks[name], curves[name] = network, costs
            found[name] = np.array(rows)
    _table(lab, found)
    _claims(lab, found, curves["zeros"])
    thinned = {name: costs[::EVERY] for name, costs in curves.items()}
    lab.picture(_picture(networks, thinned, x, y), "Cost curves and decision regions under the three schemes")


def _table(lab: Lab, found: dict[str, np.ndarray]) -> None:
    rows = []
    for name, values in found.items():
        train, hard_train, test, hard_test, first, last = values.mean(axis=0)
        soft, hard = f"{train:.1f} / {test:.1f}", f"{hard_train:.1f} / {hard_test:.1f}"
        rows.append([name, soft, REPORTED[name][0], hard, f"{first:.3f} → {last:.3f}", REPORTED[name][1]])
    lab.table(["train / test", "soft %", "reported", "hard %", "cost", "reported"], rows)


def _claims(lab: Lab, found: dict[str, np.ndarray], costs: list[float]) -> None:
    zeros_, large, he = (found[name] for name in SCHEMES)
    lab.claim(
        "zeros: the cost stays at 0.69312718 = -ln(0.5 + 1e-5)",
        f"{min(costs):.8f} to {max(costs):.8f}",
        np.abs(np.array(costs) + np.log(0.5 + EPSILON)).max() < 1e-8,
    )
    lab.claim("zeros: 50%, soft and hard", f"{zeros_[0, 0]:.4f}% soft", np.allclose(zeros_[:, :4], 50, atol=1e-6))
    soft = 90 if lab.quick else 92
    lab.claim(
        f"He: at least {soft}% soft and 94% hard accuracy on the training points, every seed",
        f"soft {he[:, 0].min():.1f} to {he[:, 0].max():.1f}, hard {he[:, 1].min():.1f} to {he[:, 1].max():.1f}",
        he[:, 0].min() >= soft and he[:, 1].min() >= 94,
    )
    lab.claim(
        "large: costs more than He, over 3 times as much at the start and over 1.5 times at the end",
        f"{large[:, 4].mean():.2f} and {he[:, 4].mean():.2f}, then {large[:, 5].mean():.3f} and {he[:, 5].mean():.3f}",
        large[:, 4].mean() > 3 * he[:, 4].mean() and large[:, 5].mean() > 1.5 * he[:, 5].mean(),
    )
    # With the soft accuracy fixed, the cost is greatest where every point is quite right or quite wrong.
    bounds = [-(1 - values[:, 0] / 100) * np.log(EPSILON) for values in found.values()]
    lab.claim(
        "the reported row of large contradicts itself: a soft accuracy of 86% caps the cost at "
        "0.14 · -ln(1e-5) = 1.61, and 4.6 is reported",
        f"cap {-0.14 * np.log(EPSILON):.2f}; last cost here {large[:, 5].min():.3f} to {large[:, 5].max():.3f}",
        -0.14 * np.log(EPSILON) < 4.6
        and all((values[:, 5] <= bound).all() for values, bound in zip(found.values(), bounds, strict=True)),
    )


def _picture(networks: dict[str, Network], curves: dict[str, list[float]], x: np.ndarray, y: np.ndarray) -> Figure:
    figure = new_figure("make_moons: a 2-12-6-1 network under three initializations", 9, 6)
    (left, first), (second, third) = figure.subplots(2, 2)
    plot_curves(left, curves, step=EVERY)
    left.set(yscale="log", ylabel="cost (nats)", title="Cost on the training points")
    left.legend()
    plot_regions(figure, (first, second, third), {name: network.predict for name, network in networks.items()}, x, y)
    return figure
