from typing import Any

Buffer = Any

def fill(
    path: int,
    out: Buffer,
    dtype: int,
    key: int,
    law: tuple[int, int, int, int, int, float, float],
    table: Buffer,
    runs: tuple[Buffer, Buffer, int, int, int, int, Buffer | None, Buffer | None],
    first: int,
    last: int,
    /,
) -> None: ...
def block(key: int, counter: int, /) -> int: ...
def paths() -> tuple[str, ...]: ...
