"""Tables of positions: sines and cosines of geometric frequencies."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .._arguments import Shape, checked_shape, choice, real
from ._computed import MOST_RADIANS, Array, Computed, powers, sines
from .frozen import scheme, set_fields

LAYOUTS = ("interleaved", "halves")


@scheme("sinusoidal")
class Sinusoidal(Computed):
    """Tables of positions: sin(p * w_k) and cos(p * w_k) in row p, for d / 2 frequencies w_k = base**(-2 k / d).

    The shape is (..., positions, d), with d channels. The weights have the same bits in every framework. A draw of a
    box (`index=`) computes only the box. Under `jax.jit`, the table is a constant of the compiled function.

    Libraries that use each form:

    - "interleaved": the paper; XLM and DistilBERT in transformers; diffusers' `SinusoidalPositionalEmbedding`;
    - "halves": Marian, Pegasus and Informer in transformers; the 1-D tables of MAE and of diffusers;
    - "halves" with `endpoint=True`: tensor2tensor, fairseq; Whisper, M2M100 and MusicGen in transformers.

    Libraries that compute in float32 (Whisper, fairseq) differ from these weights by rounding.

    Args:
        base: the base of the powers, at least 1.
        layout: "interleaved" for pairs sin, cos, sin, cos, …; "halves" for all sines, then all cosines.
        endpoint: True for w_k = base**(-k / (d / 2 - 1)), so that the last frequency is 1 / base.

    Raises:
        TypeError: base is not a real number, or endpoint is not a bool.
        ValueError: base is below 1, or layout is not allowed; when drawn, the weight has fewer than 2 axes, an odd
            number of channels, or more than 2**27 positions.

    Example:
        >>> sinusoidal()((3, 4)).round(4)
        array([[ 0.    ,  1.    ,  0.    ,  1.    ],
               [ 0.8415,  0.5403,  0.01  ,  1.    ],
               [ 0.9093, -0.4161,  0.02  ,  0.9998]], dtype=float32)

    Reference:
        Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin. Attention is all you need, section 3.5.
        2017. arXiv:1706.03762.
    """

    base: float = 10000.0
    layout: str = "interleaved"
    endpoint: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.endpoint, bool):
            raise TypeError(f"endpoint must be a bool, got {self.endpoint!r}")
        set_fields(self, base=checked_base(self.base), layout=choice(self.layout, "layout", LAYOUTS))

    def std(self, shape: Shape, axes: str | None = None) -> float:
        positions, half = self._sizes(shape)
        if not positions * half:
            return 0.0
        # The square of a sine and of its cosine have the mean 1/2. Sums of sines over positions have a closed form.
        halves = 0.5 / self._wavelengths(half)
        sums = np.sin(positions * halves) / np.sin(halves) * np.sqrt(2) * np.sin((positions - 1) * halves + math.pi / 4)
        return math.sqrt(max(0.0, 0.5 - (float(sums.sum()) / (2 * half * positions)) ** 2))

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        self._sizes(shape)
        return -1.0, 1.0

    def values(self, shape: tuple[int, ...], indices: Sequence[NDArray[np.int64]]) -> Array:
        _, half = self._sizes(shape)
        positions, channels = indices[-2:]
        one, other = channels // 2, channels % 2
        pairs, is_cosine = (one, other) if self.layout == "interleaved" else (channels % half, channels // half)
        return sines(positions / self._wavelengths(half)[pairs], is_cosine)

    def _wavelengths(self, half: int) -> Array:
        """Return the wavelengths over 2 pi."""
        return powers(self.base, tuple(range(half)), max(1, half - 1) if self.endpoint else half)

    def _sizes(self, shape: Shape) -> tuple[int, int]:
        """Return the numbers of positions and of frequencies."""
        sizes = checked_shape(shape)
        if len(sizes) < 2 or sizes[-1] % 2 or sizes[-2] > MOST_RADIANS:
            raise ValueError(
                f"shape must be (…, positions, channels) for sinusoidal, with an even number of channels and at most "
                f"2**27 positions, got {sizes}"
            )
        return sizes[-2], sizes[-1] // 2


def checked_base(value: float) -> float:
    """Return the base of the powers as a float, or raise TypeError or ValueError."""
    base = real(value, "base")
    if base < 1:
        raise ValueError(f"base must be at least 1, got {base!r}")
    return base


sinusoidal = Sinusoidal
