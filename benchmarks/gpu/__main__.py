"""`python -m benchmarks.gpu`: write GPU.md, with the counted and the measured cost of the Triton kernel."""

import argparse
from pathlib import Path

import torch
import triton

from initlib import he_normal, he_uniform, normal
from initlib.adapters.torch.drawing.devices import describe

from . import card
from .code import TARGETS, Case, Code, compiled

OUT = Path(__file__).parents[1] / "GPU.md"
CASES = {
    "he_uniform": Case(he_uniform, (4096,), "I"),
    "normal": Case(normal(0.0, 0.02), (4096,), "I"),
    "normal, a mean": Case(normal(1.0, 0.02), (4096,), "I"),
    "he_normal": Case(he_normal, (4096,), "I"),
    "he_normal bfloat16": Case(he_normal, (4096,), "I", "bfloat16"),
    "he_normal float16": Case(he_normal, (4096,), "I", "float16"),
    "he_normal float64": Case(he_normal, (4096,), "I", "float64"),
    "he_normal OI, a linear layer": Case(he_normal, (1024, 512), "OI"),
    "he_normal OIHW, a convolution": Case(he_normal, (64, 32, 3, 3), "OIHW"),
    "he_normal OIHW, channels last": Case(he_normal, (64, 32, 3, 3), "OIHW", memory="OHWI"),
    "he_normal (4 O)IHW, in groups": Case(he_normal, (64, 32, 3, 3), "(4 O)IHW"),
    "he_normal (4 O)IHW, every other place": Case(he_normal, (64, 32, 3, 3), "(4 O)IHW", apart=2),
}

# An H100 SXM: its multiprocessors, their clock, and what its memory takes a second.
PROCESSORS, CLOCK, BANDWIDTH = 132, 1.755e9, 3.35e12
# What a multiprocessor does in a cycle, by the CUDA C++ Programming Guide for compute capability 9.0.
INTEGERS, ISSUED = 64, 128
MULTIPLIER = "IMAD|FMUL|FADD"  # instructions of the pipe of float multiplications, parallel to the integers
WEIGHTS = 2**25


def on_paper(code: Code) -> tuple[float, float]:
    """Return the milliseconds for WEIGHTS, with both pipes always busy, and with one waiting for the other."""
    least = max(code.per_weight / ISSUED, (code.per_weight - code.share(MULTIPLIER)) / INTEGERS)
    most = code.per_weight / INTEGERS
    cycle = 1e3 * WEIGHTS / (PROCESSORS * CLOCK)
    return cycle * least, cycle * most


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


PAGE = """# What a draw costs on a GPU

Made by `python -m benchmarks.gpu` with PyTorch {torch} and Triton {triton}.

## The code

Instructions a weight, registers a thread, and spills, of the kernel as its launch compiles it. All that a thread does
is counted, its weights' positions too. No shared memory is used.

{counts}
Each loop after the first of the nest in which a weight is stored costs a division by a constant, some five
instructions: a plain run is one loop, a linear layer two, a convolution three, one in groups four.

## On paper

{millions:.0f} million weights on an H100 SXM, in milliseconds: {processors} multiprocessors at {clock:.3f} GHz, and
memory that takes {bandwidth:.2f} TB/s. In a cycle a multiprocessor issues an instruction for {issued} threads, and does
{integers} integer operations; those that the compiler hands to the multipliers instead (`IMAD`) run beside them. "At
least" has both busy all the time, "at most" one of them. Beside it, the least that the memory takes: a draw is
arithmetic.

{times}
PyTorch's `trunc_normal_` goes over the same memory nine times (`uniform_` writes; `erfinv_`, `mul_`, `add_` and
`clamp_` read and write), which is {nine:.2f} ms at least in float32; `normal_` goes over it once.

## On a card

{measured}"""
NOT_MEASURED = "Not measured yet. On a machine with a GPU, the same command fills this in.\n"
MEASURED = """{card}, {rows} x {columns} weights, drawn by the {engine}: milliseconds by the card's events, median
of {rounds}.

{table}"""


def page(codes: dict[str, dict[str, Code]], measured: list[tuple[str, ...]]) -> str:
    """Return GPU.md."""
    counts = [
        (name, *(f"{code.per_weight:.0f}, {code.registers}, {code.spills}" for code in by_target.values()))
        for name, by_target in codes.items()
    ]
    once = 1e3 * WEIGHTS * 4 / BANDWIDTH
    times = [
        (name, *(f"{ms:.2f}" for ms in on_paper(codes[name]["sm_90"])), f"{once * size / 4:.2f}")
        for name, size in (("he_uniform", 4), ("normal", 4), ("he_normal", 4), ("he_normal bfloat16", 2))
    ]
    return PAGE.format(
        torch=torch.__version__,
        triton=triton.__version__,
        counts=table(("draw", *TARGETS), counts),
        millions=WEIGHTS / 2**20,
        processors=PROCESSORS,
        clock=CLOCK / 1e9,
        bandwidth=BANDWIDTH / 1e12,
        issued=ISSUED,
        integers=INTEGERS,
        times=table(("draw", "at least", "at most", "memory"), times),
        nine=9 * once,
        measured=on_card(measured) if measured else NOT_MEASURED,
    )


def on_card(rows: list[tuple[str, ...]]) -> str:
    return MEASURED.format(
        card=torch.cuda.get_device_name(),
        rows=card.SHAPE[0],
        columns=card.SHAPE[1],
        engine=describe("cuda:0"),
        rounds=card.ROUNDS,
        table=table(("draw", "dtype", "ours", "PyTorch", "ratio", "target"), rows),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="the file to write")
    arguments = parser.parse_args()
    codes = {name: {target: compiled(target, case) for target in TARGETS} for name, case in CASES.items()}
    text = page(codes, list(card.rows()) if torch.cuda.is_available() else [])
    arguments.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
