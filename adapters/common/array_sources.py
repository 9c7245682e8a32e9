"""Arrays in memory that the fills of a plan read. They must not share memory with the model that is filled."""

from collections.abc import Callable, Iterable

from initlib.plans.entry import Entry
from initlib.plans.fills.loaded import Loaded
from initlib.plans.fills.sources import ArraySource

MESSAGE = (
    "{name}: {source} must not read the memory of the model, which is written to; pass copies, or keep these weights"
)


def read_from_model(entries: Iterable[Entry], is_written: Callable[[object], bool]) -> list[str]:
    """Return a problem for each entry that reads an array in memory that the fill of the model writes to."""
    problems = {}
    for entry in entries:
        for addend in entry.added:
            for term in addend.terms:
                if isinstance(term, Loaded) and isinstance(term.source, ArraySource) and is_written(term.array):
                    name = entry.parameter.name
                    problems[name] = MESSAGE.format(name=name, source=term)
    return list(problems.values())
