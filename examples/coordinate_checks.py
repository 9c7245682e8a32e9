"""Coordinate checks of three networks: a perceptron, a residual network and a transformer.

    python examples/coordinate_checks.py 64 128 256 512 1024

Each line has the steepest slope of an activation's size over the width, after 1 to 4 steps: in muP, and in the standard
parametrization with one learning rate for all widths. In muP all slopes are about 0. The layers are those of the
examples of Microsoft's package mup.
"""

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import initlib.adapters.torch as init
from initlib import Initializer, mup_learning_rates, normal, recipes, variance_scaling, zeros
from initlib.diagnostics.coordinates import CoordinateCheck

BASE = 64  # the width to which the learning rates belong
CLASSES, WORDS, HEADS = 10, 32, 4
GENERATOR = torch.Generator().manual_seed(1)
TOKENS = torch.randint(WORDS, (4, 17), generator=GENERATOR)
LABELS = torch.randint(CLASSES, (16,), generator=GENERATOR)
IMAGES = torch.randn(16, 3, 8, 8, generator=GENERATOR)
Head = type[nn.Linear]


class Network(nn.Module):
    """A body and its head."""

    def __init__(self, head: nn.Linear, *body: nn.Module) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(*body), head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def perceptron(width: int, head: Head = nn.Linear) -> Network:
    """Make a network of two hidden layers."""
    layers = nn.Linear(IMAGES[0].numel(), width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
    return Network(head(width, CLASSES), nn.Flatten(), *layers)


class Block(nn.Module):
    """A block of a residual network, with two convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(*shortcut if inputs != outputs else ())

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def convolutional(width: int, head: Head = nn.Linear) -> Network:
    """Make a residual network of two blocks."""
    stem = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    blocks = Block(width, width, 1), Block(width, 2 * width, 2)
    return Network(head(2 * width, CLASSES), *stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Embedding(nn.Module):
    """A table of tokens, plus sinusoidal positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, width)

    def forward(self, tokens: Tensor) -> Tensor:
        frequencies = 10_000 ** -torch.linspace(0, 1, self.table.embedding_dim)
        return self.table(tokens) + (torch.arange(tokens.shape[1])[:, None] * frequencies).sin()


class Layer(nn.Module):
    """A layer of a transformer, with a norm after each sum."""

    def __init__(self, width: int, power: float) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, width), nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.scale = (width // HEADS) ** power

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        attention = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale)
        x = self.norm1(x + self.out(attention.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.down(F.relu(self.up(x))))


def transformer(width: int, head: Head = nn.Linear, power: float = -1) -> Network:
    """Make a decoder of two layers. muP divides attention logits by the width of a head, not by its square root."""
    return Network(head(width, WORDS), Embedding(width), Layer(width, power), Layer(width, power))


def image_loss(logits: Tensor) -> Tensor:
    """Return the loss of the classes of the images."""
    return F.cross_entropy(logits, LABELS)


def token_loss(logits: Tensor) -> Tensor:
    """Return the loss of the next tokens."""
    return F.cross_entropy(logits.flatten(0, 1), TOKENS[:, 1:].flatten())


class Case(NamedTuple):
    """A network, its widths, its options in the standard parametrization, and its data."""

    network: Callable[..., Network]
    widths: tuple[int, ...]
    options: dict[str, float]
    batch: Tensor
    loss: Callable[[Tensor], Tensor]


RATES = {"sgd": 0.1, "adam": 0.001}
CASES = {
    "perceptron": Case(perceptron, (64, 128, 256), {}, IMAGES, image_loss),
    "convolutional": Case(convolutional, (32, 64, 128), {}, IMAGES, image_loss),
    "transformer": Case(transformer, (64, 128, 256), {"power": -0.5}, TOKENS[:, :-1], token_loss),
}
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
DEFAULT = variance_scaling(1, "fan_in", "normal")


def standard(network: Network) -> dict[str, Initializer]:
    """Return the rules of the standard parametrization, beside the default."""
    tables = {"*.table.weight": normal()} if isinstance(network.body[0], Embedding) else {}
    return {"head.weight": zeros, **tables}


def check(
    name: str, optimizer: str, *, mup: bool, widths: Sequence[int] | None = None, seeds: int = 4
) -> CoordinateCheck:
    """Return the coordinate check of a network, in muP or in the standard parametrization."""
    case, rate = CASES[name], RATES[optimizer]
    with init.skeleton():
        small = case.network(BASE)
    base = init.plan(small, standard(small), default=DEFAULT)

    def make_model(width: int, seed: int) -> Network:
        model = case.network(width) if mup else case.network(width, **case.options)
        init.initialize(model, recipes.mup(base) if mup else standard(model), seed=seed, default=DEFAULT)
        return model

    def make_optimizer(model: Network, width: int) -> torch.optim.Optimizer:
        if not mup:
            return OPTIMIZERS[optimizer](model.parameters(), rate)
        multipliers = mup_learning_rates(init.plan(model, recipes.mup(base)), base, optimizer)
        return OPTIMIZERS[optimizer](init.parameter_groups(model, multipliers, lr=rate))

    return init.coordinate_check(
        make_model, widths or case.widths, case.batch, case.loss, optimizer=make_optimizer, steps=4, seeds=seeds
    )


def steepest(check: CoordinateCheck) -> float:
    """Return the steepest slope after the first step."""
    return max((row.slope for row in check.rows if row.step > 0 and row.slope is not None), key=abs)


if __name__ == "__main__":
    given = [int(width) for width in sys.argv[1:]]
    for name, case in CASES.items():
        for optimizer in RATES:
            slopes = [steepest(check(name, optimizer, mup=mup, widths=given)) for mup in (True, False)]
            widths = ", ".join(map(str, given or case.widths))
            print(f"| {name} | {widths} | {optimizer} | {slopes[0]:+.2f} | {slopes[1]:+.2f} |", flush=True)
