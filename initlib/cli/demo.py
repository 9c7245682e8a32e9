"""A demo: one small network, real handwritten digits, four initializations. Needs `pip install "initlib[demo]"`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from ..files.atomic_write import atomic_write
from ..key import Key
from ..schemes._constant import zeros
from ..schemes._normal import normal
from ..schemes._variance import glorot_uniform, he_normal
from ..schemes.initializer import Initializer

LAYERS = {"hidden1": (64, 128), "hidden2": (128, 64), "output": (64, 10)}
INITIALIZERS: dict[str, Initializer] = {
    "zeros": zeros,
    "normal, std 10": normal(std=10.0),
    "glorot_uniform": glorot_uniform,
    "he_normal": he_normal,
}
# Colours of Okabe and Ito, which colour-blind readers distinguish; markers for a print without colours.
STYLES = (("#555555", "s"), ("#D55E00", "X"), ("#0072B2", "o"), ("#009E73", "^"))
TRAIN = 1437  # of 1797 digits; the rest tests
BATCH = 32
RATE = 0.05
EPOCHS = 60
LEARNT = 0.8  # the accuracy from which a network counts as trained
TOP = 10.0  # nats: where the picture of the loss ends

Array = NDArray[np.float64]


@dataclass
class Result:
    """Measurements of one initialization."""

    initializer: str
    activation_std: list[float]  # per layer, at the start
    gradient_std: list[float]
    loss: list[float] = field(default_factory=list)  # per epoch, over the training digits; until it diverges
    accuracy: float = 0.0  # on the test digits


def run(out: Path | None = None, seed: int = 0, epochs: int = EPOCHS) -> list[Result]:
    """Train the network under each initialization, print a table and a conclusion, and write a picture to `out`."""
    if out is not None:
        _check(out)
    key = Key(seed)
    console = Console()
    (x, y), (test_x, test_y) = _digits(key)
    console.print(
        f"{len(y)} digits of 8x8 pixels to train on, {len(test_y)} to test; a network "
        f"64-128-64-10 with relu; {epochs} epochs of SGD, learning rate {RATE}, batches of {BATCH}; seed {seed}"
    )
    results = []
    with Progress(console=console, transient=True) as progress, np.errstate(over="ignore", invalid="ignore"):
        for name, initializer in INITIALIZERS.items():
            task = progress.add_task(name, total=epochs)
            network = Network(initializer, key)
            result = Result(name, *network.signal(x, y))
            shuffle = np.random.default_rng(key.fold_in("shuffle").seed)
            for _ in range(epochs):
                loss = network.train(x, y, shuffle)
                if not np.isfinite(loss):
                    break
                result.loss.append(loss)
                progress.advance(task)
            result.accuracy = float((network.forward(test_x)[-1].argmax(axis=1) == test_y).mean())
            results.append(result)
    console.print(_table(results, epochs))
    for sentence in conclusion(results, key):
        console.print(sentence, highlight=False)
    if out is not None:
        with atomic_write(out) as file:
            _picture(results).savefig(file, dpi=150, format=out.suffix.removeprefix("."))
        console.print(f"wrote {out}", soft_wrap=True, highlight=False)
    else:
        console.print("For a picture of the training: initlib demo --out demo.png", highlight=False)
    return results


def conclusion(results: list[Result], key: Key) -> list[str]:
    """Return the conclusion from the table, in words."""
    best = max(results, key=lambda result: result.accuracy)
    sentences = []
    for result in results:
        first, last = result.activation_std[0], result.activation_std[-1]
        if not any(result.gradient_std):
            reason = "no gradient reaches the weights, so the network never learns"
        elif last > 100 * first:
            reason = f"the signal grows {last / first:.0f} times from layer to output, so the network learns badly"
        elif result.accuracy > LEARNT:
            reason = "the signal keeps its size through the layers, so the network learns"
        else:
            reason = "the signal keeps its size through the layers, but this training is too short or diverges"
        sentences.append(f"{result.initializer}: {reason} ({result.accuracy:.1%} correct).")
    name, shape = next(iter(LAYERS.items()))
    weight = he_normal(shape, seed=key, name=name)
    sentences += [
        f"Best here: {best.initializer}.",
        f"Each layer draws from the stream of its own name: the first weight of {name!r} under he_normal and seed "
        f"{key.seed} is {weight.flat[0]:.9g}, in NumPy, PyTorch, Keras and JAX alike.",
    ]
    return sentences


class Network:
    """Two hidden relu layers and a softmax, trained by stochastic gradient descent on the cross-entropy."""

    def __init__(self, initializer: Initializer, key: Key) -> None:
        # The name of a layer gives it a stream of its own, in whatever order the layers are made.
        self.weights = [initializer(shape, seed=key, name=name).astype(np.float64) for name, shape in LAYERS.items()]
        self.biases = [np.zeros(weight.shape[1]) for weight in self.weights]

    def forward(self, x: Array) -> list[Array]:
        """Return the input, the activations of the hidden layers, and the logits."""
        activations = [x]
        for weight, bias in zip(self.weights, self.biases, strict=True):
            z = activations[-1] @ weight + bias
            activations.append(z if weight is self.weights[-1] else np.maximum(z, 0))
        return activations

    def backward(self, activations: list[Array], y: NDArray[Any]) -> tuple[float, list[Array], list[Array]]:
        """Return the mean loss, and its gradients by the weights and by the biases."""
        rows = np.arange(len(y))
        z = activations[-1] - activations[-1].max(axis=1, keepdims=True)
        total = np.exp(z).sum(axis=1, keepdims=True)
        loss = float((np.log(total[:, 0]) - z[rows, y]).mean())
        delta = np.exp(z) / total
        delta[rows, y] -= 1
        delta /= len(y)
        weights, biases = [], []
        for k in reversed(range(len(self.weights))):
            weights.append(activations[k].T @ delta)
            biases.append(delta.sum(axis=0))
            delta = (delta @ self.weights[k].T) * (activations[k] > 0)
        return loss, weights[::-1], biases[::-1]

    def signal(self, x: Array, y: NDArray[Any]) -> tuple[list[float], list[float]]:
        """Return the standard deviations of each layer's activations and of its weights' gradients."""
        activations = self.forward(x)
        _, gradients, _ = self.backward(activations, y)
        return [float(a.std()) for a in activations[1:]], [float(g.std()) for g in gradients]

    def train(self, x: Array, y: NDArray[Any], shuffle: np.random.Generator) -> float:
        """Train for one epoch; return its mean loss."""
        order = shuffle.permutation(len(y))
        total = 0.0
        for start in range(0, len(y), BATCH):
            batch = order[start : start + BATCH]
            loss, *gradients = self.backward(self.forward(x[batch]), y[batch])
            total += loss * len(batch)
            for values, steps in zip((self.weights, self.biases), gradients, strict=True):
                for value, step in zip(values, steps, strict=True):
                    value -= RATE * step
        return total / len(y)


def _digits(key: Key) -> tuple[tuple[Array, NDArray[Any]], tuple[Array, NDArray[Any]]]:
    """Return the training and the test digits, shuffled; pixels from 0 to 1."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(key.fold_in("digits").seed).permutation(len(y))
    x, y = x[order] / 16, y[order]
    return (x[:TRAIN], y[:TRAIN]), (x[TRAIN:], y[TRAIN:])


def _check(out: Path) -> None:
    """Raise, before the training, the errors that saving the picture would raise after it."""
    allowed = FigureCanvasAgg.get_supported_filetypes()
    if out.suffix.removeprefix(".") not in allowed:
        raise ValueError(f"out must end in one of .{', .'.join(allowed)}, got {str(out)!r}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"out {str(out)!r} must be in a directory that exists")


def _table(results: list[Result], epochs: int) -> Table:
    table = Table(show_lines=True)
    table.add_column("initializer")
    table.add_column("layer")
    for heading in ("activation std\nat the start", "gradient std\nat the start", "loss", "test\naccuracy"):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(
            result.initializer,
            "\n".join(LAYERS),
            "\n".join(f"{std:.2g}" for std in result.activation_std),
            "\n".join(f"{std:.2g}" for std in result.gradient_std),
            f"{result.loss[-1]:.4g}" if len(result.loss) == epochs else "diverged",
            f"{result.accuracy:.1%}",
        )
    return table


def _picture(results: list[Result]) -> Figure:
    figure = Figure(figsize=(11, 4), layout="constrained")
    figure.suptitle("Handwritten digits: one network, four initializations")
    losses, activations, gradients = figure.subplots(1, 3)
    for number, (result, (colour, marker)) in enumerate(zip(results, STYLES, strict=True)):
        style: dict[str, Any] = {"color": colour, "marker": marker, "label": result.initializer}
        every = max(1, len(result.loss) // 8)
        marks = (every * number // len(results), every)  # where curves coincide, their markers do not
        loss = [min(loss, 100 * TOP) for loss in result.loss]
        losses.plot(range(1, len(loss) + 1), loss, markevery=marks, **style)
        for axes, stds in ((activations, result.activation_std), (gradients, result.gradient_std)):
            axes.plot(list(LAYERS), stds, **style)
    losses.set(xlabel="epoch", ylabel="training loss (nats)", yscale="log", title="Loss")
    every_loss = [loss for result in results for loss in result.loss]
    if max(every_loss) > TOP:
        losses.set_ylim(min(1.0, *every_loss) / 2, TOP)
        losses.annotate(
            "off the scale at first: std 10", (0.97, 0.96), xycoords="axes fraction", ha="right", va="top", fontsize=9
        )
    activations.set(xlabel="layer", ylabel="std of the activations", title="Forward signal at the start")
    gradients.set(xlabel="layer", ylabel="std of the weights' gradients", title="Backward signal at the start")
    for axes, name in ((activations, "activation_std"), (gradients, "gradient_std")):
        least = min(std for result in results for std in getattr(result, name) if std > 0)
        axes.set_yscale("symlog", linthresh=10.0 ** np.floor(np.log10(least)))  # zeros belong in the picture
        axes.margins(x=0.15)
    for axes in (losses, activations, gradients):
        axes.grid(alpha=0.3)
    figure.legend(*losses.get_legend_handles_labels(), loc="outside lower center", ncols=len(results))
    return figure
