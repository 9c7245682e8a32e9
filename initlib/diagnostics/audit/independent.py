"""Independent weights: the distribution of a tensor's numbers, and the scheme with that distribution and std."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...files.readers.stored_tensor import StoredTensor
from ...schemes._siren import siren
from ...schemes._spectral import spectral
from ...schemes._variance import variance_scaling
from ...schemes.initializer import Initializer
from ..statistics import top_singular_value
from .match import Match
from .reference_distributions import REFERENCE_DISTRIBUTIONS, ReferenceDistribution, kolmogorov, wilson_hilferty
from .right_angles import EPS, first_rows
from .tally import Lines, Tally

# Together, all tests reject a drawn weight less than once in a hundred times.
SIGMAS = 4.0  # of the std, about the std of a scheme
STRUCTURE_SIGMAS = 4.5  # of the rows and columns, about those of independent weights
SPIKE = 6.0  # of the largest singular value, in units of Tracy and Widom
CHANCE = 1e-4  # of the distance of Kolmogorov and Smirnov
LOG_CHANCE = -10.0  # of the largest weight
INTENDED = 1.5  # in sigmas: how much better than a scheme a round number must fit
SIDE = 512  # of the corner whose singular values are computed
FEWEST_LINES = 8
FEWEST_SINGULAR = 16  # the shorter side of a matrix whose top singular value is tested

SCALINGS = {
    "he_{}": (2.0, "fan_in"),
    "glorot_{}": (1.0, "fan_avg"),
    "lecun_{}": (1.0, "fan_in"),
    "he_{}, by fan_out": (2.0, "fan_out"),
}
DISTRIBUTIONS = {
    "uniform": ("uniform", "uniform"),
    "normal 2": ("normal", "truncated_normal"),
    "normal inf": ("normal, not truncated", "normal"),
}
# The schemes whose std follows from the shape, by the distribution of their weights and by name.
PRESETS: dict[str, dict[str, Initializer]] = {
    label: {name.format(end): variance_scaling(*scaling, distribution) for name, scaling in SCALINGS.items()}
    for label, (end, distribution) in DISTRIBUTIONS.items()
}
PRESETS["uniform"] |= {
    "uniform within 1 / sqrt(fan_in), torch's default": variance_scaling(1 / 3, "fan_in", "uniform"),
    "siren": siren(),
    "siren(first=True)": siren(first=True),
}
PRESETS["normal inf"]["spectral"] = spectral()


def independent(tensor: StoredTensor, tally: Tally, orders: Sequence[str]) -> Match:
    """Return the scheme of weights that are drawn independently, or None with the test that failed."""
    sample, eps = np.sort(tally.sample), EPS.get(tensor.dtype, 0.0)
    squares = np.square(sample - sample.mean())
    kurtosis = float(np.square(squares).mean() / squares.mean() ** 2)
    fits = [_fit(tally, sample, kurtosis, each, eps) for each in REFERENCE_DISTRIBUTIONS]
    fit = max(fits, key=lambda fit: (fit.good, fit.good and math.isinf(fit.distribution.cut), fit.chance))
    if not fit.good:
        return Match(None, test=f"no distribution: the nearest is {fit.words}")
    fault, words = _structure(tensor, tally, fit)
    if fault:
        return Match(None, test=f"{fit.words}, but {fault}: trained, or not drawn")
    candidates: list[tuple[float, Match]] = []
    for axes in orders if len(tensor.shape) >= 2 and fit.mean == 0 else ():
        for label, scheme in PRESETS.get(fit.distribution.label, {}).items():
            z = fit.sigmas_from(scheme, tensor.shape, axes)
            if z is not None:
                std = f"std {fit.std:.4g} for {scheme.std(tensor.shape, axes):.4g} (z {z:.1f})"
                candidates.append((abs(z), Match(label, axes=axes, test=std)))
        if candidates:  # the schemes of a less likely order only where no other fits
            break
    label, sigmas = fit.label()
    if fit.distribution.cut == 3 and math.isinf(sigmas):  # trained weights with an arbitrary std may look like this
        return Match(None, test=f"{fit.words}, with a std that is not a round number: trained, or not drawn")
    candidates.append((sigmas, Match(label, test=f"std {fit.std:.4g}")))
    candidates.sort(key=lambda candidate: candidate[0])  # stable: of equal schemes, the best known comes first
    also = tuple(dict.fromkeys(str(other.scheme) for _, other in candidates[1:]))
    best = candidates[0][1]
    return best._replace(also=also, test="; ".join([fit.words, best.test, *words]))


class _Fit(NamedTuple):
    """A distribution fitted to a tensor's numbers."""

    distribution: ReferenceDistribution
    tally: Tally
    mean: float
    std: float  # of all numbers
    reach: float  # the distance of the largest number from the mean
    bound: float  # the std that follows from the largest number, where the distribution is bounded
    distance: float
    chance: float
    kurtosis: float  # in sigmas, from that of the distribution
    eps: float

    @property
    def good(self) -> bool:
        """Return True if every test passes."""
        if self.chance < CHANCE or abs(self.kurtosis) > STRUCTURE_SIGMAS:
            return False
        if math.isfinite(self.distribution.bound):
            return abs(self.std / self.bound - 1) < SIGMAS * self.error + 2 * self.eps
        beyond = self.tally.size * math.erfc(self.reach / self.std / math.sqrt(2))
        return self._is_largest(self.reach / self.std) and beyond > CHANCE / 100

    @property
    def words(self) -> str:
        """Return the distribution and the tests in words."""
        name, cut = self.distribution
        cut_at = "" if math.isinf(cut) or name == "uniform" else f" cut at {cut:g} sigma"
        return f"{name}{cut_at}, KS {self.distance:.2g} (p {self.chance:.2g}), kurtosis z {self.kurtosis:.1f}"

    @property
    def error(self) -> float:
        """Return the relative standard error of the std."""
        return math.sqrt((self.distribution.moments[1] - 1) / self.tally.size) / 2

    def _is_largest(self, largest: float) -> bool:
        """Return whether the largest number, in stds, is likely for a sample of this size."""
        return self.distribution.log_chance_of_no_larger(largest, self.tally.size) > LOG_CHANCE

    def sigmas_from(self, scheme: Initializer, shape: tuple[int, ...], axes: str) -> float | None:
        """Return the distance of the std from that of a scheme, in sigmas; None where the scheme does not fit."""
        try:
            expected = scheme.std(shape, axes)
        except ValueError:
            return None
        z = (self.std / expected - 1) / self.error
        largest = self.reach / expected
        fits = abs(z) < SIGMAS and largest <= self.distribution.bound * (1 + 1e-6 + 2 * self.eps)
        return z if fits and self._is_largest(largest * (1 + self.eps)) else None

    def label(self) -> tuple[str, float]:
        """Return the scheme with the roundest numbers that fit, and the sigmas that it counts as being off.

        A number of one digit, such as 0.02, was intended if it fits much better than the std that follows from the
        shape. Any other number counts as infinitely far off.
        """
        low, high = self.std * (1 - SIGMAS * self.error), self.std * (1 + SIGMAS * self.error)
        if math.isfinite(self.distribution.bound):
            low, high = self.bound * (1 - self.eps), self.bound * (1 + self.eps)
            while self._is_largest(self.reach / high):
                high += 0.02 * self.error * self.std
        if self.distribution.name == "uniform":
            # Each end separately, because the middle of the numbers is only near that of the distribution.
            least, greatest = self.tally.least, self.tally.greatest
            room = (greatest - least) * (self.eps - LOG_CHANCE / self.tally.size)
            ends = roundest(least - room, least), roundest(greatest, greatest + room)
            return f"uniform({ends[0]:g}, {ends[1]:g})", math.inf
        error = SIGMAS * self.std / math.sqrt(self.tally.size)
        mean = f"mean={roundest(self.mean - error, self.mean + error):g}, " if self.mean else ""
        sigma = roundest(low * self.distribution.sigma, high * self.distribution.sigma)
        off = abs(self.std * self.distribution.sigma / sigma - 1) / self.error + INTENDED
        round_number = len(f"{sigma:e}".partition("e")[0].strip("0.")) == 1
        label = f"{'normal' if math.isinf(self.distribution.cut) else 'truncated_normal'}({mean}std={sigma:g})"
        return label + (", cut at 3 sigma" if self.distribution.cut == 3 else ""), off if round_number else math.inf


def _fit(
    tally: Tally, sample: NDArray[np.float64], kurtosis: float, distribution: ReferenceDistribution, eps: float
) -> _Fit:
    mean, std = tally.mean, tally.std
    if abs(mean) < SIGMAS * std / math.sqrt(tally.size):
        mean, std = 0.0, math.sqrt(std * std + mean * mean)
    elif distribution.name == "uniform":  # the middle is more precise than the mean
        mean = (tally.least + tally.greatest) / 2
    reach = max(tally.greatest - mean, mean - tally.least)
    bound = reach / distribution.bound
    distance, chance = kolmogorov(distribution.cdf((sample - mean) / (bound or std)))
    _, fourth, sixth, eighth = distribution.moments
    variance = (eighth - 4 * fourth * sixth + 4 * fourth**3 - fourth**2) / sample.size
    off = (kurtosis - fourth) / math.sqrt(variance)
    return _Fit(distribution, tally, mean, std, reach, bound, distance, chance, off, eps)


def _structure(tensor: StoredTensor, tally: Tally, fit: _Fit) -> tuple[str | None, list[str]]:
    """Return the structure that independent weights do not have, or None; and the tests in words."""
    words: list[str] = []
    for side, lines in (("rows", tally.rows), ("columns", tally.columns)):
        if lines is None or min(len(lines.sums), lines.length) < FEWEST_LINES:
            continue
        sums, squares = _scatter(lines, fit)
        if abs(sums) > STRUCTURE_SIGMAS:
            return f"the means of the {side} {'differ' if sums > 0 else 'agree too well'} (z {sums:.1f})", words
        if abs(squares) > STRUCTURE_SIGMAS:
            return f"the stds of the {side} {'differ' if squares > 0 else 'agree too well'} (z {squares:.1f})", words
        words.append(f"{side} z {sums:.1f}, {squares:.1f}")
    spike = _spike(tensor, fit)
    if spike is not None:
        words.append(f"top singular value {spike:.1f}")
        if spike > SPIKE:
            return f"the top singular value is too large ({spike:.1f} in units of Tracy and Widom)", words
    return None, words


def _scatter(lines: Lines, fit: _Fit) -> tuple[float, float]:
    """Return the scatter of the means, and of the mean squares, of lines: in sigmas, from independent weights."""
    count, length, variance = len(lines.sums), lines.length, fit.std**2
    _, fourth, sixth, eighth = fit.distribution.moments
    sums = lines.sums - length * fit.mean
    squares = lines.squares - 2 * fit.mean * lines.sums + length * fit.mean**2
    of_sums = float((sums**2).sum()) / (length * variance)
    kurtosis = 3 + (fourth - 3) / length
    spread = (fourth - 1) * variance**2 * length
    of_squares = float(((squares - squares.mean()) ** 2).sum()) / spread
    excess = (eighth - 4 * sixth + 6 * fourth - 3) / (fourth - 1) ** 2 - 3
    return (
        wilson_hilferty(of_sums, count, count * (kurtosis - 1)),
        wilson_hilferty(of_squares, count - 1, (count - 1) * (2 + excess / length)),
    )


def _spike(tensor: StoredTensor, fit: _Fit) -> float | None:
    """Return the largest squared singular value of a corner, centred and scaled for chance (Johnstone 2001)."""
    if len(tensor.shape) < 2:
        return None
    first, last = tensor.shape[0], tensor.shape[-1]
    columns = tensor.size // first if min(first, tensor.size // first) >= min(last, tensor.size // last) else last
    rows = tensor.size // columns
    if min(rows, columns) < FEWEST_SINGULAR:
        return None
    corner = (first_rows(tensor, columns, min(rows, SIDE), SIDE).astype(np.float64) - fit.mean) / fit.std
    n, p = corner.shape
    centre = (math.sqrt(n - 1) + math.sqrt(p)) ** 2
    unit = (math.sqrt(n - 1) + math.sqrt(p)) * (1 / math.sqrt(n - 1) + 1 / math.sqrt(p)) ** (1 / 3)
    return float((top_singular_value(corner) ** 2 - centre) / unit)


def roundest(low: float, high: float) -> float:
    """Return the number of the fewest digits between two."""
    if low <= 0 <= high:
        return 0.0
    if high < 0:
        return -roundest(-high, -low)
    for digits in range(1, 17):
        unit = 10.0 ** (math.floor(math.log10(high)) + 1 - digits)
        candidate = math.floor(high / unit + 1e-9) * unit
        if candidate >= low * (1 - 1e-12):
            return float(f"{candidate:.15g}")
    return high
