"""Fill of many tensors: one call draws all weights that laws draw, and the other tensors follow one by one."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from .._collector import collector_paused
from .._progress import Progress
from ..key import Key, folded_seed
from ..schemes.initializer import Initializer
from ..stream.kernel import Batch, Group, Memory, draws, memory_of
from .entry import Entry

View = TypeVar("View", bound=Any)  # memory with indexing and `nbytes`: an array, or a framework's tensor
Target = tuple[Entry, Any, View]  # an entry, an index into its tensor (`...`: all of it), and the memory of that box


class Fills(Generic[View]):
    """Boxes of the tensors of a model, checked, and ready to be written to memory of a library.

    Args:
        key: the key of the model.
        memory: a function that returns the memory that the compiled kernel may fill, and None for other memory. The
            function raises an error for a tensor without memory.
    """

    def __init__(self, key: Key, memory: Callable[[View], Memory | None]) -> None:
        self._key, self._memory = key, memory
        self._full: dict[Any, Group] = {}  # the groups of tensors that are one weight, by the facts of repeated layers
        self._batch = Batch()
        self._batched: list[Target[View]] = []
        self._others: list[Target[View]] = []

    def add(self, targets: Iterable[Target[View]], memory: Callable[[View], Memory | None] | None = None) -> None:
        """Add boxes. `memory` replaces the function of the constructor, for views that need fewer checks."""
        memory = memory or self._memory
        with collector_paused():
            for target in targets:
                try:
                    where = memory(target[2])
                except ValueError as error:
                    raise ValueError(f"{target[0].parameter.name}: {error}") from None
                is_batched = self._add(*target, where)
                (self._batched if is_batched else self._others).append(target)

    def fill(self, fill_one: Callable[[Entry, Any, View], object], advance: Progress | None = None) -> None:
        """Write all boxes: one call of the kernel for all boxes that laws draw, then `fill_one` for each other box.

        `advance` receives the number of bytes written so far and the number of all bytes.
        """
        done, rest = (
            sum(view.nbytes for _, _, view in part) if advance else 0 for part in (self._batched, self._others)
        )
        if self._batched:
            self._batch.fill(advance and (lambda drawn, count: advance(done * drawn // count, done + rest)))
        for entry, index, view in self._others:
            fill_one(entry, index, view)
            if advance:
                done, rest = done + view.nbytes, rest - view.nbytes
                advance(done, done + rest)

    def _add(self, entry: Entry, index: Any, view: View, where: Memory | None) -> bool:
        """Add the weights of a box to the batch; return False if the kernel cannot draw all of them."""
        if where is None:
            return False
        start, strides, span = where
        parameter = entry.parameter
        is_one_weight = index is ... and parameter.padding is None
        alike = id(entry.filling), parameter.form, strides, span
        group = self._full.get(alike) if is_one_weight else None
        if group is not None:
            group[0].append(start)
            group[1].append(folded_seed(self._key, entry.stream))
            return True
        weights = self._weights(entry, index, view)
        for (start, *_), seed, group in weights:
            group[0].append(start)
            group[1].append(seed)
        if is_one_weight and weights and isinstance(entry.filling, Initializer):
            self._full[alike] = weights[0][2]
        return bool(weights)

    def _weights(self, entry: Entry, index: Any, view: View) -> list[tuple[Memory, int, Group]]:
        """Return the memory, the seed of the key and the group of each weight in a box; none if a weight has no law."""
        if not draws(entry.parameter.dtype) or not all(
            isinstance(weight.initializer, Initializer) and not weight.requires_full_draw for weight in entry.pieces
        ):
            return []  # before `requests`, which would compute values in vain
        weights = []
        for place, source, request in entry.requests(self._key, index):
            assert isinstance(source, Initializer)
            law, where = source.request_law(request), self._memory(view[(*place, ...)])
            if law is None or where is None:
                return []
            weights.append((where, request.key.seed, self._batch.group(where, law, request)))
        return weights


def fill_arrays(targets: Iterable[Target[NDArray[Any]]], key: Key) -> None:
    """Fill arrays with boxes of the tensors of a model, under the key of the model."""
    full = (target for target in targets if target[2].size)  # an empty weight has no law
    fills = Fills(key, memory_of)
    fills.add(full)
    fills.fill(lambda entry, index, out: entry.draw(key, index, out))
