"""Initialize: the plan of a pytree of arrays or shapes, and the pytree of its weights."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from initlib import Parameter, Plan, PlanError, constant, keep
from initlib import plan as plan_of
from initlib._public import public
from initlib.adapters.common.existing_plan import fit_plan, refuse_options
from initlib.adapters.common.running_statistics import refuse_drawn
from initlib.key import Seed, as_key
from initlib.plans.entry import Entry
from initlib.plans.types import Axes, Rename, Rule, Rules, Unmatched

from ..drawing.draw import as_words, known_key
from ..drawing.fill import filled
from ..drawing.keys import words_of
from .constructor_values import remember
from .layers import is_statistic
from .parameters import parameter_of
from .placement import Shardings, placements
from .stacks import At, Layers, Stack, Stacks, Unrolled
from .tensors import Leaf, Tree, check_trace, children, leaves, replaced
from .weight_norm import Norms, norms_of, set_by

SHAPE_ONLY = "a shape holds no values to keep; add a rule with an initializer, or pass the array"
RANDOM_KEY = (
    "a random key without a value is never drawn; call nnx.reseed(model, default=0), or pass the parameters alone: "
    "nnx.split(model, nnx.Param, ...)"
)
OF_PARAMS = re.compile(r"(rule|axes|rename|stack) (['\"])params\.(?P<rest>[^'\"]+)\2")
NO_PARAMS = "; names do not begin with 'params.': write {rest!r}"
FROM_KERNEL = constant(1.0)  # by identity: a scale of weight norm that no rule matches


@public("initlib.adapters.jax")
def plan(
    shapes: Tree,
    rules: Rules | None = None,
    *,
    default: Rule | None = None,
    rename: Rename | None = None,
    axes: Axes | None = None,
    stack: Stack | None = None,
    unmatched: Unmatched = "default",
) -> Plan:
    """Make the plan of a pytree: the fill of each of its arrays. Nothing is drawn.

    The name of an array is its path in the tree, with keys joined by dots and without a leading `params.`. The role of
    an array is its axes and its kind. In `flax.nnx`, Equinox and classes passed to `declare`, the class of the module
    that holds the array states the role. Otherwise Flax's names state the role: kernel, bias, scale, embedding, and
    query, key, value and out of an attention layer. A kernel of three or more axes is a convolution kernel if the name
    of its module contains "conv".

    The plan keeps integers, collections of linen other than params, variables of nnx other than `Param`, bare arrays of
    nnx modules, and an optimizer's `opt_state`. Batch statistics start at 0 and 1. The scales of weight norm become the
    norms of the drawn kernel.

    Args:
        shapes: a pytree of arrays or of `ShapeDtypeStruct`, such as a module of `flax.nnx`, its state, an Equinox
            module, or the result of `jax.eval_shape` of a linen `init`.
        rules: as for `initlib.plan`.
        default: as for `initlib.plan`.
        rename: as for `initlib.plan`.
        axes: as for `initlib.plan`.
        stack: a mapping from the places of stacks of layers (`scan`, `vmap`) to the names of single layers, such as
            {"layers": "layers.{i}"}, or {"*": "{i}.*"} for a whole tree. A pair ("layers.{i}", 1) puts the layers along
            axis 1. Rules, `rename` and `axes` see the names of the layers.
        unmatched: "default", or "keep" to keep everything that no rule matches.

    Returns:
        The plan.

    Raises:
        PlanError: the plan cannot be made; the error lists all problems, among them rules that would draw a statistic
            or the state of an optimizer.

    Example:
        >>> import jax
        >>> from initlib import he_normal
        >>> layer = {"kernel": jax.ShapeDtypeStruct((3, 8, 8), "float32")}
        >>> print(plan({"layers": layer}, he_normal, stack={"layers": "layers.{i}"}))
        name                  shape  dtype    axes  fan_in  fan_out  initializer  std  bytes  notes
        layers.{0..2}.kernel  8x8    float32  IO         8        8  he_normal    0.5    768
        3 parameters, 192 weights, 768 bytes
    """
    return _Model(shapes, stack).plan(rules, default=default, rename=rename, axes=axes, unmatched=unmatched)


@public("initlib.adapters.jax")
def initialize(
    shapes: Tree,
    rules: Rules | Plan | None = None,
    seed: "Seed | jax.Array" = None,
    *,
    default: Rule | None = None,
    rename: Rename | None = None,
    axes: Axes | None = None,
    stack: Stack | None = None,
    shardings: Shardings = None,
    unmatched: Unmatched = "default",
) -> Tree:
    """Return a pytree of weights, drawn by rules and by name, from a pytree of arrays or shapes.

    A module of `flax.nnx` is filled in place and returned; every other tree is new. The weights of an array depend on
    the seed, and on the name, shape, axes and initializer of the array. The weights do not depend on the rest of the
    tree, devices or shardings: `plan(...).draw(seed)` returns the same bits in NumPy. Under `jax.jit` everything is
    traced, with the same bits except for products of matrices (`orthogonal`), which are equal to 1e-6.

    Args:
        shapes: as for `plan`.
        rules: as for `initlib.plan`; or an existing plan, as `plan` made or `Plan.load` read it. Its names, shapes and
            dtypes must be those of the tree. `default`, `rename`, `axes` and `unmatched` are not allowed with
            an existing plan, and `stack` must be given again.
        seed: an int, a `Key`, a `numpy.random.Generator`, a key of JAX, traced or not, or None for fresh entropy.
        default: as for `initlib.plan`.
        rename: as for `initlib.plan`.
        axes: as for `initlib.plan`.
        stack: as for `plan`.
        shardings: a sharding (or a `PartitionSpec`, if a mesh is set), a pytree of shardings, or a function of the
            `Parameter`. A sharding in a pytree is for the array at its place, or for all arrays below it. None leaves
            arrays where they are. Each device draws its own shard, and no array of full size is made.
        unmatched: as for `plan`.

    Returns:
        The pytree of weights. Call `plan` for the plan.

    Raises:
        PlanError: the plan cannot be made, an existing plan does not fit the tree, an array has no values to keep, or a
            sharding does not fit. The error lists all problems, and nothing was drawn.
        TypeError: an argument has a wrong type, or may not be given with an existing plan.
        ValueError: a module of `flax.nnx` was made outside of the current trace, so that it cannot be changed.

    Example:
        >>> import jax
        >>> from initlib import he_normal
        >>> shapes = {"dense": {"kernel": jax.ShapeDtypeStruct((784, 128), "bfloat16")}}
        >>> weights = initialize(shapes, he_normal, seed=0)
        >>> bool((weights["dense"]["kernel"] == he_normal((784, 128), "bfloat16", seed=0, name="dense.kernel")).all())
        True
    """
    model = _Model(shapes, stack)
    key = words_of(seed, None, "initialize") if isinstance(seed, jax.Array) else as_key(seed)
    words = jnp.asarray(as_words(key))
    tracing = isinstance(words, jax.core.Tracer)
    options = {"default": default, "rename": rename, "axes": axes, "unmatched": unmatched}
    if isinstance(rules, Plan):
        refuse_options(**options)
        made = model.fitted(rules)
    else:
        made = model.plan(rules, **options)
    entries = model.entries(made)
    places, problems = placements(model.leaves, [entry.parameter for entry in entries], shardings, tracing)
    for leaf, entry in zip(model.leaves, entries, strict=True):
        if not (entry.filled or leaf.has_values or leaf in model.scales):
            problems.append(f"{leaf.names[0]}: {SHAPE_ONLY}")
    if problems:
        raise PlanError(problems)
    tensors = [each for each in zip(model.leaves, entries, places, strict=True) if not each[1].kept]
    check_trace([leaf for leaf, _, _ in tensors])
    present = [(entry, place, leaf.value if leaf.has_values else None) for leaf, entry, place in tensors]
    drawn = filled(present, words if tracing else known_key(key))
    weights = {leaf: leaf.value for leaf in model.leaves}
    weights.update(zip((leaf for leaf, _, _ in tensors), drawn, strict=True))
    place_of = dict(zip(model.leaves, places, strict=True))
    for scale, norms in model.scales.items():
        scales = norms.of(weights[norms.kernel])
        weights[scale] = scales if place_of[scale] is None else jax.device_put(scales, place_of[scale])
    model.remember()
    return replaced(shapes, weights, in_place=True)


class _Model:
    """Arrays of a tree, and the parameters of the weights in them."""

    def __init__(self, shapes: Tree, stack: Stack | None) -> None:
        every = leaves(shapes)
        self.leaves = [leaf for leaf in every if not leaf.is_key]
        self.stacks = Stacks(stack)
        self.scales: dict[Leaf, Norms] = {norms.scale: norms for norms in norms_of(self.leaves)}
        self.weights: list[list[tuple[Unrolled, Parameter]]] = []  # of each array
        problems = [f"{leaf.names[0]}: {RANDOM_KEY}" for leaf in every if leaf.is_key and not leaf.has_values]
        below = children(self.leaves)
        for leaf in self.leaves:
            try:
                self.weights.append(list(self._parameters(leaf, below[leaf.components[:-2]])))
            except ValueError as error:
                problems.append(f"{leaf.names[0]}: {error}")
        problems += map(_with_hint, self.stacks.problems())
        if problems:
            raise PlanError(problems)
        self.parameters = [parameter for each in self.weights for _, parameter in each]

    def plan(self, rules: Rules | None, **options: Any) -> Plan:
        """Return the plan of all weights, with those of a stack one by one."""
        try:
            made = plan_of(self.parameters, rules, **options)
        except PlanError as error:
            raise PlanError(map(_with_hint, error.problems)) from None
        made = self._with_norms(made)
        entries = zip(self.leaves, self.entries(made), strict=True)
        refuse_drawn(entry for leaf, entry in entries if is_statistic(leaf))
        return made

    def fitted(self, existing: Plan) -> Plan:
        """Return an existing plan for all weights. Notes of the plan state which scales follow from their kernels."""
        made = fit_plan(existing, self.parameters)
        self.scales = {norms.scale: norms for norms in set_by(made, self.scales.values())}
        return made

    def entries(self, made: Plan) -> list[Entry]:
        """Return the entry of each array."""
        each = iter(made.entries)
        pairs = zip(self.leaves, self.weights, strict=True)
        return [_entry(leaf, [(layer.at, next(each)) for layer, _ in layers]) for leaf, layers in pairs]

    def remember(self) -> None:
        """Record the values that constructors gave."""
        for leaf, weights in zip(self.leaves, self.weights, strict=True):
            for layer, parameter in weights:
                remember(leaf, layer, parameter)

    def _parameters(self, leaf: Leaf, beside: set[str]) -> Iterator[tuple[Unrolled, Parameter]]:
        """Yield the weights of an array."""
        weights = self.stacks.weights(leaf.names, leaf.value.shape)
        for layer, ties in weights:
            made = parameter_of(leaf, layer, ties, beside)
            if leaf in self.scales and len(weights) == 1:
                made = replace(made, default=FROM_KERNEL, constructor=None)
            yield layer, made

    def _with_norms(self, made: Plan) -> Plan:
        """Return the plan in which scales of weight norm that no rule matches are kept, to be set after the kernel."""
        entries = {entry.parameter.name: entry for entry in made.entries}
        for scale, norms in list(self.scales.items()):
            entry, kernel = entries.get(scale.names[0]), entries.get(norms.kernel.names[0])
            if entry is None or entry.filling is not FROM_KERNEL:
                del self.scales[scale]
            elif kernel is None or kernel.kept:
                del self.scales[scale]
                entries[entry.parameter.name] = replace(entry, filling=keep if scale.has_values else FROM_KERNEL)
            else:
                entries[entry.parameter.name] = replace(entry, filling=keep, notes=(*entry.notes, norms.note))
        return Plan(tuple(entries.values()))


def _with_hint(problem: str) -> str:
    """Return a problem, with a hint where a pattern begins with linen's `params.`."""
    match = OF_PARAMS.match(problem)
    return problem if match is None else problem + NO_PARAMS.format(rest=match["rest"])


def _entry(leaf: Leaf, layers: list[tuple[At, Entry]]) -> Entry:
    """Return the entry of an array: an entry of the plan, or those of its layers."""
    if len(layers) == 1 and layers[0][0] == ():
        return layers[0][1]
    stored = Parameter(leaf.names[0], tuple(leaf.value.shape), leaf.value.dtype.name)
    return Layers(stored, leaf.names[0], keep, layers=tuple(layers))
