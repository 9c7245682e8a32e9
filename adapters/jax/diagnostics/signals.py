"""Signals: measurements of a function of JAX on one batch, forward and backward.

JAX traces the function, and its operations run one by one. Layers are the operations with weights: products and
convolutions, with the bias that is added next, and rows taken from a table. An activation is the input of a layer,
the output of the function, or the sum of a layer's output and its residual branch.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from jax.typing import ArrayLike

from initlib._arguments import positive
from initlib._public import public
from initlib.adapters.common.signals import batch_of, report, scalar_loss
from initlib.diagnostics.audit.audit import Audit, audit_tensors
from initlib.diagnostics.measurements import Activation, activation, gradient_of, numbered
from initlib.diagnostics.signals import SignalReport
from initlib.files.readers.stored_tensor import StoredTensor

from ..models.layers import role
from ..models.tensors import Leaf, Tree, children, leaves, replaced

BARE = "params"  # the name of params that are one array

LAYERS = {"dot_general": "dot", "conv_general_dilated": "conv", "gather": "embedding"}
MOVES = {"broadcast_in_dim", "reshape", "squeeze", "transpose"}  # move axes, and keep the numbers
RESHAPES = MOVES | {"convert_element_type", "copy"}
CALLS = {"jit", "pjit", "closed_call", "checkpoint", "remat2"}  # run operations of their own
NAMES = {"add": "add", "logistic": "sigmoid", "max": "relu", "sin": "sin", "tanh": "tanh"}

Values = Sequence[jax.Array]
Site = tuple[int, ...]  # the number of an operation, after those of the calls around it


@public("initlib.adapters.jax")
def signals(
    function: Callable[..., Any],
    params: Tree,
    batch: Any,
    loss: Callable[[Any], Any] | None = None,
    *,
    learning_rate: float | None = None,
) -> SignalReport:
    """Measure every activation and parameter of `function(params, batch)`, forward and backward.

    In Flax, pass `model.apply` and the variables. Names are those of the modules (`jax.named_scope`, which Flax sets),
    then of the operation, in the order of execution; an operation that runs again is "relu()#2". Operations inside
    `scan`, `while_loop` and `cond` are not measured.

    Args:
        function: a function of the parameters and the batch.
        params: a pytree of arrays; other leaves stay as they are.
        batch: an array, a list of arguments, or a shape for standard normal inputs, which are the same in every
            framework.
        loss: a function of the output that returns one number; None is the mean square of the output.
        learning_rate: if given, the report has the update:data ratio of a step of gradient descent.

    Returns:
        The report on activations and parameters, with a verdict on each.

    Raises:
        ValueError: the loss is not one number.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import initlib.adapters.jax as init
        >>> def network(params, x):
        ...     return jax.nn.relu(x @ params["hidden"]) @ params["out"]
        >>> he = init.he_normal()
        >>> params = {"hidden": he(jax.random.key(0), (8, 64)), "out": he(jax.random.key(1), (64, 1))}
        >>> report = init.signals(network, params, (32, 8))  # standard normal inputs of that shape
        >>> [row.name for row in report.activations], [row.name for row in report.parameters]
        (['dot()', 'relu()', 'dot()#2'], ['hidden', 'out'])
    """
    if learning_rate is not None:
        learning_rate = positive(learning_rate, "learning_rate")
    batch = batch_of(batch)
    arguments = jax.tree.map(jnp.asarray, batch if isinstance(batch, list) else [batch])
    found, tree = _arrays(params)

    def whole(values: Values) -> Tree:
        built = replaced(tree, found, list(values))
        return built[BARE] if _is_bare(params) else built

    values = [jnp.asarray(leaf.value) for leaf in found]
    inputs, shape = jax.tree.flatten(arguments)

    def traced(values: Values, inputs: Values) -> Tree:
        return function(whole(values), *jax.tree.unflatten(shape, inputs))

    jaxpr, result = jax.make_jaxpr(traced, return_shape=True)(values, inputs)
    form = jax.tree.structure(result)

    known = [_Known()] * len(values) + [_Known(batch=True)] * len(inputs)

    def run(values: Values, added: dict[Site, jax.Array]) -> tuple[jax.Array, _Walk]:
        walk = _Walk(added)
        outputs = walk.run(jaxpr, [*values, *inputs], known)
        return _loss(jax.tree.unflatten(form, outputs), loss), walk

    value, walk = run(values, {})
    rows = walk.rows()
    zeros = {site: jnp.zeros_like(walk.values[site]) for site in rows}
    learnt = [k for k, x in enumerate(values) if jnp.issubdtype(x.dtype, jnp.floating)]

    def of_floats(floats: Values, added: dict[Site, jax.Array]) -> jax.Array:
        given = list(values)
        for k, x in zip(learnt, floats, strict=True):
            given[k] = x
        return run(given, added)[0]

    by_values, by_rows = jax.grad(of_floats, argnums=(0, 1))([values[k] for k in learnt], zeros)
    gradients = dict(zip(learnt, by_values, strict=True))
    weights = [
        (leaf.names[0], _array(x), _array(gradients.get(k)), axes)
        for k, (x, leaf, axes) in enumerate(zip(values, found, _axes(found), strict=True))
    ]
    activations = numbered([replace(row, **gradient_of(_array(by_rows[site]))) for site, row in rows.items()])
    return report(activations, weights, list(map(_array, _floats(arguments))), float(value), loss, learning_rate)


@public("initlib.adapters.jax")
def audit(params: Tree, *, axes: str | None = None) -> Audit:
    """Audit the arrays of a pytree: see `initlib.audit`.

    Args:
        params: a pytree of arrays.
        axes: the axes of the arrays; None takes them from the names and classes of the tree.

    Returns:
        The measured statistics and the scheme of each array.

    Example:
        >>> import jax
        >>> import initlib.adapters.jax as init
        >>> init.audit({"kernel": init.he_normal()(jax.random.key(0), (64, 128))}).tensors[0].scheme
        'he_normal'
    """
    found, _ = _arrays(params)
    tensors = (
        StoredTensor.of(leaf.names[0], _array(leaf.value), axes=means)
        for leaf, means in zip(found, _axes(found), strict=True)
    )
    return audit_tensors([("", "...IO", tensors)], axes)


def _is_bare(params: Tree) -> bool:
    """Return whether the params are one array, which has no name."""
    return isinstance(params, (jax.Array, np.ndarray))


def _arrays(params: Tree) -> tuple[list[Leaf], Tree]:
    """Return the arrays by the names of plans, without random keys, and the tree with these names."""
    tree = {BARE: params} if _is_bare(params) else params
    return [leaf for leaf in leaves(tree) if not leaf.is_key], tree


def _axes(found: list[Leaf]) -> list[str | None]:
    """Return the roles of the axes of arrays, as far as their modules or names state them."""
    below = children(found)
    return [role(leaf, leaf.value.ndim, below.get(leaf.components[:-2], set())).axes for leaf in found]


def _array(x: ArrayLike | None) -> Any:
    """Return the numbers of an array, for NumPy; None for None."""
    if x is None:
        return None
    array = np.asarray(x)
    return array if array.dtype.kind != "V" and array.dtype.itemsize > 2 else array.astype(np.float32)


def _floats(tree: Tree) -> list[jax.Array]:
    """Return the arrays of floats in a tree."""
    return [x for x in jax.tree.leaves(tree) if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)]


def _loss(output: Tree, loss: Callable[[Any], Any] | None) -> jax.Array:
    as_array = None if loss is None else (lambda result: jnp.asarray(loss(result)))
    value = scalar_loss(output, as_array, _floats(output), lambda x: jnp.mean(jnp.square(x.astype(jnp.float32))))
    return jnp.reshape(value, ())


class _Known(NamedTuple):
    """Known facts about a value."""

    batch: bool = False  # the value depends on the batch
    layers: int = 0  # the layers that the value depends on, as bits
    layer: int | None = None  # the layer with this output, perhaps reshaped
    site: Site | None = None  # the operation that computed the value, before it was reshaped
    axis: int = -1  # the axis of the units


class _Walk:
    """A run of a traced function, operation by operation, which adds values to the results of some operations."""

    def __init__(self, added: dict[Site, jax.Array]) -> None:
        self.added = added
        self.values: dict[Site, jax.Array] = {}
        self.known: dict[Site, _Known] = {}
        self.names: dict[Site, tuple[str, str]] = {}  # the scope, and the name of the function
        self.order: dict[Site, int] = {}
        self.layers: list[tuple[Site, tuple[str, str]]] = []  # the operation with the output of each, and its name
        self.others: set[Site] = set()  # the operations that computed inputs of layers, sums and outputs

    def run(self, jaxpr: ClosedJaxpr, inputs: Values, known: Sequence[_Known]) -> list[jax.Array]:
        """Return the outputs of a function, from its inputs and the known facts about them."""
        outputs, found = self._run(jaxpr.jaxpr, jaxpr.consts, inputs, known, (), "")
        for one in found:
            self._enter(one)
        return outputs

    def rows(self) -> dict[Site, Activation]:
        """Return the activations to report, in the order of execution."""
        names = {site: self.names[site] for site in self.others} | dict(self.layers)
        # In Flax, all operations are in the scope of the model, whose name is left out.
        roots = {scope.partition("/")[0] for scope, _ in names.values()}
        root = roots.pop() if len(roots) == 1 else ""
        found = {}
        for site in sorted(names, key=self.order.__getitem__):
            scope, what = names[site]
            scope = scope.removeprefix(root).strip("/").replace("/", ".")
            name = scope if what in LAYERS.values() and scope else f"{scope}.{what}()".lstrip(".")
            found[site] = activation(name, what, _array(self.values[site]), self.known[site].axis)
        return found

    def _run(
        self, jaxpr: Jaxpr, consts: Values, inputs: Values, known: Sequence[_Known], path: Site, scope: str
    ) -> tuple[list[jax.Array], list[_Known]]:
        values: dict[Var, jax.Array] = dict(zip(jaxpr.constvars, consts, strict=True))
        values.update(zip(jaxpr.invars, inputs, strict=True))
        facts: dict[Var, _Known] = dict(zip(jaxpr.invars, known, strict=True))

        def value(atom: Var | Literal) -> jax.Array:
            return atom.val if isinstance(atom, Literal) else values[atom]

        def fact(atom: Var | Literal) -> _Known:
            return _Known() if isinstance(atom, Literal) else facts.get(atom, _Known())

        for number, equation in enumerate(jaxpr.eqns):
            site, stack = (*path, number), _scope(scope, equation)
            given, of = [value(atom) for atom in equation.invars], [fact(atom) for atom in equation.invars]
            inner = _inner(equation)
            if inner is not None:
                outputs, found = self._run(*inner, given, of, site, stack)
            else:
                outputs = _evaluated(equation, given)
                self.order[site] = len(self.order)
                found = [self._learn(equation, site, stack, of)] * len(outputs)
                if site in self.added:
                    outputs[0] = outputs[0] + self.added[site]
                elif not self.added:
                    self.values[site], self.known[site] = outputs[0], found[0]
            values.update(zip(equation.outvars, outputs, strict=True))
            facts.update(zip(equation.outvars, found, strict=True))
        return [value(atom) for atom in jaxpr.outvars], [fact(atom) for atom in jaxpr.outvars]

    def _learn(self, equation: Any, site: Site, scope: str, of: Sequence[_Known]) -> _Known:
        """Return the known facts about the result of an operation; record layers and sums."""
        kind, data = equation.primitive.name, next((one for one in of if one.batch), None)
        self.names[site] = scope, LAYERS.get(kind) or _name(equation)
        if data is None:
            return _Known()
        ndim = equation.outvars[0].aval.ndim
        alike = (
            one.axis for one, atom in zip(of, equation.invars, strict=True) if one.batch and atom.aval.ndim == ndim
        )
        found = _Known(True, reduce(or_, (one.layers for one in of)), None, site, next(alike, -1))
        if kind in RESHAPES:
            return found._replace(layer=data.layer, site=data.site, axis=-1 if kind in MOVES else found.axis)
        if kind in LAYERS and not (kind == "gather" and (of[0].batch or not of[1].batch)):
            for one in of:
                self._enter(one)
            self.layers.append((site, self.names[site]))
            axis = equation.params["dimension_numbers"].out_spec[1] if kind == "conv_general_dilated" else -1
            layer = len(self.layers) - 1
            return found._replace(layers=found.layers | 1 << layer, layer=layer, axis=axis)
        if kind == "add":
            one, other = of
            for a, b in ((one, other), (other, one)):
                if a.layer is not None and not b.batch:  # the bias belongs to its layer
                    self.layers[a.layer] = site, self.layers[a.layer][1]
                    return found._replace(layer=a.layer)
                if a.layer is not None and not b.layers & 1 << a.layer:  # a residual branch around the layer
                    self.others.add(site)
        return found

    def _enter(self, one: _Known) -> None:
        """Record an activation that enters a layer, or is the output, unless it is an unchanged input."""
        if one.layers and one.layer is None and one.site is not None:
            self.others.add(one.site)


def _scope(outer: str, equation: JaxprEqn) -> str:
    """Return the scope of an operation, without the parts that transforms such as `vmap` add."""
    inner = str(equation.source_info.name_stack).split("/")
    return "/".join(part for part in (outer, *inner) if part and "(" not in part)


def _inner(equation: JaxprEqn) -> tuple[Jaxpr, Values] | None:
    """Return the function that an operation calls, and its constants; None for a function without layers."""
    if equation.primitive.name not in CALLS:
        return None
    called = equation.params["jaxpr"]
    jaxpr, consts = (called.jaxpr, called.consts) if hasattr(called, "jaxpr") else (called, ())
    layers = any(inner.primitive.name in LAYERS or _inner(inner) is not None for inner in jaxpr.eqns)
    return (jaxpr, consts) if layers else None


def _evaluated(equation: Any, given: Values) -> list[jax.Array]:
    bound = equation.primitive.get_bind_params(equation.params)
    subfunctions, parameters = bound if isinstance(bound, tuple) else ((), bound)  # before JAX 0.10, a pair
    outputs = equation.primitive.bind(*subfunctions, *given, **parameters)
    return list(outputs) if equation.primitive.multiple_results else [outputs]


def _name(equation: JaxprEqn) -> str:
    """Return the name of the function that an operation computes, if JAX keeps the name."""
    if equation.primitive.name == "custom_jvp_call":
        inner = equation.params["call_jaxpr"].eqns
        return _name(inner[0]) if len(inner) == 1 else "function"
    return str(equation.params.get("name") or NAMES.get(equation.primitive.name, "function"))
