"""Gains found in a model, by the effect of its operations on signals."""

import re
import warnings
from typing import Any

from .._adapters import adapter, framework_of
from ..schemes._normal import normal
from ..schemes._variance import variance_scaling
from ..theory.network import factors
from .rules import Rules

DIGITS = 6  # of a factor: further digits are errors of the calculation


def analytic(model: Any, input_shape: Any = None, *, distribution: str = "truncated_normal") -> Rules:
    """Find the variance of every kernel of a model from the operations around the kernel.

    The function draws and writes no weights. The result is a mapping of ordinary rules, which you can read and change.
    A model of PyTorch runs once, without gradients, so any control flow is allowed.

    The output of a kernel gets the variance at which the next activation has a mean square of 1. If the next activation
    is bounded, or there is none, the output gets the variance 1. The calculation accounts for sums, nonzero means
    (after relu), dropout, pooling, concatenations and normalization. Kernels whose outputs are added share the
    variance. The last kernel of each of n residual branches adds the variance 1 / n, so the variance of the residual
    stream at most doubles.

    Args:
        model: a `torch.nn.Module`, or a functional or sequential model of Keras.
        input_shape: for PyTorch, the shape of a standard normal input, such as (1, 64), or a batch, as for `signals`.
            Not used for Keras.
        distribution: "truncated_normal", "normal" or "uniform", as for `variance_scaling`.

    Returns:
        Rules by pattern, for `rules=`.

    Raises:
        TypeError: the model is neither a module of PyTorch nor a model of Keras.
        ValueError: no signal passes through a kernel of the model, the input of a kernel is only zeros, or a model of
            PyTorch has no `input_shape`.

    Warns:
        UserWarning: the model has operations of unknown effect. The result assumes that these operations keep the mean
            square.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10))
        >>> for pattern, rule in analytic(model, (1, 64)).items():
        ...     print(pattern, rule)
        0.weight variance_scaling(factor=2.15506, mode='fan_in', distribution='truncated_normal')
        2.weight variance_scaling(factor=1.0, mode='fan_in', distribution='truncated_normal')
        4.weight variance_scaling(factor=2.53618, mode='fan_in', distribution='truncated_normal')
    """
    framework = framework_of(model)
    if framework is None:
        raise TypeError(f"model must be a torch.nn.Module or a keras.Model, got {type(model).__name__}")
    if input_shape is None and framework == "torch":
        raise ValueError("input_shape must be the shape of an input, or a batch, for a model of PyTorch, got None")
    operations, unfollowed = adapter(framework, "diagnostics.graph").followed(model, input_shape)
    if unfollowed:
        names = ", ".join(dict.fromkeys(unfollowed))
        warnings.warn(
            f"analytic could not follow {names}, and assumes that these operations keep the mean square", stacklevel=2
        )
    fan_ins = {operation.weight: operation.fan_in for operation in operations}
    rules: Rules = {}
    for name, factor in factors(operations).items():
        rounded, fan_in = float(f"{factor:.{DIGITS}g}"), fan_ins[name]
        rule = normal(std=(rounded / fan_in) ** 0.5) if fan_in else variance_scaling(rounded, "fan_in", distribution)
        rules[re.compile(re.escape(name)) if set(name) & set("*?[:") else name] = rule
    if not rules:
        raise ValueError("model must have a kernel that a signal passes through, got none")
    return rules
