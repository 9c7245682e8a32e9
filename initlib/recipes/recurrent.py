"""Recipes of recurrent networks."""

from typing import Any

from ..plans.fills.parts import parts
from ..schemes._constant import constant, zeros
from ..schemes._orthogonal import orthogonal
from ..schemes._variance import glorot_uniform
from .rules import Rules, required


def lstm(bias: Any = "*bias_ih*", forget: float = 1.0) -> Rules:
    """Return the rules of an LSTM: orthogonal recurrent kernels, Glorot input kernels, and an open forget gate.

    Each gate has its own matrix and its own fans. In all other respects the rules equal Keras's defaults.

    Args:
        bias: the pattern of the biases that contain the forget gate, the second of four gates. PyTorch has two biases
            for each layer: the default pattern matches only `bias_ih`, and `bias_hh` is 0. For Keras pass `"*bias"`.
        forget: the bias of the forget gate. A value above 0 opens the gate.

    Returns:
        Rules by pattern, for `rules=`.

    Example:
        >>> rules = lstm()
        >>> rules["*:recurrent"]
        orthogonal(gain=1.0)

    Reference:
        Jozefowicz, Zaremba, Sutskever. An empirical exploration of recurrent network architectures. 2015.
        Saxe, McClelland, Ganguli. Exact solutions to the nonlinear dynamics of learning. 2013. arXiv:1312.6120.
    """
    gates = {"input": 1, "forget": (1, constant(forget)), "cell": 1, "output": 1}
    biases = required(bias, "lstm", "bias with a forget gate", "bias")
    return {biases: parts(gates, zeros), "*:recurrent": orthogonal(), "*:kernel": glorot_uniform}
