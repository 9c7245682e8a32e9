"""Signals: measurements of a function of JAX on one batch, forward and backward."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from initlib._public import public
from initlib.adapters.common.batches import batch_errors_explained, batch_of
from initlib.adapters.common.signals import as_rate, check_loss, report, scalar_loss
from initlib.diagnostics.measurements import gradient_of, numbered
from initlib.diagnostics.signals import SignalReport

from ..models.tensors import Tree, replaced
from .arrays import BARE, array, axes_of, floats_in, is_bare, is_float, named_arrays
from .recorder import Arrays, Recorder, Site

ALLOWED = "an array, a list of arguments, or a shape"


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

    For Flax, pass `model.apply` and the variables. The name of an activation is made of the names of the modules
    (`jax.named_scope`, which Flax sets) and of the operation. Activations are in the order of execution. An operation
    that runs again gets a number: "relu()#2". Operations inside `scan`, `while_loop` and `cond` are not measured.

    Args:
        function: a function of the parameters and the batch.
        params: a pytree of arrays. Leaves that are not arrays are passed to the function unchanged.
        batch: an array, a list of arguments, or a shape. A shape gives standard normal inputs, the same in every
            framework.
        loss: a function of the output that returns one number; None is the mean square of the output.
        learning_rate: if given, the report contains the update:data ratio: the std of one step of gradient descent,
            divided by the std of the weights.

    Returns:
        The report on activations and parameters, with a verdict on each.

    Raises:
        TypeError: the loss needs more arguments than the output, the batch is an iterable of batches, or the batch
            holds no arrays and the function fails.
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
    if not callable(function):
        raise TypeError(f"function must be a function of (params, batch), got a {type(function).__name__}")
    learning_rate = as_rate(learning_rate)
    check_loss(loss)
    positional = batch if isinstance(batch, list) else [batch_of(batch)]
    with batch_errors_explained(batch, "batch", ALLOWED):
        arguments = jax.tree.map(jnp.asarray, positional)
    arrays, tree = named_arrays(params)

    def whole(values: Arrays) -> Tree:
        built = replaced(tree, dict(zip(arrays, values, strict=True)))
        return built[BARE] if is_bare(params) else built

    values = [jnp.asarray(leaf.value) for leaf in arrays]
    inputs, shape = jax.tree.flatten(arguments)

    def traced(values: Arrays, inputs: Arrays) -> Tree:
        return function(whole(values), *jax.tree.unflatten(shape, inputs))

    with batch_errors_explained(batch, "batch", ALLOWED):
        jaxpr, result = jax.make_jaxpr(traced, return_shape=True)(values, inputs)
    form = jax.tree.structure(result)

    def run(values: Arrays, added: dict[Site, jax.Array]) -> tuple[jax.Array, Recorder]:
        recorder = Recorder(added)
        outputs = recorder.run(jaxpr, values, inputs)
        return _loss(jax.tree.unflatten(form, outputs), loss), recorder

    value, recorder = run(values, {})
    rows = recorder.rows()
    zeros = {site: jnp.zeros_like(recorder.results[site][0]) for site in rows}
    gradients_of = jax.grad(lambda *arguments: run(*arguments)[0], argnums=(0, 1), allow_int=True)
    gradients, by_rows = gradients_of(values, zeros)
    weights = [
        (leaf.names[0], array(x), array(gradient) if is_float(x) else None, axes)
        for leaf, x, gradient, axes in zip(arrays, values, gradients, axes_of(arrays), strict=True)
    ]
    activations = numbered([replace(row, **gradient_of(array(by_rows[site]))) for site, row in rows.items()])
    return report(activations, weights, list(map(array, floats_in(arguments))), float(value), loss, learning_rate)


def _loss(output: Tree, loss: Callable[[Any], Any] | None) -> jax.Array:
    value = scalar_loss(output, loss, floats_in(output), lambda x: jnp.mean(jnp.square(x.astype(jnp.float32))))
    return jnp.reshape(jnp.asarray(value), ())
