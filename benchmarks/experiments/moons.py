"""Two moons under zeros, large weights and He, with two forms of the gradient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import make_moons

from initlib import Initializer, glorot_uniform, normal, variance_scaling, zeros

from .lab import Lab, spread
from .pictures import band, new_figure, plane, regions
from .stack import Stack, draw

SIZES = (2, 12, 6, 1)
EPOCHS = 15000
RATE = 0.01
EPSILON = 1e-5  # inside the logarithms of the cost
EVERY = 1000  # epochs between two costs that the source prints
# The initializers of the first two layers; the last keeps its default, which the source does not name.
SCHEMES: dict[str, Initializer] = {
    "zeros": zeros,
    "large": normal(std=10.0),
    "He": variance_scaling(2.0, "fan_in", "normal"),
}
DEFAULTS: dict[str, Initializer] = {
    "glorot_uniform": glorot_uniform,
    "he_normal": variance_scaling(2.0, "fan_in", "normal"),
    "N(0, 0.01²)": normal(std=0.01),
}
# A scheme, and whether the gradient is that of the clipped cost, as in the source it seems, or p - y.
GROUPS = {
    "zeros": ("zeros", True),
    "He": ("He", True),
    "He, p - y": ("He", False),
    "large, stuck": ("large", True),
    "large, shaken": ("large", False),
}
# What the source prints: the cost every 1000 epochs; the soft accuracies after them, in percent.
_LARGE = (
    "7.3128 5.4951 5.4691 5.4124 5.3547 5.3542 5.3541 5.3540 5.3348 4.6450 4.6389 4.6382 4.6378 4.6374 4.6371 4.6369"
)
_HE = "0.6978 0.2988 0.2600 0.2323 0.2044 0.1736 0.1428 0.1182 0.1016 0.0903 0.0830 0.0780 0.0746 0.0722 0.0706 0.0693"
COSTS = {
    "zeros": [0.6931271807599427] * 16,
    "large": [float(cost) for cost in _LARGE.split()],
    "He": [float(cost) for cost in _HE.split()],
}
SOFT = {"zeros": (50.0, 50.0), "large": (85.993, 82.990), "He": (95.395, 94.656)}


@dataclass
class Moons:
    """Return the points of every seed: x (seeds, 2, points) and y (seeds, 1, points)."""

    x: np.ndarray
    y: np.ndarray

    @classmethod
    def draw(cls, count: int, seeds: Sequence[int]) -> "Moons":
        drawn = [make_moons(count, noise=0.2, random_state=seed) for seed in seeds]
        return cls(np.stack([x.T for x, _ in drawn]), np.stack([y[None] for _, y in drawn]))


def networks(scheme: str, seeds: Sequence[int], default: Initializer = glorot_uniform) -> list[np.ndarray]:
    """Return the weights of a scheme for every seed, stored (out, in) as in the source."""
    shapes = list(zip(SIZES[1:], SIZES[:-1], strict=True))
    initializers = [SCHEMES[scheme], SCHEMES[scheme], default]
    return [
        draw(initializer, shape, seeds, f"dense{k}", "float64")
        for k, (initializer, shape) in enumerate(zip(initializers, shapes, strict=True))
    ]


def cost(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the cross-entropy of every network, with the source's epsilon."""
    return -(y * np.log(p + EPSILON) + (1 - y) * np.log(1 - p + EPSILON)).mean(axis=(1, 2))


def gradient(p: np.ndarray, y: np.ndarray, clipped: np.ndarray | bool) -> np.ndarray:
    """Return the gradient of the cost by z of the output: p - y without the epsilon; times q / (q + epsilon) with it.

    q is the probability of the right class: where it is 0, the clipped cost is flat.
    """
    q = np.where(y, p, 1 - p)
    return (p - y) / y.shape[-1] * np.where(clipped, q / (q + EPSILON), 1.0)


def soft(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the source's accuracy in percent: the mean probability of the right class."""
    return 100 * np.where(y, p, 1 - p).mean(axis=(1, 2))


def hard(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the usual accuracy in percent."""
    return 100 * ((p > 0.5) == y).mean(axis=(1, 2))


@dataclass
class Training:
    """Training by group: rows are seeds."""

    epochs: list[int]
    costs: dict[str, np.ndarray]
    train: dict[str, np.ndarray]  # soft
    test: dict[str, np.ndarray]
    usual: dict[str, np.ndarray]  # hard, on the training points
    moved: dict[str, float]  # how far any weight of the first two layers went
    first: dict[str, Stack]  # the network of the first seed


def train(lab: Lab, seeds: Sequence[int], epochs: int) -> tuple[Training, Moons]:
    """Train all networks of all groups at once."""
    groups = list(GROUPS)
    points, tests = Moons.draw(400, seeds), Moons.draw(100, [seed + 1000 for seed in seeds])
    x, y, test_x, test_y = (np.concatenate([array] * len(groups)) for array in (points.x, points.y, tests.x, tests.y))
    clipped = np.repeat([GROUPS[group][1] for group in groups], len(seeds))[:, None, None]
    first = [np.concatenate(layer) for layer in zip(*(networks(GROUPS[g][0], seeds) for g in groups), strict=True)]
    stack = Stack([weight.copy() for weight in first], relu=True)
    marks = [*range(0, epochs, EVERY), epochs - 1]
    costs = []
    with lab.progress(epochs) as advance:
        for epoch in range(epochs):
            if epoch in marks:
                costs.append(cost(stack.forward(x)[-1], y))
            stack.step(x, lambda p: gradient(p, y, clipped), RATE)
            advance(1)
    p, test_p = stack.forward(x)[-1], stack.forward(test_x)[-1]

    def split(values: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(groups, np.split(values, len(groups)), strict=True))

    hidden = zip(stack.weights[:2], first[:2], strict=True)
    moved = np.max([np.abs(new - old).max(axis=(1, 2)) for new, old in hidden], axis=0)
    training = Training(
        marks,
        split(np.array(costs).T),
        split(soft(p, y)),
        split(soft(test_p, test_y)),
        split(hard(p, y)),
        {group: float(values.max()) for group, values in split(moved).items()},
        {group: stack.part(slice(k * len(seeds), k * len(seeds) + 1)) for k, group in enumerate(groups)},
    )
    return training, points


def run(lab: Lab) -> None:
    """Compare the starts under several defaults of the last layer, then train."""
    seeds = range(3 if lab.quick else 20)
    lab.quote(epochs=EPOCHS, seeds=len(seeds), rate=RATE, epsilon="1e-5")
    _starts(lab)
    training, points = train(lab, seeds, EPOCHS)
    _tables(lab, training)
    _claims(lab, training)
    lab.picture(_picture(training, points))


def _starts(lab: Lab) -> None:
    """Find the default of the last layer that explains the source's two first costs."""
    seeds = range(100 if lab.quick else 1000)
    points = Moons.draw(400, seeds)
    rows, places = [], {}
    for name, default in DEFAULTS.items():
        row = [name]
        for scheme in ("He", "large"):
            start = cost(Stack(networks(scheme, seeds, default), relu=True).forward(points.x)[-1], points.y)
            places[name, scheme] = float((start < COSTS[scheme][0]).mean())
            low, middle, high = np.quantile(start, [0.05, 0.5, 0.95])
            row += [f"{middle:.2f} [{low:.2f}, {high:.2f}]", f"{places[name, scheme]:.3f}"]
        rows.append(row)
    lab.table("starts", ["default", "He: cost at the start", "source's quantile", "large: cost", "source's"], rows)
    lab.quote(starts_seeds=len(seeds))
    lab.claim(
        "with a Glorot uniform last layer both of the source's first costs lie between the quantiles 0.05 and 0.95; "
        "with N(0, 0.01²) the first cost of large does not",
        f"{places['glorot_uniform', 'He']:.2f} and {places['glorot_uniform', 'large']:.2f}; "
        f"{places['N(0, 0.01²)', 'large']:.3f}",
        all(0.05 < places["glorot_uniform", scheme] < 0.95 for scheme in ("He", "large"))
        and places["N(0, 0.01²)", "large"] > 0.95,
    )


def _tables(lab: Lab, training: Training) -> None:
    rows = []
    for k, epoch in enumerate(training.epochs):
        he, stuck, shaken = (training.costs[group][:, k] for group in ("He", "large, stuck", "large, shaken"))
        zero = f"{training.costs['zeros'][:, k].max():.8f}"
        row = [str(epoch), f"{COSTS['zeros'][k]:.8f}", zero, f"{COSTS['He'][k]:.4f}", spread(he, ".3f")]
        rows.append([*row, f"{COSTS['large'][k]:.4f}", spread(stuck, ".2f"), spread(shaken, ".2f")])
    heading = ["epoch", "zeros: source", "ours", "He: source", "ours", "large: source", "stuck", "shaken"]
    lab.table("costs", heading, rows)
    rows = []
    for group, (scheme, _) in GROUPS.items():
        source = " / ".join(f"{value:.1f}" for value in SOFT[scheme])
        accuracies = (spread(values[group], ".1f") for values in (training.train, training.test, training.usual))
        rows.append([group, source, *accuracies, spread(training.costs[group][:, -1], ".3f")])
    heading = ["", "source, train / test", "soft, train", "soft, test", "hard, train", "last cost"]
    lab.table("accuracies", heading, rows)
    lab.quote(
        source_he=f"{SOFT['He'][0]:.1f}",
        source_large=f"{SOFT['large'][0]:.1f}",
        source_cost=f"{COSTS['large'][-1]:.4f}",
        cap=f"{-(1 - SOFT['large'][0] / 100) * np.log(EPSILON):.2f}",
        he_soft=spread(training.train["He"], ".1f"),
        he_hard=spread(training.usual["He"], ".1f"),
        stuck_soft=spread(training.train["large, stuck"], ".0f"),
        stuck_cost=spread(training.costs["large, stuck"][:, -1], ".2f"),
        shaken_cost=spread(training.costs["large, shaken"][:, -1], ".2f"),
        shaken_hard=spread(training.usual["large, shaken"], ".1f"),
    )


def _claims(lab: Lab, training: Training) -> None:
    zero = training.costs["zeros"]
    lab.claim(
        "zeros: every cost of every seed equals the source's, to 1e-12, and no weight of the first two layers moves",
        f"{zero.min():.13f} to {zero.max():.13f}; moved {training.moved['zeros']:g}",
        np.abs(zero - COSTS["zeros"][0]).max() < 1e-12 and training.moved["zeros"] == 0,
    )
    half = np.concatenate([training.train["zeros"], training.usual["zeros"]])
    lab.claim("zeros: 50%, soft and hard", f"{half.min():.6f} to {half.max():.6f}", np.abs(half - 50).max() < 1e-6)
    off = np.abs(np.log(np.median(training.costs["He"], axis=0) / COSTS["He"])).max()
    lab.claim(
        "He: at every thousandth epoch the median cost and the source's differ at most by a factor of 1.5",
        f"at most {np.exp(off):.2f} times",
        off < np.log(1.5),
    )
    if not lab.quick:
        places = (training.costs["He"] < COSTS["He"]).mean(axis=0)
        lab.claim(
            "He: at every thousandth epoch the source's cost lies between the quantiles 0.05 and 0.95",
            f"{places.min():.2f} to {places.max():.2f}",
            places.min() >= 0.05 and places.max() <= 0.95,
        )
    median = np.median(training.train["He"]), np.median(training.test["He"])
    lab.claim(
        "He: the soft accuracies are the source's within 1.5 points in the median, and no seed is below 80%",
        f"{median[0]:.1f} / {median[1]:.1f}, least {training.train['He'].min():.1f}",
        np.abs(np.subtract(median, SOFT["He"])).max() < 1.5 and training.train["He"].min() > 80,
    )
    apart = np.abs(training.costs["He"] - training.costs["He, p - y"]).max()
    lab.claim("He: the two gradients give the same costs, within 0.02", f"{apart:.4f}", apart < 0.02)
    stuck, shaken = training.costs["large, stuck"], training.costs["large, shaken"]
    lab.quote(stuck_count=int((stuck[:, -1] > 1).sum()), escaped=int((stuck[:, -1] <= 1).sum()))
    lab.claim(
        "large: with the gradient of the clipped cost some seeds end stuck, above a cost of 1; with p - y none does",
        f"{(stuck[:, -1] > 1).sum()} and {(shaken[:, -1] > 1).sum()} of {len(stuck)}",
        (stuck[:, -1] > 1).any() and not (shaken[:, -1] > 1).any(),
    )
    lab.claim(
        "large: the source's last cost lies among the last costs of stuck networks, and above those of all shaken "
        "networks",
        f"{COSTS['large'][-1]} among {spread(stuck[:, -1], '.2f')}, above {spread(shaken[:, -1], '.2f')}",
        stuck[:, -1].min() < COSTS["large"][-1] < stuck[:, -1].max() and shaken[:, -1].max() < COSTS["large"][-1],
    )
    worse = (shaken[:, -1] > training.costs["He, p - y"][:, -1]).mean()
    lab.claim(
        "large, with p - y: in the median, the last cost is less than a tenth of the first, and still worse than He's",
        f"{spread(shaken[:, -1], '.2f')} of {spread(shaken[:, 0], '.2f')}; worse than He under {worse:.0%}",
        np.median(shaken[:, -1] / shaken[:, 0]) < 0.1 and worse > 0.5,
    )


def _picture(training: Training, points: Moons) -> Figure:
    figure = new_figure("make_moons: a 2-12-6-1 network under three initializations", 11, 6.6)
    grid = figure.subplots(2, 3)
    above, below = grid[:, 0]
    for group in ("zeros", "He"):
        band(above, training.epochs, training.costs[group], group)
    for group, colour, line in (("large, stuck", "#D55E00", "-"), ("large, shaken", "#0072B2", "--")):
        lines = below.plot(training.epochs, training.costs[group].T, color=colour, linestyle=line, linewidth=0.8)
        lines[0].set_label(f"{group}: each seed")
    for axes, schemes in ((above, ("zeros", "He")), (below, ("large",))):
        for scheme in schemes:
            label = "the source's" if scheme != "zeros" else None
            axes.plot(
                training.epochs, COSTS[scheme], color="black", marker="*", linestyle=":", linewidth=1, label=label
            )
        axes.set(xlabel="epoch", ylabel="cost (nats)", ylim=(0, None), xticks=range(0, EPOCHS + 1, 5000))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    above.set_title("median seed, and the middle 80%")
    x, y = points.x[0].T, points.y[0, 0]
    at = plane(x)[2].T[None]
    for axes, group in zip(grid[:, 1:].flat, ("zeros", "He", "large, stuck", "large, shaken"), strict=True):
        stack = training.first[group]
        accuracy = hard(stack.forward(x.T[None])[-1], y[None, None])[0]
        regions(axes, stack.forward(at)[-1][0, 0], x, y, f"{group}: {accuracy:.1f}% right")
    return figure
