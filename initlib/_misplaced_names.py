"""Advice for names of other libraries that are looked up in `initlib`."""

import re
from collections.abc import Container

# Names of torch.nn.init and keras.initializers, and the names of the same initializers here.
ALIASES = {
    "eye": "identity",
    "random_normal": "normal",
    "random_uniform": "uniform",
    "trunc_normal": "truncated_normal",
}
OF_ADAPTERS = ("declare", "initialize", "signals", "verify")
OF_PYTORCH = ("calculate_gain", "fill_", "lsuv_", "named", "parameter_groups", "skeleton")
# Functions of the PyTorch adapter that fill a tensor, and classes of the Keras adapter. No adapter is imported here.
IN_PLACE = (
    *("constant_", "delta_orthogonal_", "dirac_", "eye_", "glorot_normal_", "glorot_uniform_", "he_normal_"),
    *("he_uniform_", "kaiming_normal_", "kaiming_uniform_", "lecun_normal_", "lecun_uniform_", "normal_", "ones_"),
    *("orthogonal_", "sparse_", "trunc_normal_", "truncated_normal_", "uniform_", "variance_scaling_"),
    *("xavier_normal_", "xavier_uniform_", "zeros_"),
)
OF_KERAS = (
    *("Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity", "LecunNormal", "LecunUniform"),
    *("Ones", "Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Zeros"),
)


def advice(name: str, public: Container[str]) -> str:
    """Return the place of a name that an adapter has, or that another library uses for one of the public names.

    >>> advice("kaiming_normal_", ["kaiming_normal"])
    '. To fill a tensor of PyTorch, write: from initlib.adapters.torch import kaiming_normal_'
    >>> advice("eye", ["identity"])
    '. Write initlib.identity'
    """
    if name in OF_ADAPTERS:
        lines = [f"from initlib.adapters.{adapter} import {name}" for adapter in ("torch", "keras", "jax")]
        return f". Import the function from an adapter: {' or '.join(lines)}"
    if name in OF_PYTORCH:
        return f". Write: from initlib.adapters.torch import {name}"
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().removesuffix("_")
    if name.endswith("_") and f"{snake}_" in IN_PLACE:
        return f". To fill a tensor of PyTorch, write: from initlib.adapters.torch import {snake}_"
    own = ALIASES.get(snake, snake)
    if own not in public:
        return ""
    of_keras = snake.title().replace("_", "")
    is_class = name[0].isupper() and of_keras in OF_KERAS
    return f". Write initlib.{own}" + (f"; for Keras, write: from initlib.adapters.keras import {of_keras}" * is_class)
