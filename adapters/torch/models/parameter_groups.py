"""Parameter groups of an optimizer, with a learning rate and a weight decay for each parameter's name."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from initlib._arguments import positive
from initlib._public import public

from .tensors import model_tensors, walk


@public("initlib.adapters.torch")
def parameter_groups(
    model: nn.Module,
    multipliers: Mapping[str, Mapping[str, float]],
    *,
    lr: float,
    weight_decay: float = 0.0,
    eps: float | None = None,
) -> list[dict[str, Any]]:
    """Return the parameter groups of an optimizer for muP, each with its learning rate and weight decay.

    Parameters with the same learning rate, weight decay and epsilon share a group. Parameters with
    `requires_grad=False` are omitted.

    Args:
        model: a module.
        multipliers: for each parameter name, the multipliers "lr", "weight_decay" and "eps", as
            `initlib.mup_learning_rates` returns them.
        lr: the learning rate at the base width, above 0.
        weight_decay: the weight decay at the base width, at least 0.
        eps: Adam's epsilon at the base width, above 0. If None, the groups have no "eps".

    Returns:
        A list of dictionaries with "params", "lr", "weight_decay" and, if given, "eps", for any optimizer of
        `torch.optim`.

    Raises:
        TypeError: the model is not a module, or `multipliers` is not a mapping.
        ValueError: a parameter has no multipliers, or `lr`, `weight_decay` or `eps` is out of its range.

    Example:
        >>> import torch
        >>> import initlib.adapters.torch as init
        >>> from initlib import mup_learning_rates, normal
        >>> models = [torch.nn.Sequential(torch.nn.Linear(8, n), torch.nn.Linear(n, n)) for n in (64, 256)]
        >>> base, wide = (init.plan(model, normal(std=0.02)) for model in models)
        >>> groups = init.parameter_groups(models[1], mup_learning_rates(wide, base), lr=0.01)
        >>> [(group["lr"], len(group["params"])) for group in groups]
        [(0.01, 3), (0.0025, 1)]
        >>> optimizer = torch.optim.Adam(groups)

    Reference:
        Yang, Hu et al. Tensor Programs V: tuning large neural networks via zero-shot hyperparameter transfer. 2022.
        arXiv:2203.03466.
    """
    scales = {"lr": positive(lr, "lr"), "weight_decay": positive(weight_decay, "weight_decay", or_zero=True)}
    if eps is not None:
        scales["eps"] = positive(eps, "eps")
    modules = walk(model, argument="model")
    if not isinstance(multipliers, Mapping):
        raise TypeError(
            "multipliers must be a mapping from names of parameters, as mup_learning_rates returns it, "
            f"got a {type(multipliers).__name__}"
        )
    groups: dict[tuple[float, ...], list[Any]] = {}
    for model_tensor in model_tensors(modules):
        tensor = model_tensor.tensor
        if not tensor.requires_grad:
            continue
        factors = next((multipliers[name] for name in model_tensor.names if name in multipliers), None)
        if factors is None:
            name = model_tensor.names[0]
            raise ValueError(f"multipliers must have every parameter of the model, got none for {name!r}")
        if not isinstance(factors, Mapping):
            raise TypeError(
                f"multipliers of {model_tensor.names[0]!r} must be a mapping such as {{'lr': 0.5}}, got {factors!r}"
            )
        groups.setdefault(tuple(scale * factors[option] for option, scale in scales.items()), []).append(tensor)
    return [{"params": tensors, **dict(zip(scales, values, strict=True))} for values, tensors in groups.items()]
