"""Draws by every installed peer: a task for a scheme, a shape and a dtype.

A task draws into fresh memory, which the system clears page by page, or into memory that was written before. Every
comparison separates the two, because fresh memory may cost more than the draw.
"""

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial

import numpy as np

import initlib
from initlib.dtypes import numpy_dtype

from .measure import Task

OURS = "initlib"
REFERENCE = "initlib without its kernel"
TORCH = "torch.nn.init"
KERAS = "keras on TensorFlow"
JAX_JIT = "jax, jitted"
JAX = "jax"
NUMPY = "numpy Generator"
FLOOR = "np.full"  # in place, `fill` of an array
IN = {framework: f"initlib in {framework.removesuffix('.nn.init')}" for framework in (TORCH, KERAS, JAX_JIT, JAX)}

Shape = tuple[int, ...]

SCHEMES = {
    "he_normal": initlib.he_normal,
    "glorot_uniform": initlib.glorot_uniform,
    "kaiming_normal": initlib.variance_scaling(2.0, "fan_in", "normal"),  # PyTorch's: not truncated
    "trunc_normal .02": initlib.truncated_normal(std=0.02),
    "normal .02": initlib.normal(std=0.02),
}


def _ours(scheme: str, shape: Shape, dtype: str, fresh: bool) -> Task:
    initializer, out = SCHEMES[scheme], None if fresh else np.zeros(shape, numpy_dtype(dtype))
    return lambda: initializer(shape, dtype, seed=0, out=out)


def _reference(scheme: str, shape: Shape, dtype: str, fresh: bool) -> Task:
    draw = _ours(scheme, shape, dtype, fresh)

    def task() -> None:
        kernel, initlib.stream.config.kernel = initlib.stream.config.kernel, None
        try:
            draw()
        finally:
            initlib.stream.config.kernel = kernel

    return task


# Each framework's own initializers, and the adapter for it: modules of the same names.


def _torch(scheme: str, shape: Shape, dtype: str, fresh: bool, module: str = "torch.nn.init") -> Task:
    import torch

    init, kind = importlib.import_module(module), getattr(torch, dtype)
    fill = {
        "he_normal": getattr(init, "he_normal_", init.trunc_normal_),
        "glorot_uniform": init.kaiming_uniform_ if len(shape) > 1 else init.uniform_,
        "kaiming_normal": init.kaiming_normal_ if len(shape) > 1 else init.normal_,
        "trunc_normal .02": lambda t: init.trunc_normal_(t, std=0.02, a=-0.04, b=0.04),
        "normal .02": lambda t: init.normal_(t, std=0.02),
    }[scheme]
    if fresh:
        return lambda: fill(torch.empty(shape, dtype=kind))
    tensor = torch.zeros(shape, dtype=kind)
    return lambda: fill(tensor)


def _keras(scheme: str, shape: Shape, dtype: str, fresh: bool, module: str = "keras.initializers") -> Task | None:
    if not fresh:
        return None  # it makes arrays, as JAX does
    import keras

    make = importlib.import_module(module)
    seeds = keras.random.SeedGenerator(0)  # an int would draw the same weights each time
    initializer = {
        "he_normal": lambda: make.HeNormal(seeds),
        "glorot_uniform": lambda: make.GlorotUniform(seeds),
        "kaiming_normal": lambda: make.VarianceScaling(2.0, "fan_in", "untruncated_normal", seeds),
        "trunc_normal .02": lambda: make.TruncatedNormal(0.0, 0.02, seeds),
        "normal .02": lambda: make.RandomNormal(0.0, 0.02, seeds),
    }[scheme]()
    return lambda: initializer(shape, dtype)


def _jax(
    scheme: str, shape: Shape, dtype: str, fresh: bool, module: str = "jax.nn.initializers", jit: bool = False
) -> Task | None:
    if not fresh:
        return None
    import jax

    make = importlib.import_module(module)
    initializer = {
        "he_normal": lambda: make.he_normal() if len(shape) > 1 else make.truncated_normal(),
        "glorot_uniform": lambda: make.glorot_uniform() if len(shape) > 1 else make.uniform(),
        "kaiming_normal": lambda: make.variance_scaling(2.0, "fan_in", "normal"),
        "trunc_normal .02": lambda: make.truncated_normal(0.02),
        "normal .02": lambda: make.normal(0.02),
    }[scheme]()
    key = jax.random.key(0)

    def draw(key: jax.Array) -> jax.Array:
        return initializer(key, shape, dtype)

    run = jax.jit(draw) if jit else draw
    return lambda: run(key).block_until_ready()


def _numpy(scheme: str, shape: Shape, dtype: str, fresh: bool) -> Task | None:
    if dtype != "float32":
        return None  # the Generator draws no 16-bit floats
    generator = np.random.default_rng(0)
    draw = generator.random if scheme == "glorot_uniform" else generator.standard_normal
    out = None if fresh else np.zeros(shape, np.float32)
    return lambda: draw(shape, np.float32, out)


def _floor(scheme: str, shape: Shape, dtype: str, fresh: bool) -> Task:
    kind = np.uint16 if dtype == "bfloat16" else dtype
    if fresh:
        return lambda: np.full(shape, 1, kind)
    out = np.zeros(shape, kind)
    return lambda: out.fill(1)


MAKERS: dict[str, tuple[str, Callable[[str, Shape, str, bool], Task | None]]] = {
    OURS: ("initlib", _ours),
    REFERENCE: ("initlib", _reference),
    TORCH: ("torch", _torch),
    KERAS: ("tensorflow", _keras),
    JAX_JIT: ("jax", partial(_jax, jit=True)),
    JAX: ("jax", _jax),
    NUMPY: ("numpy", _numpy),
    FLOOR: ("numpy", _floor),
    IN[TORCH]: ("torch", partial(_torch, module="initlib.adapters.torch")),
    IN[KERAS]: ("tensorflow", partial(_keras, module="initlib.adapters.keras")),
    IN[JAX_JIT]: ("jax", partial(_jax, module="initlib.adapters.jax", jit=True)),
    IN[JAX]: ("jax", partial(_jax, module="initlib.adapters.jax")),
}
INSTALLED = [name for name, (module, _) in MAKERS.items() if importlib.util.find_spec(module)]
COMPARED = [name for name in INSTALLED if name not in (REFERENCE, *IN.values())]


def tasks(
    scheme: str, shape: Shape, dtype: str = "float32", names: list[str] | None = None, *, fresh: bool = True
) -> dict[str, Task]:
    """Return the tasks of all installed peers for one weight, into fresh memory or in place."""
    made = {name: MAKERS[name][1](scheme, shape, dtype, fresh) for name in names or COMPARED if name in INSTALLED}
    return {name: task for name, task in made.items() if task is not None}
