"""Types of Keras, which Keras does not declare."""

from typing import Any

Layer = Any
Tensor = Any  # of the backend, or symbolic
Variable = Any
