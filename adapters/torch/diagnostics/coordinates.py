"""Coordinate check: the sizes of activations of models of several widths, after a few steps of training."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from initlib._arguments import integer, positive
from initlib._public import public
from initlib.adapters.common.signals import check_gradients, check_loss
from initlib.diagnostics.coordinates import CoordinateCheck

from .inputs import inputs, loss_of
from .recorder import recorded, uncompiled


@public("initlib.adapters.torch")
def coordinate_check(
    make_model: Callable[[int, int], nn.Module],
    widths: Sequence[int],
    batch: Any,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    optimizer: Callable[[nn.Module, int], torch.optim.Optimizer],
    steps: int = 3,
    seeds: int = 3,
    tolerance: float = 0.15,
) -> CoordinateCheck:
    """Train models of several widths for a few steps, and fit how the size of each activation depends on the width.

    The size of an activation is its mean absolute value, averaged over seeds. The sizes are measured before the first
    step and after each step. The check fits the slope of log(size) over log(width). With muP (`recipes.mup`), all
    slopes are about 0: wide models train like narrow models. The check restores PyTorch's random states.

    Args:
        make_model: a function of a width and a seed that makes and initializes a model.
        widths: at least two widths, as ints of at least 1.
        batch: as for `signals`; every step trains on this batch.
        loss: as for `signals`.
        optimizer: a function of a model and its width that makes the optimizer.
        steps: the number of training steps.
        seeds: the number of models for each width, with the seeds 0, 1, ….
        tolerance: the largest absolute slope that passes.

    Returns:
        The sizes, the slopes and the verdict.

    Raises:
        TypeError: as for `signals`.
        ValueError: there are fewer than two widths, the activations of two widths have different names, or no parameter
            has a gradient.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> import initlib.adapters.torch as init
        >>> from initlib import lecun_normal
        >>> def standard(width, seed):
        ...     layers = [nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4)]
        ...     model = nn.Sequential(*layers)
        ...     init.initialize(model, lecun_normal, seed=seed)
        ...     return model
        >>> def adam(model, width):
        ...     return torch.optim.Adam(model.parameters(), 0.02)
        >>> check = init.coordinate_check(standard, [64, 128, 256], (16, 8), optimizer=adam)
        >>> check.passed  # with one learning rate for all widths, activations grow with the width
        False

    Reference:
        Yang, Hu, Babuschkin, Sidor, Liu, Farhi, Ryder, Pachocki, Chen, Gao. Tensor Programs V: tuning large neural
        networks via zero-shot hyperparameter transfer. 2022. arXiv:2203.03466, appendix D.1.
    """
    widths = sorted({integer(width, "widths", least=1) for width in widths})
    if len(widths) < 2:
        raise ValueError(f"widths must have at least two different numbers, to fit a slope, got {widths}")
    steps, seeds = integer(steps, "steps", least=0), integer(seeds, "seeds", least=1)
    tolerance = positive(tolerance, "tolerance")
    check_loss(loss)

    def run(width: int, seed: int) -> list[dict[str, float]]:
        """Return the sizes of the activations of one model, before the first step and after each."""
        with torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed(seed)
            model = make_model(width, seed)
            training = optimizer(model, width)
            with uncompiled():
                sizes = [_sizes(model, batch)]
                for _ in range(steps):
                    training.zero_grad()
                    value = loss_of(inputs(model, batch).passed_to(model), loss)
                    if value.requires_grad:
                        value.backward()
                    _check_gradients(model, loss)
                    training.step()
                    sizes.append(_sizes(model, batch))
        return sizes

    runs_by_width: list[list[list[dict[str, float]]]] = []  # by width, seed and step
    for width in widths:
        runs = [run(width, seed) for seed in range(seeds)]
        names = list(runs[0][0])
        expected = list(runs_by_width[0][0][0]) if runs_by_width else names
        if names != expected:
            differ = next(name for name in [*names, *expected] if (name in names) != (name in expected))
            raise ValueError(
                f"make_model must return models with the same activations for all widths, got {differ!r} for only one "
                f"of the widths {widths[0]} and {width}"
            )
        runs_by_width.append(runs)
    sizes = [
        {
            name: [float(np.mean([run[step][name] for run in runs])) for runs in runs_by_width]
            for name in runs_by_width[0][0][0]
        }
        for step in range(steps + 1)
    ]
    return CoordinateCheck(widths, sizes, tolerance=tolerance)


def _check_gradients(model: nn.Module, loss: Callable[[Any], Tensor] | None) -> None:
    """Raise ValueError if no parameter has a gradient, so that a step would change nothing."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    check_gradients(loss, gradients)
    if gradients and all(gradient is None for gradient in gradients):
        raise ValueError(
            "make_model must return a model whose output depends on its parameters, got an output without a gradient. "
            "Do not detach the output"
        )


def _sizes(model: nn.Module, batch: Any) -> dict[str, float]:
    """Return the mean absolute value of every activation."""
    arguments = inputs(model, batch)
    with torch.no_grad(), recorded(model) as recorder:
        arguments.passed_to(model)
    return {row.name: row.mean_absolute for row in recorder.rows()}
