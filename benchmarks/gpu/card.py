"""Times of draws by initlib and by `torch.nn.init` on this machine's GPU, from the events of the GPU."""

import statistics
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

import initlib.adapters.torch as init

SHAPE = (4096, 8192)
DTYPES = (torch.float32, torch.bfloat16)
ROUNDS = 50
QUEUED = 4_000_000  # cycles that the GPU waits, while the processor queues the measured launches


class Pair(NamedTuple):
    """A draw by initlib, and PyTorch's counterpart."""

    own: Callable[[torch.Tensor], object]
    peer: Callable[[torch.Tensor], object]
    most: float | None  # the largest share of PyTorch's time


PAIRS = {
    "he_normal_ against trunc_normal_": Pair(lambda w: init.he_normal_(w, seed=0), torch.nn.init.trunc_normal_, 1.0),
    "he_normal_ against normal_": Pair(lambda w: init.he_normal_(w, seed=0), torch.nn.init.normal_, 8.0),
    "normal_ against normal_": Pair(lambda w: init.normal_(w, seed=0), torch.nn.init.normal_, None),
    "kaiming_uniform_ against kaiming_uniform_": Pair(
        lambda w: init.kaiming_uniform_(w, seed=0), torch.nn.init.kaiming_uniform_, None
    ),
}


def milliseconds(tasks: tuple[Callable[[], object], ...]) -> list[float]:
    """Return the median time of each draw on the GPU, in turn, after a few warm-up rounds."""
    samples: list[list[float]] = [[] for _ in tasks]
    for _ in range(ROUNDS + 5):
        for task, times in zip(tasks, samples, strict=True):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(QUEUED)
            start.record()
            task()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
    return [statistics.median(times[5:]) for times in samples]


def rows() -> Iterator[tuple[str, ...]]:
    """Return a table of the draw, the dtype, both times, their ratio and its target."""
    for dtype in DTYPES:
        weight = torch.empty(SHAPE, dtype=dtype, device="cuda")
        for name, (own, peer, most) in PAIRS.items():
            our_time, their_time = milliseconds((lambda: own(weight), lambda: peer(weight)))  # noqa: B023 - called here
            ratio = our_time / their_time
            verdict = "" if most is None else f"at most {most:g}: {'yes' if ratio <= most else '**no**'}"
            kind = str(dtype).removeprefix("torch.")
            yield name, kind, f"{our_time:.3f}", f"{their_time:.3f}", f"{ratio:.2f}", verdict
