"""`python -m benchmarks.experiments.slider`: the runs behind the page with a slider, docs/extra/std.html."""

import base64
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import make_moons

from initlib import variance_scaling

from .moons import gradient
from .stack import Stack

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "extra" / "std.html"
SIZES = (2, *[32] * 10, 1)
MULTIPLES = 10.0 ** np.linspace(-1, 1, 41)  # of He's std: the positions of the slider
EPOCHS, EVERY, RATE, SEED = 1000, 25, 0.05, 0
GRID = 48  # of the picture of the plane


def networks(relu: bool) -> Stack:
    """Return one network for each position: the same draws, times its multiple."""
    layers = []
    for k, (inputs, outputs) in enumerate(itertools.pairwise(SIZES)):
        he = variance_scaling(2.0, "fan_in", "normal")
        weight = he((outputs, inputs), axes="OI", seed=SEED, name=f"dense{k}")
        layers.append((MULTIPLES[:, None, None] * weight).astype(np.float32))
    return Stack(layers, relu)


def sizes(stack: Stack, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the root mean square of hidden activations and of their gradients: (networks, layers)."""
    activations = stack.forward(x)
    delta = gradient(activations[-1], y, False) * y.shape[-1]
    gradients = []
    for k in reversed(range(1, len(stack.weights))):
        delta = stack.weights[k].swapaxes(1, 2) @ delta
        gradients.append(np.sqrt(np.square(delta, dtype=np.float64).mean(axis=(1, 2))))
        delta = delta * stack._slope(activations[k])
    values = [np.sqrt(np.square(a, dtype=np.float64).mean(axis=(1, 2))) for a in activations[1:-1]]
    return np.array(values).T, np.array(gradients[::-1]).T


def measured(relu: bool, x: np.ndarray, y: np.ndarray) -> list[dict[str, Any]]:
    """Measure each network at the start, during the training and at the end."""
    stack = networks(relu)
    forward, backward = sizes(stack, x, y)
    losses = []
    for epoch in range(EPOCHS + 1):
        if epoch % EVERY == 0:
            p = stack.forward(x)[-1]
            right = np.clip(np.where(y, p, 1 - p), 1e-7, 1)
            losses.append(-np.log(right).mean(axis=(1, 2)))
        stack.step(x, lambda p: gradient(p, y, False).astype(np.float32), RATE)
    side = np.linspace(-2, 3, GRID), np.linspace(-1.5, 2, GRID)
    across, up = np.meshgrid(*side)
    plane = np.stack([across.ravel(), up.ravel()])[None].astype(np.float32)
    p, at = stack.forward(x)[-1], stack.forward(plane)[-1][:, 0]
    lost = ~np.isfinite(p).all(axis=(1, 2))
    accuracy = np.where(lost, 50, 100 * ((p > 0.5) == y).mean(axis=(1, 2)))
    return [
        {
            "activations": rounded(forward[k]),
            "gradients": rounded(backward[k]),
            "loss": rounded(np.array(losses)[:, k]),
            "accuracy": round(float(accuracy[k]), 1),
            "lost": bool(lost[k]),
            "plane": base64.b64encode(np.packbits(at[k] > 0.5).tobytes()).decode(),
        }
        for k in range(MULTIPLES.size)
    ]


def rounded(values: np.ndarray) -> list[float | None]:
    """Return a number with three digits, or None if it is not finite."""
    return [float(f"{value:.3g}") if np.isfinite(value) else None for value in values]


def data() -> dict[str, Any]:
    points, labels = make_moons(200, noise=0.15, random_state=0)
    x, y = points.T[None].astype(np.float32), labels[None, None].astype(bool)
    with np.errstate(all="ignore"):
        runs = {name: measured(name == "relu", x, y) for name in ("relu", "tanh")}
    return {
        "multiples": rounded(MULTIPLES),
        "he": float(np.sqrt(2 / SIZES[1])),
        "layers": len(SIZES) - 2,
        "width": SIZES[1],
        "epochs": EPOCHS,
        "every": EVERY,
        "grid": GRID,
        "points": [[round(float(a), 2), round(float(b), 2), int(c)] for (a, b), c in zip(points, labels, strict=True)],
        "runs": runs,
    }


def main() -> None:
    page = (HERE / "pages" / "slider.html").read_text(encoding="utf-8")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page.replace("{{ data }}", json.dumps(data(), separators=(",", ":"))), encoding="utf-8")


if __name__ == "__main__":
    main()
