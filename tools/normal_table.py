"""Make `initlib/stream/normal_table.py`: the integer cubics of the normal quantile, fitted in high precision.

    python tools/normal_table.py          # prints the file
    python tools/normal_table.py --check  # compares the output with the frozen file

A row covers an eighth of an octave of the tail t (31 bits, in units of 2**-32): t = 2**e * (1 + (j + u) / 8) with
0 <= u < 1. Row 8 e + j holds the cubic in u of the noise n = -quantile(t / 2**32) * 2**21, in the arithmetic of
`initlib.stream.reference.normal`. Row 248 is the one value t = 2**31, which float32 rounding can reach.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from mpmath import mp, mpf

mp.dps = 40

NOISE_BITS = 21  # noise is in units of 2**-21 sigma
TARGET = Path(__file__).resolve().parent.parent / "initlib" / "stream" / "normal_table.py"


def quantile(tail: mpf) -> mpf:
    """Return the z > 0 whose upper tail is `tail` <= 1/2."""
    if tail == mpf(1) / 2:
        return mpf(0)
    return mp.sqrt(2) * mp.erfinv(1 - 2 * tail)


@cache
def noise(t: mpf) -> mpf:
    """Return the noise of the tail t / 2**32, not rounded."""
    return quantile(mpf(t) / 2**32) * 2**NOISE_BITS


def evaluate(row: tuple[int, int, int, int], u: int) -> int:
    """Return the cubic as `initlib.stream.reference.normal` computes it, for a position u of 20 bits."""
    c0, c1, c2, c3 = row
    v = u >> 5
    q = c2 + ((c3 * v) >> 15)
    q = c1 + ((q * v) >> 15)
    return c0 + ((q * (u >> 8) + ((q * (u & 255)) >> 8)) >> 12)


def interpolate(f: Callable[[mpf], mpf], nodes: list[mpf]) -> list[mpf]:
    """Return the coefficients, lowest first, of the polynomial through f at the nodes."""
    matrix = mp.matrix(len(nodes), len(nodes))
    for i, x in enumerate(nodes):
        for k in range(len(nodes)):
            matrix[i, k] = x**k
    return list(mp.lu_solve(matrix, mp.matrix([f(x) for x in nodes])))


def chebyshev(count: int) -> list[mpf]:
    """Return Chebyshev nodes on [0, 1]: their interpolant is within a few percent of the best polynomial."""
    return [(1 + mp.cos(mp.pi * (2 * k + 1) / (2 * count))) / 2 for k in range(count)]


def fit(f: Callable[[mpf], mpf]) -> tuple[int, int, int, int]:
    """Round one coefficient at a time, highest first, and fit the lower coefficients again to the rest."""
    fixed: list[mpf] = []
    for degree in (3, 2, 1):

        def rest(x: mpf, fixed: list[mpf] = fixed) -> mpf:
            return f(x) - sum(c * x ** (3 - k) for k, c in enumerate(fixed))

        fixed.append(mpf(int(mp.nint(interpolate(rest, chebyshev(degree + 1))[degree]))))
    c3, c2, c1 = (int(c) for c in fixed)
    # The shifts floor: the constant term centres the errors that the integers really make.
    samples = [round(i * (2**20 - 1) / 64) for i in range(65)]
    errors = [f(mpf(u) / 2**20) - evaluate((0, c1, c2, c3), u) for u in samples]
    return int(mp.nint((max(errors) + min(errors)) / 2)), c1, c2, c3


def rows() -> Iterator[tuple[int, int, int, int]]:
    """Yield the cubics, lowest tail first."""
    for index in range(248):
        octave, eighth = divmod(index, 8)
        yield fit(lambda u, o=octave, e=eighth: noise(mpf(2) ** o * (1 + (e + u) / 8)))
    yield (0, 0, 0, 0)


def source() -> str:
    """Return the text of the frozen file."""
    lines = [
        '"""Normal quantile as integer cubics. Made by tools/normal_table.py; frozen with stream version 1."""',
        "",
        "# fmt: off",
        "ROWS = (",
        *(f"    {row}," for row in rows()),
        ")",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the frozen table of the normal quantile.")
    parser.add_argument("--check", action="store_true", help="compare with the frozen table instead of printing it")
    if not parser.parse_args().check:
        sys.stdout.write(source())
    elif source() != TARGET.read_text():
        sys.exit(f"{TARGET.name} must be the output of this program, got another file")
