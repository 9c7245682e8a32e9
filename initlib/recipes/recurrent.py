"""Recipes of recurrent networks."""

from typing import Any

from ..plans.rules.parts import parts
from ..schemes._constant import constant, zeros
from ..schemes._orthogonal import orthogonal
from ..schemes._variance import glorot_uniform
from .rules import Rules, required


def lstm(bias: Any = "*bias_ih*", forget: float = 1.0) -> Rules:
    """LSTM: orthogonal recurrent kernels and Glorot input kernels, a matrix a gate, and a forget gate that starts open.

    >>> rules = lstm()
    >>> rules["*:recurrent"]
    orthogonal(gain=1.0)

    `bias` is the pattern of the biases that hold the forget gate's, which is `forget`, second of the four gates: as in
    PyTorch, whose other bias stays 0, and in Keras (`*bias`). The whole is Keras's default, but for fans that are a
    gate's own. Jozefowicz, Zaremba, Sutskever 2015, An empirical exploration of recurrent network architectures;
    Saxe, McClelland, Ganguli 2013, arXiv 1312.6120.
    """
    gates = {"input": 1, "forget": (1, constant(forget)), "cell": 1, "output": 1}
    biases = required(bias, "lstm", "bias with a forget gate", "bias")
    return {biases: parts(gates, zeros), "*:recurrent": orthogonal(), "*:kernel": glorot_uniform}
