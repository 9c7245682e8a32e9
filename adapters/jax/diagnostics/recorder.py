"""Recorder of activations: it runs the operations of a traced function one by one, and measures some of the results.

Layers are the operations with weights: products and convolutions, with the bias that is added next, and rows taken from
a table. An activation is the input of a layer, the output of the function, or the sum of a layer's output and its
residual branch.
"""

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from initlib.diagnostics.measurements import Activation, activation

from .arrays import array

LAYERS = {"dot_general": "dot", "conv_general_dilated": "conv", "gather": "embedding"}
MOVES = {"broadcast_in_dim", "reshape", "squeeze", "transpose"}  # move axes, and keep the numbers
RESHAPES = MOVES | {"convert_element_type", "copy"}
CALLS = {"jit", "pjit", "closed_call", "checkpoint", "remat2"}  # run operations of their own
NAMES = {"add": "add", "logistic": "sigmoid", "max": "relu", "sin": "sin", "tanh": "tanh"}

Values = Sequence[jax.Array]
Site = tuple[int, ...]  # the number of an operation, after those of the calls around it


class Known(NamedTuple):
    """Known facts about a value."""

    batch: bool = False  # the value depends on the batch
    layers: int = 0  # the layers that the value depends on, as bits
    layer: int | None = None  # the layer with this output, perhaps reshaped
    site: Site | None = None  # the operation that computed the value, before it was reshaped
    axis: int = -1  # the axis of the units


class Recorder:
    """A run of a traced function, operation by operation, which adds values to the results of some operations."""

    def __init__(self, added: dict[Site, jax.Array]) -> None:
        self.added = added
        self.values: dict[Site, jax.Array] = {}
        self.known: dict[Site, Known] = {}
        self.names: dict[Site, tuple[str, str]] = {}  # the scope, and the name of the function
        self.order: dict[Site, int] = {}
        self.layers: list[tuple[Site, tuple[str, str]]] = []  # the operation with the output of each, and its name
        self.others: set[Site] = set()  # the operations that computed inputs of layers, sums and outputs

    def run(self, jaxpr: ClosedJaxpr, inputs: Values, known: Sequence[Known]) -> list[jax.Array]:
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
            found[site] = activation(name, what, array(self.values[site]), self.known[site].axis)
        return found

    def _run(
        self, jaxpr: Jaxpr, consts: Values, inputs: Values, known: Sequence[Known], path: Site, scope: str
    ) -> tuple[list[jax.Array], list[Known]]:
        values: dict[Var, jax.Array] = dict(zip(jaxpr.constvars, consts, strict=True))
        values.update(zip(jaxpr.invars, inputs, strict=True))
        facts: dict[Var, Known] = dict(zip(jaxpr.invars, known, strict=True))

        def value(atom: Var | Literal) -> jax.Array:
            return atom.val if isinstance(atom, Literal) else values[atom]

        def fact(atom: Var | Literal) -> Known:
            return Known() if isinstance(atom, Literal) else facts.get(atom, Known())

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

    def _learn(self, equation: Any, site: Site, scope: str, of: Sequence[Known]) -> Known:
        """Return the known facts about the result of an operation; record layers and sums."""
        kind, data = equation.primitive.name, next((one for one in of if one.batch), None)
        self.names[site] = scope, LAYERS.get(kind) or _name(equation)
        if data is None:
            return Known()
        ndim = equation.outvars[0].aval.ndim
        alike = (
            one.axis for one, atom in zip(of, equation.invars, strict=True) if one.batch and atom.aval.ndim == ndim
        )
        found = Known(True, reduce(or_, (one.layers for one in of)), None, site, next(alike, -1))
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

    def _enter(self, one: Known) -> None:
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
