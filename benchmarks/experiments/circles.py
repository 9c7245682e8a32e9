"""Two circles with twenty seeds: Glorot can be late, and a narrow relu layer can die."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import make_circles

from initlib import Initializer, glorot_uniform, he_uniform, normal, zeros

from .lab import Lab, spread
from .pictures import band, new_figure, plane, regions
from .stack import Stack, draw

SIZES = (2, 5, 10, 2, 1)
BATCH = 32
RATE = 0.01
EPOCHS = 100
LEARNS = 90.0  # percent of the training points: a success
# The initializer of the first layer, of the others, and whether the activation is relu.
SCHEMES: dict[str, tuple[Initializer, Initializer, bool]] = {
    "zeros": (zeros, zeros, False),
    "small": (normal(std=0.01), normal(std=0.01), False),
    "large": (normal(std=1000.0), glorot_uniform, False),
    "Glorot": (glorot_uniform, glorot_uniform, False),
    "He": (he_uniform, he_uniform, True),
}


def build(schemes: Sequence[str], seeds: Sequence[int]) -> Stack:
    """Return the networks of some schemes of one activation, one for each seed of each scheme."""
    shapes = list(zip(SIZES[1:], SIZES[:-1], strict=True))
    layers = [
        np.concatenate([draw(SCHEMES[scheme][k > 0], shape, seeds, f"dense{k}", "float32") for scheme in schemes])
        for k, shape in enumerate(shapes)
    ]
    return Stack(layers, relu=SCHEMES[schemes[0]][2])


def gradient(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the gradient of the mean squared error by z of the output."""
    return np.float32(2 / p.shape[-1]) * (p - y) * p * (1 - p)


@dataclass
class Training:
    """Training of one scheme: rows are seeds, columns are epochs, the first before training."""

    loss: np.ndarray
    accuracy: np.ndarray  # percent, of the training points
    dead: np.ndarray  # whether the units of the narrow layer are all 0, at the start and at the end: (seeds, 2)
    stack: Stack


def train(
    schemes: Sequence[str], seeds: Sequence[int], x: np.ndarray, y: np.ndarray, advance: Callable[..., None]
) -> dict[str, Training]:
    """Train by SGD, each seed with its own order of the data; x is (2, points), y (points,)."""
    stack = build(schemes, seeds)
    orders = [np.random.default_rng(seed) for _ in schemes for seed in seeds]
    losses, accuracies, dead = [], [], [_dead(stack, x)]
    for epoch in range(EPOCHS + 1):
        p = stack.forward(x[None])[-1][:, 0]
        losses.append(((p - y) ** 2).mean(axis=1, dtype=np.float64))
        accuracies.append(100 * ((p > 0.5) == y).mean(axis=1))
        if epoch == EPOCHS:
            break
        order = np.stack([random.permutation(y.size) for random in orders])
        shuffled, labels = np.ascontiguousarray(x[:, order].transpose(1, 0, 2)), y[order][:, None]
        for start in range(0, y.size, BATCH):
            batch = labels[..., start : start + BATCH]
            stack.step(shuffled[..., start : start + BATCH], lambda p, batch=batch: gradient(p, batch), RATE)
        advance(len(schemes))
    dead.append(_dead(stack, x))
    trainings = {}
    for k, scheme in enumerate(schemes):
        rows = slice(k * len(seeds), (k + 1) * len(seeds))
        trainings[scheme] = Training(
            np.array(losses).T[rows], np.array(accuracies).T[rows], np.array(dead).T[rows], stack.part(rows)
        )
    return trainings


def _dead(stack: Stack, x: np.ndarray) -> np.ndarray:
    """Return whether each unit of the narrow layer is 0 for more than 99 points in a hundred."""
    return ((stack.forward(x[None])[3] > 0).mean(axis=2) < 0.01).all(axis=1)


def run(lab: Lab) -> None:
    """Train under every scheme and seed; compare some steps with Keras's."""
    seeds = range(10 if lab.quick else 20)
    points, labels = make_circles(10000, noise=0.05, random_state=0)
    test_points, test_labels = make_circles(100, noise=0.05, random_state=1)
    x, y = points.T.astype(np.float32), labels.astype(np.float32)
    with lab.progress(EPOCHS * len(SCHEMES)) as advance:
        tanh = [scheme for scheme in SCHEMES if not SCHEMES[scheme][2]]
        trainings = train(tanh, seeds, x, y, advance) | train(["He"], seeds, x, y, advance)
    lab.quote(points=y.size, epochs=EPOCHS, seeds=len(seeds), batch=BATCH, rate=RATE, learns=f"{LEARNS:.0f}")
    test_x = test_points.T.astype(np.float32)[None]
    _table(lab, trainings, test_x, test_labels)
    _claims(lab, trainings, len(seeds))
    _keras(lab, x, y)
    lab.picture(_picture(trainings, test_x[0].T, test_labels))


def _table(lab: Lab, trainings: dict[str, Training], test_x: np.ndarray, test_y: np.ndarray) -> None:
    rows = []
    for scheme, result in trainings.items():
        test = 100 * ((result.stack.forward(test_x)[-1][:, 0] > 0.5) == test_y).mean(axis=1)
        final = result.accuracy[:, -1]
        spreads = spread(final, ".1f"), spread(test, ".0f"), spread(result.loss[:, -1], ".4f")
        activation = "relu" if SCHEMES[scheme][2] else "tanh"
        rows.append([f"{scheme}, {activation}", f"{(final >= LEARNS).sum()} of {len(final)}", *spreads])
    lab.table("outcomes", ["", f"seeds that reach {LEARNS:.0f}%", "train %", "test %", "loss"], rows)
    glorot, he = trainings["Glorot"], trainings["He"]
    start = [int(np.argmax(row >= LEARNS)) for row in glorot.accuracy if row[-1] >= LEARNS]
    lab.quote(
        glorot_learn=int((glorot.accuracy[:, -1] >= LEARNS).sum()),
        glorot_late=int((glorot.accuracy[:, -1] < LEARNS).sum()),
        he_learn=int((he.accuracy[:, -1] >= LEARNS).sum()),
        he_dead=int(he.dead[:, 1].sum()),
        he_dead_at_start=int(he.dead[:, 0].sum()),
        he_slow=int(((he.accuracy[:, -1] < LEARNS) & ~he.dead[:, 1]).sum()),
        glorot_start=spread(start, ".0f"),
    )


def _claims(lab: Lab, trainings: dict[str, Training], count: int) -> None:
    for scheme in ("zeros", "small"):
        loss = trainings[scheme].loss
        lab.claim(
            f"{scheme}: every seed at a loss of 1/4 within 0.001, all the way",
            f"{loss.min():.5f} to {loss.max():.5f}",
            np.abs(loss - 0.25).max() < 1e-3,
        )
    large = trainings["large"]
    lab.claim(
        "large: no seed passes 55% of the training points, where the median of Glorot is above 95%",
        f"{spread(large.accuracy[:, -1], '.1f')}; {spread(trainings['Glorot'].accuracy[:, -1], '.1f')}",
        large.accuracy[:, -1].max() < 55 and np.median(trainings["Glorot"].accuracy[:, -1]) > 95,
    )
    glorot, he = trainings["Glorot"], trainings["He"]
    learn = glorot.accuracy[:, -1] >= LEARNS
    lab.claim(
        "Glorot with tanh: at least 15 of 20 seeds learn; those that have not are on their way, below a loss of 1/4",
        f"{learn.sum()} of {count} learn; greatest loss {glorot.loss[:, -1].max():.4f}",
        learn.mean() >= 0.75 and glorot.loss[:, -1].max() < 0.2499,
    )
    learn, dead = he.accuracy[:, -1] >= LEARNS, he.dead[:, 1]
    lab.claim(
        "He with relu: at least 12 of 20 seeds learn, and at least one stays at a loss of 1/4: exactly the seeds whose "
        "two narrow units have died, with output 0 for 99% of the points",
        f"{learn.sum()} of {count} learn, {dead.sum()} dead, {he.dead[:, 0].sum()} of them from the start",
        learn.mean() >= 0.6 and dead.any() and np.array_equal(dead, np.abs(he.loss[:, -1] - 0.25) < 1e-3),
    )


def _keras(lab: Lab, x: np.ndarray, y: np.ndarray) -> None:
    """Compare ten steps in Keras with the same ten here, from equal weights and batches."""
    import keras

    from initlib.adapters.keras import HeUniform

    layers = [
        keras.layers.Dense(
            units, "relu" if k < 3 else "sigmoid", kernel_initializer=HeUniform(seed=0, name=f"dense{k}")
        )
        for k, units in enumerate(SIZES[1:])
    ]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.compile(keras.optimizers.SGD(RATE), "mse")
    stack, some = build(["He"], [0]), slice(0, 10 * BATCH)
    model.fit(x[:, some].T, y[some], BATCH, shuffle=False, verbose=0)
    for start in range(0, 10 * BATCH, BATCH):
        batch = slice(start, start + BATCH)
        stack.step(x[None, :, batch], lambda p, batch=batch: gradient(p, y[batch]), RATE)
    kernels = [np.asarray(layer.kernel) for layer in layers]
    apart = max(
        float(np.abs(weights[0].T - kernel).max()) for weights, kernel in zip(stack.weights, kernels, strict=True)
    )
    start_ = [weight[0].T for weight in build(["He"], [0]).weights]
    moved = min(float(np.abs(kernel - old).max()) for kernel, old in zip(kernels, start_, strict=True))
    lab.claim(
        "ten steps of Keras's SGD from the same seed lead to the same weights, to 1e-6",
        f"{apart:.1e} apart, every layer has moved by {moved:.1e} at least",
        apart < 1e-6 < moved,
    )


def _picture(trainings: dict[str, Training], x: np.ndarray, y: np.ndarray) -> Figure:
    figure = new_figure("make_circles: a 5-10-2-1 network under five initializations", 11, 6.6)
    grid = figure.subplots(2, 3)
    above, below = grid[:, 0]
    for scheme in ("zeros", "small", "large", "Glorot"):
        band(above, range(EPOCHS + 1), trainings[scheme].accuracy, scheme)
    above.set_title("tanh: median seed, middle 80%")
    he = trainings["He"]
    late = (he.accuracy[:, -1] < LEARNS) & ~he.dead[:, 1]
    fates = ((he.accuracy[:, -1] >= LEARNS, "learns", "#009E73", "-"), (late, "late", "#D55E00", "--"))
    for which, what, colour, line in (*fates, (he.dead[:, 1], "dead", "black", ":")):
        for number, row in enumerate(he.accuracy[which]):
            label = f"{what}: {which.sum()} of {which.size}" if number == 0 else None
            below.plot(row, color=colour, linestyle=line, linewidth=2.5 if what == "dead" else 0.9, label=label)
    below.set_title("He, relu: each seed")
    for axes in (above, below):
        axes.set(xlabel="epoch", ylabel="training accuracy (%)", ylim=(40, 101))
        axes.grid(alpha=0.3)
    above.legend(loc="upper left", fontsize=8)
    below.legend(loc="lower right", bbox_to_anchor=(1, 0.12), fontsize=8)
    at = plane(x)[2].T.astype(np.float32)[None]
    glorot = trainings["Glorot"]
    chosen = [
        ("Glorot", _median(glorot), "a usual seed"),
        ("Glorot", int(np.argmin(glorot.accuracy[:, -1])), "the latest seed"),
        ("He", _median(he), "a usual seed"),
        ("He", int(np.argmax(he.loss[:, -1])), "a dead seed"),
    ]
    for axes, (scheme, seed, what) in zip(grid[:, 1:].flat, chosen, strict=True):
        probability = trainings[scheme].stack.forward(at)[-1][seed, 0]
        right = 100 * ((trainings[scheme].stack.forward(x.T[None])[-1][seed, 0] > 0.5) == y).mean()
        regions(axes, probability, x, y, f"{scheme}, {what}: {right:.0f}% right")
    return figure


def _median(result: Training) -> int:
    return int(np.argsort(result.accuracy[:, -1])[len(result.accuracy) // 2])
