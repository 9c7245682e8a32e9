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

Arrays = Sequence[jax.Array]
Site = tuple[int, ...]  # the number of an operation, after those of the calls around it


class Facts(NamedTuple):
    """Facts about a value of a run, other than its numbers."""

    batch: bool = False  # the value depends on the batch
    layers: int = 0  # the layers that the value depends on, as bits
    layer: int | None = None  # the layer with this output, perhaps reshaped
    site: Site | None = None  # the operation that computed the value, before it was reshaped
    axis: int = -1  # the axis of the units


Value = tuple[jax.Array, Facts]


class Recorder:
    """A run of a traced function, operation by operation, which adds arrays to the results of some operations."""

    def __init__(self, added: dict[Site, jax.Array]) -> None:
        self.added = added
        self.results: dict[Site, Value] = {}  # in the order of execution
        self.names: dict[Site, tuple[str, str]] = {}  # the scope, and the name of the function
        self.layers: list[tuple[Site, tuple[str, str]]] = []  # the operation with the output of each, and its name
        self.others: set[Site] = set()  # the operations that computed inputs of layers, sums and outputs

    def run(self, jaxpr: ClosedJaxpr, weights: Arrays, batch: Arrays) -> list[jax.Array]:
        """Return the outputs of a function of weights and a batch."""
        inputs = [*((x, Facts()) for x in weights), *((x, Facts(batch=True)) for x in batch)]
        outputs = self._run(jaxpr.jaxpr, jaxpr.consts, inputs, (), "")
        for _, facts in outputs:
            self._enter(facts)
        return [output for output, _ in outputs]

    def rows(self) -> dict[Site, Activation]:
        """Return the activations to report, in the order of execution."""
        names = {site: self.names[site] for site in self.others} | dict(self.layers)
        # In Flax, all operations are in the scope of the model, whose name is left out.
        roots = {scope.partition("/")[0] for scope, _ in names.values()}
        root = roots.pop() if len(roots) == 1 else ""
        activations = {}
        for site in (site for site in self.results if site in names):
            (output, facts), (scope, what) = self.results[site], names[site]
            scope = scope.removeprefix(root).strip("/").replace("/", ".")
            name = scope if what in LAYERS.values() and scope else f"{scope}.{what}()".lstrip(".")
            activations[site] = activation(name, what, array(output), facts.axis)
        return activations

    def _run(self, jaxpr: Jaxpr, consts: Arrays, inputs: Sequence[Value], path: Site, scope: str) -> list[Value]:
        values: dict[Var, Value] = {var: (const, Facts()) for var, const in zip(jaxpr.constvars, consts, strict=True)}
        values.update(zip(jaxpr.invars, inputs, strict=True))

        def value(atom: Var | Literal) -> Value:
            return (atom.val, Facts()) if isinstance(atom, Literal) else values[atom]

        for number, equation in enumerate(jaxpr.eqns):
            site, inner_scope = (*path, number), _scope(scope, equation)
            operands = list(map(value, equation.invars))
            inner = _inner(equation)
            if inner is not None:
                results = self._run(*inner, operands, site, inner_scope)
            else:
                outputs = _evaluated(equation, [x for x, _ in operands])
                facts = self._learn(equation, site, inner_scope, [facts for _, facts in operands])
                if site in self.added:
                    outputs[0] = outputs[0] + self.added[site]
                results = [(output, facts) for output in outputs]
                if not self.added:
                    self.results[site] = results[0]
            values.update(zip(equation.outvars, results, strict=True))
        return list(map(value, jaxpr.outvars))

    def _learn(self, equation: Any, site: Site, scope: str, operands: Sequence[Facts]) -> Facts:
        """Return the facts about the result of an operation; record layers and sums."""
        kind, data = equation.primitive.name, next((facts for facts in operands if facts.batch), None)
        self.names[site] = scope, LAYERS.get(kind) or _name(equation)
        if data is None:
            return Facts()
        ndims = [atom.aval.ndim for atom in equation.invars]
        alike = (
            facts.axis
            for facts, ndim in zip(operands, ndims, strict=True)
            if facts.batch and ndim == equation.outvars[0].aval.ndim
        )
        result = Facts(True, reduce(or_, (facts.layers for facts in operands)), None, site, next(alike, -1))
        if kind in RESHAPES:
            return result._replace(layer=data.layer, site=data.site, axis=-1 if kind in MOVES else result.axis)
        if kind in LAYERS and not (kind == "gather" and (operands[0].batch or not operands[1].batch)):
            for facts in operands:
                self._enter(facts)
            self.layers.append((site, self.names[site]))
            axis = equation.params["dimension_numbers"].out_spec[1] if kind == "conv_general_dilated" else -1
            layer = len(self.layers) - 1
            return result._replace(layers=result.layers | 1 << layer, layer=layer, axis=axis)
        if kind == "add":
            for one, other in (operands, reversed(operands)):
                if one.layer is not None and not other.batch:  # the bias belongs to its layer
                    self.layers[one.layer] = site, self.layers[one.layer][1]
                    return result._replace(layer=one.layer)
                if one.layer is not None and not other.layers & 1 << one.layer:  # a residual branch around the layer
                    self.others.add(site)
        return result

    def _enter(self, facts: Facts) -> None:
        """Record an activation that enters a layer, or is the output, unless it is an unchanged input."""
        if facts.layers and facts.layer is None and facts.site is not None:
            self.others.add(facts.site)


def _scope(outer: str, equation: JaxprEqn) -> str:
    """Return the scope of an operation, without the parts that transforms such as `vmap` add."""
    inner = str(equation.source_info.name_stack).split("/")
    return "/".join(part for part in (outer, *inner) if part and "(" not in part)


def _inner(equation: JaxprEqn) -> tuple[Jaxpr, Arrays] | None:
    """Return the function that an operation calls, and its constants; None for a function without layers."""
    if equation.primitive.name not in CALLS:
        return None
    called = equation.params["jaxpr"]
    jaxpr, consts = (called.jaxpr, called.consts) if hasattr(called, "jaxpr") else (called, ())
    layers = any(inner.primitive.name in LAYERS or _inner(inner) is not None for inner in jaxpr.eqns)
    return (jaxpr, consts) if layers else None


def _evaluated(equation: Any, given: Arrays) -> list[jax.Array]:
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
