"""Plan: what fills every stored tensor of a model."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..key import as_key
from ..schemes.initializer import Initializer
from .checks import Problem, check
from .entry import Entry
from .errors import PlanError
from .folding import fold
from .hints import nearest, unused
from .parameter import Parameter, as_axes
from .patterns import Ordered, Rename, as_rename
from .rules import NoRule, Rules

if TYPE_CHECKING:
    from ..checkpoints.verify import Difference

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, repr=False)
class Plan:
    """What fills every stored tensor of a model: immutable, comparable, and with a seed its initial state."""

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(self.entries))
        problems = check(self.entries)
        if problems:
            raise PlanError(_gathered(problems))

    @cached_property
    def _by_name(self) -> dict[str, Entry]:
        return {name: entry for entry in self.entries for name in entry.parameter.names}

    def __getitem__(self, name: str) -> Entry:
        """The entry of a stored tensor, by any of its names."""
        try:
            return self._by_name[name]
        except KeyError:
            hint = nearest(str(name), self._by_name, "names")
            raise ValueError(f"name must be a parameter of the plan, got {name!r}{hint}") from None

    def draw(self, seed: Any) -> dict[str, NDArray[Any]]:
        """Draw every tensor that is not kept, by name."""
        key = as_key(seed)
        return {entry.parameter.name: entry.draw(key) for entry in self.entries if not entry.kept}

    def draw_one(self, name: str, seed: Any, index: Any = None, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Draw one tensor, or a box of it, into `out` if it is given."""
        return self[name].draw(as_key(seed), index, out)

    def to_json(self) -> str:
        """The plan as JSON text, which `from_json` reads."""
        from .encoding import encode

        return encode(self.entries)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The plan of JSON text; nothing in it is run."""
        from .encoding import decode

        return cls(decode(text))

    def save(self, path: str | Path) -> None:
        """Write the plan to a file, as JSON."""
        text = self.to_json()
        Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Plan":
        """Read a plan that `save` wrote."""
        return cls.from_json(Path(path).read_text(encoding="utf-8"))

    def write(
        self,
        folder: str | Path,
        seed: Any,
        *,
        max_shard_size: int | str = "5GB",
        overwrite: bool = False,
        only: slice | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[Path, ...]:
        """Write the checkpoint that the plan and a seed are: safetensors files that frameworks load.

        >>> import tempfile
        >>> from initlib import Parameter, normal, plan
        >>> folder = tempfile.mkdtemp()
        >>> made = plan([Parameter("table", (100, 8), "float16")], normal(std=0.02))
        >>> [path.name for path in made.write(folder, seed=0)]
        ['model.safetensors']
        >>> made.write(folder, seed=0), made.verify(folder, seed=0)
        ((), ())

        Returns the files that it wrote. A model that is larger than `max_shard_size` takes several, and an index,
        named as Hugging Face's libraries name them; tied tensors are stored once, under their first name, and what
        the plan keeps is left out, with a warning. Each file is there whole or not at all: called again after it was
        interrupted, it goes on with those that are missing. `only` is the slice of the files, in order, that this
        call writes: `slice(3, None, 64)` in the fourth of 64 processes. `progress` is called with the bytes that are
        done and all of them. The memory that it takes does not grow with the model.
        Raises FileExistsError where the folder holds another checkpoint's files, `overwrite` or not; or other files
        of the same names, unless `overwrite`; OSError where the disk has no room; ValueError for what no file can
        hold.
        """
        from ..checkpoints.writer import write

        return write(
            self, folder, seed, max_shard_size=max_shard_size, overwrite=overwrite, only=only, progress=progress
        )

    def verify(
        self,
        path: str | Path,
        seed: Any,
        *,
        whole: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> "tuple[Difference, ...]":
        """Compare a checkpoint with what the plan and a seed are; nothing differs where the result is empty.

        >>> import tempfile
        >>> from initlib import Parameter, normal, plan
        >>> folder = tempfile.mkdtemp()
        >>> made = plan([Parameter("table", (100, 8), "float16")], normal(std=0.02))
        >>> _ = made.write(folder, seed=0)
        >>> for difference in made.verify(folder, seed=1):
        ...     print(difference)
        'table' differs from weight (0, 0) on

        The path is a safetensors file, an index, or a folder with one of them under its usual name. Every tensor's
        name, shape and dtype is compared, and of its weights samples, or the `whole`; what the plan keeps is not. Each
        difference has a `name`, `what` differs, and the `index` of the first weight that does. Raises OSError, or
        ValueError where the path is no checkpoint.
        """
        from ..checkpoints.verify import verify

        return verify(self, path, seed, whole=whole, progress=progress)

    def to_dicts(self) -> list[dict[str, Any]]:
        """A row for each tensor."""
        from .table import rows

        return rows(self.entries)

    def table(self, *, fold: bool = True) -> str:
        """The plan as a table for people; `fold=False` gives every tensor a line of its own."""
        from .table import table

        return table(self.entries, fold)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"Plan({len(self.entries)} parameters, {sum(entry.parameter.size for entry in self.entries):,} weights)"


def plan(
    parameters: Iterable[Parameter],
    rules: Any = None,
    *,
    default: Any = None,
    rename: Any = None,
    axes: Mapping[Any, str] | None = None,
) -> Plan:
    """Make the plan of a model's parameters."""
    if isinstance(rules, Initializer):
        if default is not None:
            raise TypeError(f"rules {rules!r} is a default, and default={default!r} is given too; give one")
        rules, default = None, rules
    known, told, new_name = Rules(rules, default), Ordered(axes, "axes", as_axes), as_rename(rename)
    problems: list[Problem] = []
    entries: list[Entry] = []
    seen: list[Parameter] = []  # under their new names: what the patterns see
    for parameter in parameters:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"parameters must be made of initlib.Parameter, got {parameter!r}")
        try:
            renamed = [_renamed(parameter, new_name(name)) for name in parameter.names]
            seen += renamed
            entries.append(_entry(parameter, renamed, known, told))
        except NoRule as error:
            hint = nearest(renamed[0].name, [pattern.text for pattern in known.rules.patterns], "patterns")
            problems.append((parameter.name, f"{error}{hint}"))
        except (TypeError, ValueError) as error:
            problems.append((parameter.name, str(error)))
    for said, what in ((known.rules, "rule"), (told, "axes")):
        problems += [("", unused(pattern, seen, before, what)) for pattern, before in said.unused()]
    if isinstance(new_name, Rename):
        problems += [("", f"rename {pattern!r} matches nothing") for pattern in new_name.unused()]
    if problems:
        raise PlanError(_gathered(problems + check(entries)))
    return Plan(tuple(entries))


def _renamed(parameter: Parameter, name: str) -> Parameter:
    return parameter if name == parameter.name else replace(parameter, name=name)


def _entry(parameter: Parameter, renamed: list[Parameter], rules: Rules, told: Ordered) -> Entry:
    """The entry of a parameter, of which `renamed` has one for each of its names."""
    axes = told.first(renamed[0]) or parameter.axes
    first, *ties = renamed if axes == parameter.axes else [replace(each, axes=axes) for each in renamed]
    filling, notes = rules.filling(first)
    for tie in ties:
        said = rules.rules.first(tie)
        if said is not None and rules.made(said, tie) != filling:
            raise ValueError(f"it is tied to {tie.name}, for which the rules say {said!r}, not {filling!r}")
    if parameter.tied:
        notes = (*notes, f"tied: {', '.join(parameter.tied)}")
    if parameter.padding is not None and isinstance(filling, Initializer):
        notes = (*notes, f"row {parameter.padding} zero")
    return Entry(replace(parameter, axes=axes, default=None), first.name, filling, notes)


def _gathered(problems: list[Problem]) -> list[str]:
    """The problems as lines, with the names of one problem folded."""
    by_text: dict[str, list[str]] = {}
    for name, text in problems:
        by_text.setdefault(text, []).append(name)
    lines = []
    for text, names in by_text.items():
        for name in (folded for folded, _ in fold((name, None) for name in names)):
            lines.append(f"{name}: {text}" if name else text)
    return lines
