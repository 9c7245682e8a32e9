"""Plan: the fills of all stored tensors of a model."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .._adapters import framework_of
from .._arguments import as_path
from .._public import public
from ..key import Seed, as_key
from ..stream.boxes import Index
from .checks import check
from .entry import Entry
from .fill import fill_arrays
from .text.errors import PlanError
from .text.nearest import nearest

if TYPE_CHECKING:
    from ..checkpoints.compare import Differences
    from .diff import PlanDiff


@public("initlib")
@dataclass(frozen=True, repr=False)
class Plan:
    """A table with the fill of every stored tensor. A plan and a seed determine the initial state of a model.

    `initlib.plan` makes a plan from parameters and rules. Plans are immutable, and compare by their entries.

    `plan[name]` is the entry of a tensor, by any name of the tensor, and `name in plan` is True for these names.
    Iteration yields the first name of each tensor, in the order of `plan.entries`. `len(plan)` is the number of
    tensors.

    Args:
        entries: an `Entry` for each tensor.

    Raises:
        PlanError: an entry cannot be drawn.
        TypeError: an object is not an `Entry`.

    Example:
        >>> from initlib import Parameter, he_normal, plan
        >>> mlp = [
        ...     Parameter(f"layers.{i}.{name}", shape, axes=axes, kind=kind, owner="Linear")
        ...     for i in range(3)
        ...     for name, shape, axes, kind in (("weight", (64, 64), "OI", "kernel"), ("bias", (64,), None, "bias"))
        ... ]
        >>> print(plan(mlp, he_normal))
        name                   shape  dtype    axes  fan_in  fan_out  initializer     std   bytes  notes
        layers.{0..2}.weight   64x64  float32  OI        64       64  he_normal    0.1768  49,152
        layers.{0..2}.bias     64     float32                         zeros             0     768
        6 parameters, 12,480 weights, 49,920 bytes
        >>> made = plan(mlp, he_normal)
        >>> "layers.0.bias" in made, len(made), [name for name in made if made[name].filling == he_normal]
        (True, 6, ['layers.0.weight', 'layers.1.weight', 'layers.2.weight'])
    """

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(self.entries))
        for entry in self.entries:
            if not isinstance(entry, Entry):
                raise TypeError(
                    f"entries must be made of Entry, got {type(entry).__name__}. Call initlib.plan(parameters, rules)"
                )
        problems = check(self.entries)
        if problems:
            raise PlanError.of(problems)

    @classmethod
    def _of_checked(cls, entries: Iterable[Entry]) -> "Plan":
        """Return the plan of entries in which `check` has found no problem."""
        made = object.__new__(cls)
        object.__setattr__(made, "entries", tuple(entries))
        return made

    @cached_property
    def _by_name(self) -> dict[str, Entry]:
        return {name: entry for entry in self.entries for name in entry.parameter.names}

    def __getitem__(self, name: str) -> Entry:
        """Return the entry of a tensor, by any of its names."""
        try:
            return self._by_name[name]
        except (KeyError, TypeError):
            hint = nearest(str(name), self._by_name, "names")
            raise ValueError(f"name must be the name of a parameter of the plan, got {name!r}{hint}") from None

    def __contains__(self, name: object) -> bool:
        """Return whether the plan has a tensor of this name."""
        return isinstance(name, str) and name in self._by_name

    def __iter__(self) -> Iterator[str]:
        """Yield the first name of each tensor, in the order of the entries."""
        return (entry.parameter.name for entry in self.entries)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self.entries)

    def draw(self, seed: Seed) -> dict[str, NDArray[Any]]:
        """Draw every tensor that the plan does not keep.

        If the fill is an initializer, the array equals `initializer(shape, dtype, axes=axes, seed=seed, name=stream)`.
        `stream` is the name of the parameter, or the new name from `rename=`.

        Args:
            seed: an int, a `Key`, a `numpy.random.Generator`, or None for fresh entropy.

        Returns:
            The arrays, by name.

        Raises:
            ValueError: the plan keeps only a part of a tensor.

        Example:
            >>> from initlib import Parameter, plan, zeros
            >>> plan([Parameter("a", (2,)), Parameter("b", ())], zeros).draw(seed=0)
            {'a': array([0., 0.], dtype=float32), 'b': array(0., dtype=float32)}
        """
        drawn = [(entry, ..., entry.new_array(entry.parameter.shape)) for entry in self.entries if not entry.kept]
        fill_arrays(drawn, as_key(seed))
        return {entry.parameter.name: array for entry, _, array in drawn}

    def draw_one(
        self, name: str, seed: Seed, index: Index | None = None, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Draw one tensor, or one box of a tensor.

        Args:
            name: any name of the tensor.
            seed: an int, a `Key`, a `numpy.random.Generator`, or None for fresh entropy.
            index: the box, as ints and slices; None is the full tensor.
            out: an array to fill; kept weights in the array do not change.

        Returns:
            `out`, or a new array.

        Raises:
            ValueError: the name is unknown, `out` does not fit, or the tensor is kept and `out` is None.

        Example:
            >>> from initlib import Parameter, normal, plan
            >>> table = plan([Parameter("table", (1000, 8), kind="table")], normal(std=0.02))
            >>> bool((table.draw_one("table", 0, index=slice(10, 20)) == table.draw(0)["table"][10:20]).all())
            True
        """
        return self[name].draw(as_key(seed), index, out)

    def diff(self, other: "Plan") -> "PlanDiff":
        """Compare the plan with another plan, and return the changes from this plan to the other.

        Parameters are paired by the names of their streams, then by their own names. Notes, kinds and owners are not
        compared.

        Args:
            other: the plan to compare with.

        Returns:
            The differences, empty (false) if both plans draw the same weights. `print` shows the differences, with
            repeated layers on one line. `to_dicts()` returns the differences as dictionaries.

        Raises:
            TypeError: `other` is not a plan.

        Example:
            >>> from initlib import Parameter, normal, plan
            >>> before = plan([Parameter("mlp.down.weight", (8, 8))], normal(std=0.02))
            >>> after = plan([Parameter("mlp.down.weight", (8, 8))], normal(std=0.01))
            >>> bool(before.diff(before))
            False
            >>> print(before.diff(after))
            mlp.down.weight: initializer normal(std=0.02) → normal(std=0.01), std 0.02 → 0.01 (× 0.5)
            1 changed of 1 parameters
        """
        from .diff import diff

        if not isinstance(other, Plan):
            raise TypeError(f"other must be a Plan, got {type(other).__name__}")
        return diff(self.entries, other.entries)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return a dictionary for each tensor: name, shape, dtype, axes, fans, initializer, std, bytes and notes.

        Returns:
            The dictionaries. For a tensor that packs several weights, `parts` is a list of dictionaries, one for each
            weight.

        Example:
            >>> from initlib import Parameter, he_normal, plan
            >>> (row,) = plan([Parameter("w", (8, 2), axes="OI", kind="kernel")], he_normal).to_dicts()
            >>> row["fan_in"], row["initializer"], row["std"]
            (2, 'he_normal', 1.0)
        """
        from .text.table import rows

        return rows(self.entries)

    def table(self, *, fold: bool = True) -> str:
        """Return the printed table of the plan as text.

        Args:
            fold: True puts repeated layers on one line; False gives each tensor a line of its own.

        Returns:
            Aligned text.

        Example:
            >>> from initlib import Parameter, normal, plan
            >>> made = plan([Parameter(f"h.{i}.w", (2,)) for i in range(9)], normal())
            >>> len(made.table().splitlines()), len(made.table(fold=False).splitlines())
            (3, 11)
        """
        from .text.table import table

        return table(self.entries, fold)

    def to_json(self) -> str:
        """Return the plan as JSON text.

        Returns:
            The text. `from_json` makes an equal plan from the text.

        Raises:
            ValueError: an initializer is not from initlib.

        Example:
            >>> from initlib import Parameter, normal, plan
            >>> text = plan([Parameter("w", (8, 2))], normal()).to_json()
            >>> text.startswith("{"), text.endswith("}\\n")
            (True, True)
        """
        from .text.json_encoding import encode

        return encode(self.entries)

    @classmethod
    def from_json(cls, text: str, *, sources: Mapping[str, str | os.PathLike[str]] | None = None) -> "Plan":
        """Make the plan from JSON text. The text contains no code, and nothing is executed.

        Args:
            text: the text that `to_json` returned.
            sources: a mapping from each path in the text to the path of the checkpoint that the plan may read (see
                `loaded`). No other file is opened. A draw of weights from a file that is not in `sources` raises an
                error.

        Returns:
            The plan.

        Raises:
            PlanError: a checkpoint of `sources` cannot be read, or differs from the checkpoint of the plan.
            TypeError: `sources` is not a mapping.
            ValueError: the text is not in the format that this version of initlib writes, or `sources` has a path that
                is not in the text.

        Example:
            >>> from initlib import Parameter, he_normal, plan
            >>> kernel = plan([Parameter("w", (8, 2), axes="OI", kind="kernel")], he_normal)
            >>> Plan.from_json(kernel.to_json()) == kernel
            True
        """
        from .fills.sources import source_path
        from .text.json_decoding import decode

        if not isinstance(sources, Mapping | None):
            raise TypeError(f"sources must be a mapping from paths in the text to paths, got {sources!r}")
        paths = None if sources is None else {path: source_path(place) for path, place in sources.items()}
        return cls(tuple(decode(text, paths)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan to a file as JSON text. An interrupted call leaves no incomplete file.

        Args:
            path: the file; an existing file is replaced.

        Raises:
            OSError: the file cannot be written.
            ValueError: an initializer is not from initlib, or the plan reads the file.

        Example:
            >>> import tempfile
            >>> from initlib import Parameter, normal, plan
            >>> path = tempfile.mkdtemp() + "/plan.json"
            >>> plan([Parameter("w", (8, 2))], normal()).save(path)
        """
        from ..files.atomic_write import atomic_write
        from .fills.opened_sources import is_source

        text = self.to_json()
        if is_source(as_path(path), self.entries):
            raise ValueError(f"path must not be a file that the plan reads, got {os.fspath(path)!r}. Pass another path")
        with atomic_write(path) as file:
            file.write(text.encode())

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, sources: Mapping[str, str | os.PathLike[str]] | None = None
    ) -> "Plan":
        """Read the plan that `save` wrote.

        Args:
            path: the file.
            sources: as for `from_json`.

        Returns:
            The plan.

        Raises:
            OSError: the file cannot be read.
            PlanError: as for `from_json`.
            TypeError: as for `from_json`.
            ValueError: the file does not contain a plan.

        Example:
            >>> import tempfile
            >>> from initlib import Parameter, normal, plan
            >>> path, made = tempfile.mkdtemp() + "/plan.json", plan([Parameter("w", (8, 2))], normal())
            >>> made.save(path)
            >>> Plan.load(path) == made
            True
        """
        from .text.json_decoding import read

        return cls.from_json(read(path), sources=sources)

    def write(
        self,
        folder: str | os.PathLike[str],
        seed: Seed,
        *,
        max_shard_size: int | str = "5GB",
        overwrite: bool = False,
        only: slice | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[Path, ...]:
        """Write the checkpoint of the plan and a seed: safetensors files that frameworks load.

        Files have the names that Hugging Face's libraries use. Tied tensors are stored once, under their first name.
        Kept tensors are omitted, with a warning. An interrupted call leaves no incomplete file, and the next call
        writes the missing files. Memory use does not grow with the size of the model.

        Args:
            folder: the folder of the files.
            seed: an int, a `Key` or a `numpy.random.Generator`.
            max_shard_size: the largest size of a file, in bytes or as "5GB". A larger model is split into several files
                and an index.
            overwrite: True replaces other files of the same names.
            only: the slice of the ordered files that this call writes, such as `slice(3, None, 64)` in the fourth of 64
                processes.
            progress: a function that receives the bytes written so far and the bytes of all files.

        Returns:
            The files that this call wrote.

        Raises:
            FileExistsError: the folder holds files of another checkpoint, or, with `overwrite=False`, files of the same
                names.
            OSError: the disk has no room.
            TypeError: `seed` is None.
            ValueError: no file can hold the tensors, or a file would replace a checkpoint that the plan reads.

        Example:
            >>> import tempfile
            >>> from initlib import Parameter, normal, plan
            >>> folder = tempfile.mkdtemp()
            >>> made = plan([Parameter("table", (100, 8), "float16")], normal(std=0.02))
            >>> [path.name for path in made.write(folder, seed=0)]
            ['model.safetensors']
            >>> made.write(folder, seed=0), made.verify(folder, seed=0)
            ((), ())
        """
        from ..checkpoints.write import write

        return write(
            self.entries, folder, seed, max_shard_size=max_shard_size, overwrite=overwrite, only=only, progress=progress
        )

    def verify(
        self,
        path: str | os.PathLike[str],
        seed: Seed,
        *,
        whole: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> "Differences":
        """Compare a checkpoint with the weights of the plan and a seed.

        The comparison covers the name, shape and dtype of every tensor, and samples of its weights. For kept tensors,
        only the shape and the dtype are compared, and a kept tensor may be missing.

        Args:
            path: a safetensors file, an index file, or a folder with "model.safetensors" or its index.
            seed: the seed of the checkpoint.
            whole: True compares every number, not only samples.
            progress: a function that receives the bytes compared so far and the bytes of all files.

        Returns:
            The differences, empty if there are none. A difference has the fields `name`, `what` (the property that
            differs), `index` (of the first number that differs) and `holds` (see `initlib.adapters.torch.verify`).

        Raises:
            OSError: the files cannot be read.
            TypeError: `path` is neither a string nor a path.
            ValueError: the path is not a checkpoint.

        Example:
            >>> import tempfile
            >>> from initlib import Parameter, normal, plan
            >>> folder = tempfile.mkdtemp()
            >>> made = plan([Parameter("table", (100, 8), "float16")], normal(std=0.02))
            >>> _ = made.write(folder, seed=0)
            >>> for difference in made.verify(folder, seed=1):
            ...     print(difference)
            'table' has other values from index (0, 0) on
        """
        from ..checkpoints.verify import verify

        if not isinstance(path, (str, os.PathLike)):
            framework = framework_of(path) or "torch"
            raise TypeError(
                f"path must be the path of a checkpoint, got {type(path).__name__}. "
                f"For a model: initlib.adapters.{framework}.verify(model, plan, seed)"
            )
        return verify(self.entries, path, seed, whole=whole, progress=progress)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        weights = sum(entry.parameter.size for entry in self.entries)
        return f"Plan({len(self.entries):,} parameters, {weights:,} weights)"
