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


def advice(name: str, public: Container[str]) -> str:
    """Return the place of a name that an adapter has, or that another library uses for one of the public names.

    >>> advice("kaiming_normal_", ["kaiming_normal"])
    '. To fill a tensor of PyTorch, write initlib.adapters.torch.kaiming_normal_(tensor)'
    >>> advice("eye", ["identity"])
    '. Write initlib.identity'
    """
    if name in OF_ADAPTERS:
        places = [f"initlib.adapters.{adapter}.{name}" for adapter in ("torch", "keras", "jax")]
        return f". Import an adapter: {', '.join(places)}"
    if name in OF_PYTORCH:
        return f". Import the adapter: initlib.adapters.torch.{name}"
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().removesuffix("_")
    own = ALIASES.get(snake, snake)
    if own not in public:
        return ""
    if name.endswith("_"):
        return f". To fill a tensor of PyTorch, write initlib.adapters.torch.{name}(tensor)"
    of_keras = f"; the class of Keras is initlib.adapters.keras.{name}" if name[0].isupper() else ""
    return f". Write initlib.{own}{of_keras}"
