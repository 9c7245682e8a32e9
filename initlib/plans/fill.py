"""The fill of many tensors: one call draws all weights that laws draw, and the other tensors follow one by one."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from numpy.typing import NDArray

from .._progress import Progress
from ..key import Key
from ..schemes.initializer import Initializer
from ..stream.kernel import Batch, Memory, draws, memory_of
from .entry import Entry

View = TypeVar("View", bound=Any)  # memory that indices cut and that has `nbytes`: an array, or a framework's tensor
Target = tuple[Entry, Any, View]  # an entry, an index into its tensor (`...`: all of it), and the memory of that box


def fill_views(
    targets: Iterable[Target[View]],
    key: Key,
    memory: Callable[[View], Memory | None],
    fill_one: Callable[[Entry, Any, View], None],
    advance: Progress | None = None,
) -> None:
    """Fill memory of a library with boxes of the tensors of a model, under the key of the model.

    `memory` returns the memory that the compiled kernel may fill, None for other memory, and raises where a tensor has
    none. `fill_one` fills any memory. Nothing is written before all targets of the kernel are checked. `advance` is
    called with the bytes that are written and all bytes.
    """
    batch, batched, others = Batch(), [], []
    for target in targets:
        (batched if _add(batch, target, key, memory) else others).append(target)
    done, rest = (sum(view.nbytes for _, _, view in part) if advance else 0 for part in (batched, others))
    if batched:
        batch.fill(advance and (lambda drawn, weights: advance(done * drawn // weights, done + rest)))
    for entry, index, view in others:
        fill_one(entry, index, view)
        if advance:
            done += view.nbytes
            rest -= view.nbytes
            advance(done, done + rest)


def _add(batch: Batch, target: Target[View], key: Key, memory: Callable[[View], Memory | None]) -> bool:
    """Add the weights of a box to a batch, if laws draw all of them into memory of the kernel; return whether."""
    entry, index, view = target
    if not draws(entry.parameter.dtype) or not all(
        isinstance(weight.initializer, Initializer) and not weight.requires_full_draw for weight in entry.pieces
    ):
        return False  # `requests` would compute values here, to be thrown away
    weights = []
    for place, source, request in entry.requests(key, index):
        law = source.request_law(request)
        where = None if law is None else memory(view[(*place, ...)] if place else view)
        if where is None:
            return False
        weights.append((where, law, request))
    for weight in weights:
        batch.add(*weight)
    return True


def fill_arrays(targets: Iterable[Target[NDArray[Any]]], key: Key, advance: Progress | None = None) -> None:
    """Fill arrays with boxes of the tensors of a model, under the key of the model."""
    full = (target for target in targets if target[2].size)  # an empty weight has no law
    fill_views(full, key, memory_of, lambda entry, index, out: entry.draw(key, index, out), advance)
