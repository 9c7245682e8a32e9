"""Loaded: a fill with a tensor of a checkpoint, or with a slice of the tensor."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any

from numpy.typing import ArrayLike, NDArray

from ..._adapters import adapter, framework_of
from ..._arguments import integer, real
from ..._public import public
from ...axes import canonical
from ...axes import check as check_axes
from ...dtypes import DTYPES, dtype_name
from ...files.printable import printable
from ...stream.boxes import Box, Index, box_shape, normalize_index, part_inside
from ...stream.engine import DrawRequest
from ..packing.part_axes import ROW_MAJOR
from ..parameter import check_name
from ..text.nearest import nearest
from .sources import ArraySource, FileSource, array_in, source_path
from .sums import Term

# An entry of an index, with a slice as a tuple, which can be hashed.
HashableEntry = int | tuple[int | None, int | None, int | None] | EllipsisType


@dataclass(frozen=True, repr=False)
class Loaded(Term):
    """A tensor of a checkpoint, or a slice of the tensor, times a factor."""

    source: FileSource | ArraySource
    name: str | None = None  # None: the name of the parameter
    index: tuple[HashableEntry, ...] | None = None
    axes: str | None = None
    scale: float = 1.0

    def __mul__(self, factor: float) -> "Loaded":
        return replace(self, scale=real(self.scale * real(factor, "factor"), "scale"))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return self.text(str(self.source), repr(self.scale))

    def text(self, source: str, scale: str) -> str:
        """Return the code that makes the fill, with texts for the source and for the factor."""
        arguments = [source]
        if self.name is not None:
            arguments.append(json.dumps(self.name, ensure_ascii=False))
        if self.index is not None:
            index = [slice(*each) if isinstance(each, tuple) else each for each in self.index]
            arguments.append(f"index={index[0] if len(index) == 1 else tuple(index)!r}")
        if self.axes is not None:
            arguments.append(f"axes={json.dumps(self.axes)}")
        return f"loaded({', '.join(arguments)})" + (f" * {scale}" if self.scale != 1 else "")

    def resolved(self, names: Iterable[str], source: FileSource | ArraySource) -> "Loaded":
        """Return the fill with an opened source, and with the first name that is in the source.

        `names` are the names of the parameter, for a fill without a name. Raises ValueError if the source has no such
        name.
        """
        every = [self.name] if self.name is not None else list(names)
        tensors = source.tensors()
        name = next((each for each in every if each in tensors), None)
        if name is None:
            near = nearest(every[0], map(str, tensors), "names")
            raise ValueError(
                f"name must be the name of a tensor in {source}, got {printable(every[0])!r}"
                f"{near or '. Pass the name that the source has: loaded(source, name)'}"
            )
        array_in(tensors, name)
        return replace(self, source=source, name=name)

    @property
    def _resolved_name(self) -> str:
        """Return the name of the tensor. Raises ValueError before a plan has resolved it."""
        if self.name is None:
            raise ValueError(f"{self!r} must have a name before it is read. Make the plan by initlib.plan")
        return self.name

    @property
    def array(self) -> Any:
        """Return the array in memory, or the place of the tensor in a file."""
        return self.source.tensors()[self._resolved_name]

    @property
    def dtype(self) -> str:
        """Return the name of the dtype in the source. Raises TypeError for a dtype that weights cannot have."""
        return dtype_name(self.array.dtype)

    def check_unchanged(self) -> None:
        """Raise ValueError if the source was not opened, or has changed."""
        self.source.check_unchanged(self._resolved_name)

    @property
    def is_complex(self) -> bool:
        """Return whether the tensor is known to hold complex numbers."""
        return self.source.opened is not None and DTYPES[self.dtype].part is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the tensor or of the slice, in the order of the source."""
        return box_shape(self._box)

    @property
    def _box(self) -> Box:
        """Return the box of the tensor that the index takes."""
        if self.index is None:
            return normalize_index(..., tuple(self.array.shape))
        entries = tuple(slice(*each) if isinstance(each, tuple) else each for each in self.index)
        return normalize_index(entries, tuple(self.array.shape))

    def check(self, name: str, shape: tuple[int, ...], axes: str) -> None:
        """Raise ValueError unless the tensor or the slice fits a weight of that shape and axes."""
        if self.source.opened is None:
            return
        try:
            self.dtype  # noqa: B018
            if framework_of(self.array) == "torch":
                adapter("torch", "drawing.memory").check_readable(self.array)
        except TypeError as error:
            raise ValueError(f"{self!r}: {error}") from None
        self._order(shape, axes)

    def _order(self, shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
        """Return, for each axis of a weight, the axis of the slice of the tensor."""
        stored = self.shape
        if self.axes is None or len(shape) < 2:
            if stored != shape:
                swapped = sorted(stored) == sorted(shape)
                advice = '. For another order of axes pass axes=, such as "IO" for a file of Keras or JAX' * swapped
                raise ValueError(f"{self!r} must have shape {shape}, got {stored}{advice}")
            return tuple(range(len(shape)))
        if axes == ROW_MAJOR:
            raise ValueError(
                f"{self!r} needs the axes of the parameter, which are unknown. Pass axes= to the plan, or omit "
                "axes= in loaded"
            )
        order: dict[int, int] = {}
        steps, own = canonical(stored, self.axes).steps, canonical(shape, axes).steps
        is_like = len(steps) == len(own) and all(
            (step, size) == (own_step, own_size) and order.setdefault(axis, at) == at
            for (at, step, size), (axis, own_step, own_size) in zip(steps, own, strict=True)
        )
        is_like = is_like and len({*order.values()}) == len(shape) == len(stored)
        if not is_like:
            raise ValueError(f"{self!r} must have the axes {axes} of shape {shape} in any order, got shape {stored}")
        return tuple(order[axis] for axis in range(len(shape)))

    def read(self, request: DrawRequest) -> NDArray[Any]:
        """Return the values in the box of a draw request, in the dtype of the source and without the factor."""
        order = self._order(request.shape, request.axes or ROW_MAJOR)
        taken = dict(zip(order, request.parts, strict=True))
        kept = iter(range(len(order)))
        box = tuple(part if part.drop else part_inside(part, taken[next(kept)]) for part in self._box)
        values = self.source.read(self._resolved_name, box)
        sliced = values.reshape([part.size for part, whole in zip(box, self._box, strict=True) if not whole.drop])
        return sliced.transpose(order).reshape(request.out_shape)


@public("initlib")
def loaded(
    source: str | os.PathLike[str] | Mapping[str, ArrayLike],
    name: str | None = None,
    *,
    index: Index | None = None,
    axes: str | None = None,
    scale: float = 1.0,
) -> Loaded:
    """Make a fill from a tensor of a checkpoint, or from a slice of the tensor.

    A plan reads only the headers of its checkpoints. A draw reads only the boxes that the draw fills, piece by piece.
    So each rank reads only its shard, and `Plan.write` needs little memory. With a `scale` of 1, weights of the same
    dtype keep their bits. All other weights are multiplied by `scale` in float32 (float64 if the source or the
    parameter is float64), and rounded once.

    A fill times a number scales the old weights. A sum may add old weights, `values(...)` and at most one initializer.
    The terms are added in order, and the weights of the initializer last. The initializer draws under the parameter's
    own name, so two copies of one old tensor get different noise.

    Args:
        source: a safetensors file, an index file, a folder with "model.safetensors" or its index, or a mapping from
            names to arrays. The arrays may be NumPy arrays (also memory maps), JAX arrays or PyTorch tensors.
        name: the name of the tensor in the source. Each `*` becomes the text that a `*` in the rule's pattern matches,
            as in `rename`. None is the name of the parameter, or of the part in `parts`.
        index: ints and slices that take a slice of the stored tensor.
        axes: the axes string of the stored tensor after `index`, such as "IO" for most files of Keras and JAX. Needed
            only if the parameter has another order of axes. No effect on weights of fewer than two axes.
        scale: the factor of the old weights.

    Returns:
        A value for `rules=`.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: an argument has a value that is not allowed. A draw raises ValueError if a file has changed.
        PlanError: `plan` raises PlanError if a file or a tensor is missing or does not fit.

    Example:
        >>> import numpy as np
        >>> from initlib import Parameter, normal, plan
        >>> old = {"mlp.weight": np.eye(4, dtype="float32")}
        >>> experts = [Parameter(f"experts.{i}.weight", (4, 4)) for i in range(2)]
        >>> made = plan(experts, {"experts.*.weight": loaded(old, "mlp.weight") + normal(std=0.001)})
        >>> first, second = made.draw(seed=0).values()
        >>> bool((first != second).any()), bool(np.allclose(first, np.eye(4), atol=0.01))
        (True, True)
        >>> loaded("old.safetensors", "layers.0.w", index=slice(0, 8)) * 0.5
        loaded("old.safetensors", "layers.0.w", index=slice(0, 8, None)) * 0.5
    """
    made = ArraySource(source) if isinstance(source, Mapping) else FileSource(source_path(source))
    if name is not None:
        check_name(name, "name")
    check_axes(axes)
    return Loaded(made, name, None if index is None else _entries(index), axes, real(scale, "scale"))


def _entries(index: Any) -> tuple[HashableEntry, ...]:
    """Return an index as entries that can be hashed."""
    entries: list[HashableEntry] = []
    for each in index if isinstance(index, tuple) else (index,):
        if each is Ellipsis:
            entries.append(...)
        elif isinstance(each, slice):
            ends = (each.start, each.stop, each.step)
            start, stop, step = (None if end is None else integer(end, "index") for end in ends)
            entries.append((start, stop, step))
        else:
            entries.append(integer(each, "index"))
    if entries.count(...) > 1:
        raise ValueError(f"index must have at most one ..., got {index!r}")
    return tuple(entries)
