"""Initialize: a plan for a pytree of arrays or shapes, and a pytree of its weights."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from initlib import Key, Parameter, Plan, PlanError, constant, keep, zeros
from initlib import plan as plan_of
from initlib._public import public
from initlib.adapters.common.running_statistics import refuse_drawn
from initlib.key import as_key
from initlib.plans.entry import Entry
from initlib.plans.rules.constructor_value import constant_of

from ..drawing.keys import words_of
from .fill import filled
from .layers import is_statistic, meaning
from .placement import placements
from .stacks import At, Layers, Stacks, Unrolled
from .tensors import Leaf, children, leaves, rebuilt

SHAPE_ONLY = "a shape holds no values to keep; a rule must say what fills it, or the tree must hold the array"
RANDOM_KEY = (
    "it is a random key without a value, which nothing draws; nnx.reseed(model, default=0) gives it one, "
    "or give the parameters alone: nnx.split(model, nnx.Param, ...)"
)
UNSAID = "nobody says what a vector starts with whose values differ, or are not there"
OWN_START = "it starts with zeros, whatever the default is; a rule must say so"


@public("initlib.adapters.jax")
def plan(
    shapes: Any, rules: Any = None, *, default: Any = None, rename: Any = None, axes: Any = None, stack: Any = None
) -> Plan:
    """Make the plan of a pytree: what fills each of its arrays. Nothing is drawn.

    >>> import jax
    >>> from initlib import he_normal
    >>> layer = {"kernel": jax.ShapeDtypeStruct((3, 8, 8), "float32"), "bias": jax.ShapeDtypeStruct((3, 8), "float32")}
    >>> print(plan({"layers": layer}, he_normal, stack={"layers": "layers.{i}"}))
    name                  shape  dtype    axes  fan_in  fan_out  initializer  std  bytes  notes
    layers.{0..2}.bias    8      float32                         zeros          0     32
    layers.{0..2}.kernel  8x8    float32  IO         8        8  he_normal    0.5    256
    6 parameters, 216 weights, 864 bytes

    `shapes` holds arrays or `ShapeDtypeStruct`s: what `jax.eval_shape` of an `init` gives, an `nnx` module, its state.
    The names are the keys on the way to each, joined by dots. The other arguments are those of `initlib.plan`, and
    `stack`: which places of the tree are stacks of layers, as `scan` and `vmap` make them, and what each layer would be
    called alone; `("layers.{i}", 1)` where they lie along axis 1 in place of the first. A layer's weights are those of
    the model that is not stacked; rules, `rename` and `axes` see these names.

    What axes mean and which kind it is comes from the class of the module that has the array as an attribute (`nnx`'s,
    and those of `declare`), else from Flax's names: kernel, bias, scale, embedding, an attention's query, key, value
    and out; a kernel of three axes or more is a convolution's where its module's name has "conv" in it. A vector has
    the value that all its weights have, of an array, else zeros as a bias and ones as a scale. What is no float,
    collections of linen other than params, variables of nnx other than `Param` and an optimizer's `opt_state` are kept;
    statistics of batches start at 0 and 1. Raises `PlanError`, with all problems that there are, among them rules that
    would draw a statistic or the state of an optimizer.
    """
    return _Model(shapes, stack).plan(rules, default, rename, axes)


@public("initlib.adapters.jax")
def initialize(
    shapes: Any,
    rules: Any = None,
    seed: Any = None,
    *,
    default: Any = None,
    rename: Any = None,
    axes: Any = None,
    stack: Any = None,
    shardings: Any = None,
) -> Any:
    """Make a pytree of weights, by rules and by name, in place of one of arrays or shapes.

    >>> import jax
    >>> from initlib import he_normal
    >>> shapes = {"dense": {"kernel": jax.ShapeDtypeStruct((784, 128), "bfloat16")}}
    >>> weights = initialize(shapes, he_normal, seed=0)
    >>> bool((weights["dense"]["kernel"] == he_normal((784, 128), "bfloat16", seed=0, name="dense.kernel")).all())
    True

    The arguments are those of `plan`, and `seed` and `shardings`. A seed is an int, a `Key`, a
    `numpy.random.Generator`, a key of JAX, traced or not, or None for fresh entropy. What an array gets depends on the
    seed and on its name, not on devices, on shardings or on what else is in the tree: `plan(...).draw(seed)` are the
    same bits in NumPy.

    `shardings` says where arrays lie: a sharding (or a PartitionSpec, where a mesh is set), a pytree of them that has
    one for each array or for a place above it, or a function of the `Parameter`. Without it an array lies where it lay.
    Each device gets the part that it holds, and nothing of full size is made. On CPUs nothing is compiled, others
    draw by a program for each shape, and under `jax.jit` all of it is traced. The bits are the same, but of weights
    that are products of matrices (`orthogonal`), which are equal to 1e-6.

    Raises `PlanError` with all problems that there are, before anything is drawn.
    """
    model = _Model(shapes, stack)
    words = words_of(seed, None, "initialize") if isinstance(seed, jax.Array) else _words(as_key(seed))
    tracing = isinstance(jnp.asarray(words), jax.core.Tracer)
    entries = model.entries(model.plan(rules, default, rename, axes))
    placed, problems = placements(model.found, [entry.parameter for entry in entries], shardings, tracing)
    for leaf, entry in zip(model.found, entries, strict=True):
        if not (entry.filled or leaf.has_values):
            problems.append(f"{leaf.names[0]}: {SHAPE_ONLY}")
    if problems:
        raise PlanError(problems)
    key = words if tracing else _key(words)
    drawn = [
        leaf.value if entry.kept else filled(entry, key, sharding, leaf.value if leaf.has_values else None)
        for leaf, entry, sharding in zip(model.found, entries, placed, strict=True)
    ]
    return rebuilt(model.every, model.structure, model.found, drawn)


def _words(key: Key) -> Any:
    return np.array(key.words, np.uint32)


def _key(words: Any) -> Key:
    high, low = np.asarray(words).tolist()
    return Key(high << 32 | low)


class _Model:
    """The arrays of a tree, and the weights in each of them."""

    def __init__(self, shapes: Any, stack: Any) -> None:
        every, self.every, self.structure = leaves(shapes)
        self.found = [leaf for leaf in every if not leaf.is_key]
        self.keys = [leaf.names[0] for leaf in every if leaf.is_key and not leaf.has_values]
        self.stacks = Stacks(stack)
        self.layers: list[list[Unrolled]] = []

    def plan(self, rules: Any, default: Any, rename: Any, axes: Any) -> Plan:
        """The plan of all weights, those of stacks one by one."""
        problems = [f"{name}: {RANDOM_KEY}" for name in self.keys]
        parameters: list[Parameter] = []
        below = children(self.found)
        for leaf in self.found:
            shape = tuple(leaf.value.shape)
            try:
                layers, *ties = [self.stacks.unrolled(name, shape) for name in leaf.names]
                beside = below.get(leaf.components[:-2], set())
                for layer, *tied in zip(layers, *ties, strict=True):
                    parameters.append(_parameter(leaf, layer, tuple(other.name for other in tied), beside))
                self.layers.append(layers)
            except ValueError as error:
                problems.append(f"{leaf.names[0]}: {error}")
        problems += self.stacks.problems()
        if problems:
            raise PlanError(problems)
        made = plan_of(parameters, rules, default=default, rename=rename, axes=axes)
        refuse_drawn(entry for leaf, entry in zip(self.found, self.entries(made), strict=True) if is_statistic(leaf))
        return made

    def entries(self, made: Plan) -> list[Entry]:
        """What fills each array."""
        each = iter(made.entries)
        both = zip(self.found, self.layers, strict=True)
        return [_entry(leaf, [(layer.at, next(each)) for layer in layers]) for leaf, layers in both]


def _parameter(leaf: Leaf, layer: Unrolled, tied: tuple[str, ...], beside: set[str]) -> Parameter:
    """What a plan is told of a weight."""
    value, (at, name, shape) = leaf.value, layer
    known = meaning(leaf, len(shape), beside)
    default, needs = known.default, None
    if not jnp.issubdtype(value.dtype, jnp.inexact):
        default = keep  # counts, masks: nothing to draw
    elif len(shape) < 2 and known.kind != "buffer":
        built = constant_of(np.asarray(value[at])) if _is_readable(value) else None
        if built is not None:
            default = constant(built)
        elif default is None and known.kind == "other":
            needs = UNSAID
    elif default == zeros and known.kind == "other":
        needs = OWN_START
    owner = None if leaf.owner is None else type(leaf.owner).__name__
    try:
        return Parameter(name, shape, value.dtype.name, known.axes, known.kind, owner, default, tied, needs=needs)
    except ValueError as error:
        place = ".".join(leaf.components[:-1])
        raise ValueError(f"{error}; a stack of layers is told by stack={{{place!r}: '{place}.{{i}}'}}") from None


def _is_readable(value: Any) -> bool:
    """Whether all of its values can be read here."""
    if isinstance(value, np.ndarray):
        return True
    return isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer) and value.is_fully_addressable


def _entry(leaf: Leaf, layers: list[tuple[At, Entry]]) -> Entry:
    """What fills an array: an entry of the plan, or those of its layers."""
    if len(layers) == 1 and layers[0][0] == ():
        return layers[0][1]
    stored = Parameter(leaf.names[0], tuple(leaf.value.shape), leaf.value.dtype.name)
    return Layers(stored, leaf.names[0], keep, layers=tuple(layers))
