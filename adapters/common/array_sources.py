"""Arrays in memory that the fills of a plan read. They must not share memory with the model that is filled."""

from collections.abc import Iterable, Iterator

from initlib.plans.entry import Entry
from initlib.plans.rules.loaded import ArraySource, Loaded

MESSAGE = (
    "{name}: {source} must not read the memory of the model, which is written to; pass copies, or keep these weights"
)


def array_sources(entries: Iterable[Entry]) -> Iterator[tuple[Entry, Loaded, object]]:
    """Yield each fill that reads an array in memory: its entry, the fill and the array."""
    for entry in entries:
        for addend in entry.added:
            for term in addend.terms:
                if isinstance(term, Loaded) and isinstance(term.source, ArraySource):
                    yield entry, term, term.array
