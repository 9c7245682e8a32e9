"""Weights of well-known models, as Keras and JAX store them, and the scheme of each model."""

from typing import NamedTuple

Shape = tuple[int, ...]


class Model(NamedTuple):
    scheme: str
    shapes: list[Shape]


def _resnet50() -> list[Shape]:
    shapes: list[Shape] = [(7, 7, 3, 64)]
    width = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner = 64 * 2**stage
        for block in range(blocks):
            shapes += [(1, 1, width, inner), (3, 3, inner, inner), (1, 1, inner, 4 * inner)]
            if block == 0:
                shapes.append((1, 1, width, 4 * inner))
            width = 4 * inner
    return [*shapes, (2048, 1000)]


def _transformer(layers: int, width: int) -> list[Shape]:
    return [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)] * layers


MODELS = {
    "ResNet-50": Model("kaiming_normal", _resnet50()),
    "ViT-B/16": Model("trunc_normal .02", [(16, 16, 3, 768), (197, 768), *_transformer(12, 768), (768, 1000)]),
    "GPT-2 124M": Model("normal .02", [(50257, 768), (1024, 768), *_transformer(12, 768)]),
}


def stored_for_torch(shape: Shape) -> Shape:
    """Return a shape HWIO as OIHW, or IO as OI."""
    return (*shape[:-3:-1], *shape[:-2])
