"""Plan: what fills every stored tensor of a model."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..key import as_key
from .checks import check
from .entry import Entry
from .errors import PlanError
from .hints import nearest

__all__ = ["Plan"]


@dataclass(frozen=True, repr=False)
class Plan:
    """What fills every stored tensor of a model: immutable, comparable, and with a seed its initial state.

    >>> from initlib import Parameter, he_normal, plan
    >>> mlp = [
    ...     Parameter(f"layers.{i}.{name}", shape, axes=axes, kind=kind, owner="Linear")
    ...     for i in range(3)
    ...     for name, shape, axes, kind in (("weight", (64, 64), "OI", "kernel"), ("bias", (64,), None, "bias"))
    ... ]
    >>> print(plan(mlp, he_normal))
    name                   shape  dtype    axes  fan_in  fan_out  initializer     std   bytes  notes
    layers.{0..2}.weight   64x64  float32  OI        64       64  he_normal    0.1768  16,384
    layers.{0..2}.bias     64     float32                         zeros             0     256
    6 parameters, 12,480 weights, 49,920 bytes

    `entries` has an `Entry` for each tensor, and `plan[name]` is the one of that name. `plan` makes it of parameters
    and rules. Raises PlanError for entries that cannot be drawn.
    """

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(self.entries))
        problems = check(self.entries)
        if problems:
            raise PlanError.of(problems)

    @cached_property
    def _by_name(self) -> dict[str, Entry]:
        return {name: entry for entry in self.entries for name in entry.parameter.names}

    def __getitem__(self, name: str) -> Entry:
        """The entry of a tensor, by any of its names."""
        try:
            return self._by_name[name]
        except KeyError:
            hint = nearest(str(name), self._by_name, "names")
            raise ValueError(f"name must be that of a parameter of the plan, got {name!r}{hint}") from None

    def draw(self, seed: Any) -> dict[str, NDArray[Any]]:
        """Draw every tensor that is not kept: names and arrays.

        >>> from initlib import Parameter, plan, zeros
        >>> plan([Parameter("a", (2,)), Parameter("b", ())], zeros).draw(seed=0)
        {'a': array([0., 0.], dtype=float32), 'b': array(0., dtype=float32)}

        `seed` is an int, a `Key`, a `numpy.random.Generator`, or None for fresh entropy. Each weight is
        `initializer(shape, dtype, axes=axes, seed=seed, name=stream)`. Raises ValueError for a tensor that is kept in
        part.
        """
        key = as_key(seed)
        return {entry.parameter.name: entry.draw(key) for entry in self.entries if not entry.kept}

    def draw_one(self, name: str, seed: Any, index: Any = None, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Draw one tensor, or a box of it, alone.

        >>> from initlib import Parameter, normal, plan
        >>> table = plan([Parameter("table", (1000, 8), kind="table")], normal(std=0.02))
        >>> bool((table.draw_one("table", 0, index=slice(10, 20)) == table.draw(0)["table"][10:20]).all())
        True

        `index` is made of ints and slices, as for an array; `out` is filled and returned, and what is kept stays as it
        is there. Raises ValueError for an unknown name, an `out` that does not fit, and what is kept without `out`.
        """
        return self[name].draw(as_key(seed), index, out)

    def to_dicts(self) -> list[dict[str, Any]]:
        """A row for each tensor: name, shape, dtype, axes, fan_in, fan_out, initializer, std, bytes, notes and more.

        >>> from initlib import Parameter, he_normal, plan
        >>> (row,) = plan([Parameter("w", (8, 2), axes="OI", kind="kernel")], he_normal).to_dicts()
        >>> row["fan_in"], row["initializer"], row["std"]
        (2, 'he_normal', 1.0)

        The rows under `parts` are those of the weights in a tensor that is several.
        """
        from .table import rows

        return rows(self.entries)

    def table(self, *, fold: bool = True) -> str:
        """The plan as a table for people, which `print` prints; `fold=False` gives each tensor a line of its own."""
        from .table import table

        return table(self.entries, fold)

    def to_json(self) -> str:
        """The plan as JSON text. Raises ValueError for an initializer that is not initlib's own."""
        from .encoding import encode

        return encode(self.entries)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The plan of a JSON text, of which nothing is run.

        >>> from initlib import Parameter, he_normal, plan
        >>> kernel = plan([Parameter("w", (8, 2), axes="OI", kind="kernel")], he_normal)
        >>> Plan.from_json(kernel.to_json()) == kernel
        True

        Raises ValueError for a text that this version of initlib does not write.
        """
        from .encoding import decode

        return cls(tuple(decode(text)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan to a file, as JSON text. Raises as `to_json` does, before anything is written."""
        text = self.to_json()
        Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Plan":
        """Read the plan that `save` wrote. Raises as `from_json` does."""
        from .encoding import read

        return cls.from_json(read(path))

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        weights = sum(entry.parameter.size for entry in self.entries)
        return f"Plan({len(self.entries):,} parameters, {weights:,} weights)"
