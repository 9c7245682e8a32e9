"""Small networks of one shape, trained at once: one array holds a layer of all networks."""

from collections.abc import Callable, Sequence

import numpy as np

from initlib import Initializer

Gradient = Callable[[np.ndarray], np.ndarray]  # of the loss by z of the output, from its sigmoid


def draw(initializer: Initializer, shape: tuple[int, int], seeds: Sequence[int], name: str, dtype: str) -> np.ndarray:
    """Draw one layer of all networks, (networks, out, in), with that name and every seed."""
    return np.stack([initializer(shape, dtype, axes="OI", seed=seed, name=name) for seed in seeds])


class Stack:
    """Networks with relu or tanh in the hidden layers and a sigmoid at the end; their biases start at 0.

    A batch is (networks, in, points), or (1, in, points) for all of them.
    """

    def __init__(self, weights: Sequence[np.ndarray], relu: bool) -> None:
        self.weights = list(weights)
        self.biases = [np.zeros((*weight.shape[:2], 1), weight.dtype) for weight in weights]
        self.relu = relu

    def forward(self, x: np.ndarray) -> list[np.ndarray]:
        """Return the input and the activations of every layer."""
        activations = [x]
        for weight, bias in zip(self.weights, self.biases, strict=True):
            z = weight @ activations[-1]
            z += bias
            activations.append(self._sigmoid(z) if weight is self.weights[-1] else self._hidden(z))
        return activations

    def step(self, x: np.ndarray, gradient: Gradient, rate: float) -> None:
        """Take one step of gradient descent."""
        activations = self.forward(x)
        delta = gradient(activations[-1])
        for k in reversed(range(len(self.weights))):
            below = activations[k]
            weight_step, bias_step = delta @ below.swapaxes(1, 2), delta.sum(axis=2, keepdims=True)
            if k:
                delta = self.weights[k].swapaxes(1, 2) @ delta
                delta *= self._slope(below)
            self.weights[k] -= rate * weight_step
            self.biases[k] -= rate * bias_step

    @staticmethod
    def _sigmoid(z: np.ndarray) -> np.ndarray:
        z *= 0.5  # 1 / (1 + exp(-z)) as a tanh, which does not overflow
        np.tanh(z, out=z)
        z += 1
        z *= 0.5
        return z

    def _hidden(self, z: np.ndarray) -> np.ndarray:
        return np.maximum(z, 0, out=z) if self.relu else np.tanh(z, out=z)

    def _slope(self, activation: np.ndarray) -> np.ndarray:
        """Return the derivative, computed from the activation."""
        return activation > 0 if self.relu else 1 - activation * activation

    def part(self, networks: slice) -> "Stack":
        """Return some of the networks."""
        part = Stack([weight[networks] for weight in self.weights], self.relu)
        part.biases = [bias[networks] for bias in self.biases]
        return part
