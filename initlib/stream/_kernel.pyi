from typing import Any

Buffer = Any
Job = object  # a list of weights whose memory is checked

# The code of the dtype, the law, the runs, and the items that the memory must have; then of each tensor the memory (a
# buffer or an address) and the key.
Group = tuple[
    int,
    *tuple[int, int, int, int, int, float, float],
    *tuple[Buffer, Buffer, int, int, int, int, Buffer | None, Buffer | None],
    int,
    tuple[Buffer | int, ...],
    tuple[int, ...],
]

INTERFACE: int

def draw(path: int, table: Buffer, groups: tuple[Group, ...], many: int, /) -> tuple[Job | None, int]: ...
def fill(job: Job, first: int, last: int, /) -> None: ...
def block(key: int, counter: int, /) -> int: ...
def paths() -> tuple[str, ...]: ...
