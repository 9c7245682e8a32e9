"""Devices, and the engine that draws on each."""

import importlib.util
import os
import warnings
from collections.abc import Iterator
from functools import cache

import torch

from initlib import truncated_normal
from initlib.key import Key
from initlib.stream import config
from initlib.stream.engine import DrawRequest

from .engine import TorchEngine
from .triton_engine import TritonEngine


@cache
def engine_of(device: torch.device) -> TorchEngine:
    """Return the engine of a device."""
    return TritonEngine(device) if _obstacle(device) is None else TorchEngine(device)


def describe(device: torch.device | str) -> str:
    """Return "Triton kernel", or "reference" and, on a device of Triton, the reason.

    >>> describe("mps")
    'reference'
    """
    obstacle = _obstacle(torch.device(device))
    return "Triton kernel" if obstacle is None else f"reference ({obstacle})" if obstacle else "reference"


def _current_card() -> Iterator[str]:
    """Yield a line about PyTorch's current GPU; other GPUs are not initialized."""
    if torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
        yield f"draws on {device}, {torch.cuda.get_device_name(device)}: {describe(device)}"


config.added.append(_current_card)


@cache
def _obstacle(device: torch.device) -> str | None:
    """Return why Triton's kernel does not draw on a device, "" on a device without Triton, None if it draws."""
    wish = os.environ.get("INITLIB_TRITON", "")
    if wish not in ("", "0"):
        raise ValueError(f"INITLIB_TRITON must be 0 (no Triton kernel) or unset, got {wish!r}")
    if device.type != "cuda":  # AMD's GPUs too have this type
        return ""
    if wish == "0":
        return "INITLIB_TRITON=0"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    try:
        obstacle = _trial(device)
    except Exception as error:  # no compiler for Triton's launcher, an unknown GPU …
        obstacle = f"Triton failed: {type(error).__name__}: {error}".splitlines()[0]
    if obstacle is not None:
        warnings.warn(
            f"slower reference code draws weights on {device}, because the Triton kernel is not usable: {obstacle}. "
            f"Set INITLIB_TRITON=0 to silence this warning.",
            RuntimeWarning,
            stacklevel=2,
        )
    return obstacle


def _trial(device: torch.device) -> str | None:
    """Draw a few weights, once in a process, and return the fault that they show, or None."""
    weight = DrawRequest((2048,), None, "float32", Key(0))
    drawn = truncated_normal().weights(weight, TritonEngine(device))
    right = drawn.cpu().numpy().tobytes() == truncated_normal()(weight.shape, seed=0).tobytes()
    return None if right else "Triton's kernel gave other bits than the core"
