"""Recipes of recurrent networks."""

from typing import Any

from ..plans.fills.parts import parts
from ..schemes._constant import constant, zeros
from ..schemes._orthogonal import orthogonal
from ..schemes._variance import glorot_uniform
from .rules import Rules, required


def lstm(bias: Any = "*bias_ih*", forget: float = 1.0) -> Rules:
    """Return the rules of an LSTM: orthogonal recurrent kernels, Glorot input kernels, and an open forget gate.

    Each gate has a matrix and fans of its own. Otherwise the rules are Keras's defaults.

    Args:
        bias: the pattern of the biases that contain the bias of the forget gate, the second of four gates. PyTorch
            has two biases: the default matches one of them, and the other stays 0. In Keras pass `"*bias"`.
        forget: the bias of the forget gate.

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
