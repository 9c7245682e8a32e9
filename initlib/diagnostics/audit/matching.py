"""Matching: the scheme that a tensor's numbers follow, with the tests behind the word, or none."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...axes import canonical
from ...axes import match as factors
from ...files.readers.stored_tensor import StoredTensor
from ...schemes._hadamard import zero_hadamard
from ...schemes._identity import dirac, identity
from ...schemes._siren import siren
from ...schemes._spectral import spectral
from ...schemes._variance import variance_scaling
from ...schemes.initializer import Initializer
from ..statistics import top_singular_value
from .reference_distributions import REFERENCE_DISTRIBUTIONS, ReferenceDistribution, kolmogorov, wilson_hilferty
from .tally import Lines, Tally

Array = NDArray[Any]

MOST_AT_ONCE = 2**23  # numbers of one row, of some rows together, or of a kernel
SMALLEST, LARGEST = 1e-75, 1e75  # of the std: the eighth power of other numbers is no float64
FEWEST = 1024  # weights below which chance hides what tells a drawn weight from a trained one
# A weight that was drawn fails all tests together less than once in a hundred times.
SIGMAS = 4.0  # of the std, about the one that a scheme has
STRUCTURE_SIGMAS = 4.5  # of the rows and columns, about what independent weights give them
SPIKE = 6.0  # of the largest singular value, in units of Tracy and Widom
FEW_ZEROS = 2e-3  # the share that a law rounded to 16 bits may give
MEANT = 1.5  # by how many sigmas a round number must fit better than a scheme
CHANCE = 1e-4  # of the distance of Kolmogorov and Smirnov
LOG_CHANCE = -10.0  # of the largest weight
SIDE = 512  # of the corner whose singular values are looked at
FEWEST_LINES = 8
SAME_GAIN = 1e-3
STACK = 0  # the role of an axis, of those that `factors` gives
TOGETHER = 64  # rows or columns whose angles are measured

EPS = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # what rounding moves a weight by, relatively


class Match(NamedTuple):
    """The scheme, or None; others that cannot be told from it; the axes that give its fans; and the tests."""

    scheme: str | None
    also: tuple[str, ...] = ()
    axes: str | None = None
    test: str = ""


def _presets() -> dict[str, dict[str, Initializer]]:
    """The schemes whose std follows from the shape, by the law of their weights and by name."""
    laws = {
        "uniform": ("uniform", "uniform"),
        "normal 2": ("normal", "truncated_normal"),
        "normal inf": ("normal, not truncated", "normal"),
    }
    found: dict[str, dict[str, Initializer]] = {}
    for law, (ending, distribution) in laws.items():
        found[law] = {
            f"he_{ending}": variance_scaling(2.0, "fan_in", distribution),
            f"glorot_{ending}": variance_scaling(1.0, "fan_avg", distribution),
            f"lecun_{ending}": variance_scaling(1.0, "fan_in", distribution),
            f"he_{ending}, by fan_out": variance_scaling(2.0, "fan_out", distribution),
        }
    found["uniform"]["uniform within 1 / sqrt(fan_in), torch's default"] = variance_scaling(1 / 3, "fan_in", "uniform")
    found["uniform"] |= {"siren": siren(), "siren(first=True)": siren(first=True)}
    found["normal inf"]["spectral"] = spectral()
    return found


PRESETS = _presets()


def match(tensor: StoredTensor, tally: Tally, orders: Sequence[str]) -> Match:
    """Find the scheme of a tensor, whose axes are one of some orders, the likeliest first."""
    if tally.count < tally.size or not tally.size:
        return Match(None, test="it holds numbers that are not finite" if tally.size else "it holds nothing")
    if tally.least == tally.greatest:
        names = {0.0: "zeros", 1.0: "ones"}
        return Match(names.get(tally.least, f"constant({tally.least:.6g})"), test="all weights are equal")
    matrix = len(tensor.shape) >= 2 and tally.size // tensor.shape[0] <= MOST_AT_ONCE
    found = _fixed(tensor, tally, orders) if matrix else None
    if found:
        return found
    if tally.size < FEWEST:
        return Match(None, test=f"{tally.size} weights are too few to tell")
    if not SMALLEST < tally.std < LARGEST:
        return Match(None, test=f"a std of {tally.std:.3g} is outside of the range of the tests")
    tally, empty = tally.without_empty_rows()
    if empty:
        found = _independent(tensor, tally, orders)
        return found._replace(test=f"{empty} row{'s' * (empty > 1)} of 0; the others: {found.test}")
    if tally.zeros > 4 + FEW_ZEROS * tally.size:
        return _delta(tensor, tally, orders) or _sparse(tally) or Match(None, test=f"{tally.zeros} weights are 0")
    independent = _independent(tensor, tally, orders)
    if independent.scheme is None and matrix:
        return _orthogonal(tensor, orders) or independent
    return independent


# What follows from the indices alone.


def _fixed(tensor: StoredTensor, tally: Tally, orders: Sequence[str]) -> Match | None:
    if np.unique(tally.sample).size > 3:
        return None
    for axes in orders:
        for name, scheme in (("identity", identity()), ("dirac", dirac()), ("zero_hadamard", zero_hadamard())):
            try:
                largest = scheme.bounds(tensor.shape, axes)[1]
                gain = tally.greatest / largest
                start = 0
                for piece in tensor.pieces():
                    drawn = scheme(tensor.shape, "float32", axes=axes, seed=0, index=slice(start, start + len(piece)))
                    start += len(piece)
                    if not np.allclose(drawn * gain, piece, rtol=2e-3, atol=0):
                        break
                else:
                    label = name if abs(gain - 1) < 2e-3 else f"{name}(gain={gain:.6g})"
                    return Match(label, axes=axes, test="every weight is the scheme's")
            except ValueError:  # not a shape of this scheme
                continue
    return None


# Matrices with rows or columns at right angles.


def _lines(tensor: StoredTensor, view: int) -> tuple[str, Array, float]:
    """Some lines of the shorter side of a matrix: the first axis with the others (0), or the others with the last (1).

    What they are called, the products of each two of them, and how many there are.
    """
    size = tensor.size
    rows = tensor.shape[0] if view == 0 else size // tensor.shape[-1]
    columns = size // rows
    count = min(TOGETHER, rows, columns, max(2, MOST_AT_ONCE // columns))
    if rows <= columns:
        taken: list[Array] = []
        for piece in tensor.pieces():
            taken.append(piece.reshape(-1, columns)[: count - sum(map(len, taken))].copy())
            if sum(map(len, taken)) >= count:
                break
        matrix = np.concatenate(taken).astype(np.float64)
        return "rows", matrix @ matrix.T, rows
    products = np.zeros((count, count))
    for piece in tensor.pieces():
        part = piece.reshape(-1, columns)[:, :count].astype(np.float64)
        products += part.T @ part
    return "columns", products, columns


def _right_angles(products: Array, dtype: str) -> tuple[float, str] | None:
    """The gain of lines at right angles and of one length, and the test; None where they are not."""
    squares = products.diagonal()
    length = float(squares.mean())
    if not length > 0:
        return None
    bend = float(np.abs(products - np.diag(squares)).max()) / length
    spread = float(np.abs(squares / length - 1).max())
    if max(bend, spread) > max(2e-4, 4 * EPS.get(dtype, 0.0)):
        return None
    return math.sqrt(length), f"at right angles to {bend:.1g}, of one length to {spread:.1g}"


def _orthogonal(tensor: StoredTensor, orders: Sequence[str]) -> Match | None:
    for count in dict.fromkeys(_stacked(tensor.shape, axes) for axes in orders):
        ends = _ends(tensor, count)
        for view in (0, 1) if len(ends[0].shape) > 2 else (0,):
            lines = [_lines(kernel, view) for kernel in ends]
            found = [len(products) > 1 and _right_angles(products, tensor.dtype) for _, products, _ in lines]
            gains = [each[0] for each in found if each]
            if len(gains) == len(ends) and abs(gains[0] / gains[-1] - 1) < SAME_GAIN:
                test = f"{len(lines[0][1])} {lines[0][0]} are {found[0][1]}" if found[0] else ""
                each = f"of {count} kernels, the first and the last: " if count > 1 else ""
                return Match(_with_gain("orthogonal", gains[0]), test=each + test)
    return None


def _with_gain(name: str, gain: float) -> str:
    return name if abs(gain - 1) < SAME_GAIN else f"{name}(gain={gain:.4g})"


def _stacked(shape: tuple[int, ...], axes: str) -> int:
    """How many kernels lie one after the other along the first axis."""
    return math.prod(size for role, size in factors(shape, axes)[0] if role == STACK)


def _ends(tensor: StoredTensor, count: int) -> list[StoredTensor]:
    """The first and the last of the kernels along the first axis; the only one."""
    if count < 2:
        return [tensor]
    rows = tensor.shape[0] // count
    ends = [tensor.part(start, start + rows) for start in (0, tensor.shape[0] - rows)]
    return [end._replace(shape=end.shape[1:]) for end in ends] if rows == 1 and len(tensor.shape) > 2 else ends


def _delta(tensor: StoredTensor, tally: Tally, orders: Sequence[str]) -> Match | None:
    """A matrix at the centre of a kernel, and 0 elsewhere."""
    if not 3 <= len(tensor.shape) <= 5 or tally.size > MOST_AT_ONCE:
        return None
    whole = np.concatenate(list(tensor.pieces()))
    for axes in orders:
        form = canonical(tensor.shape, axes)
        stacks, _, columns = form.matrices
        kernels = form.arrange(whole).reshape(stacks, *form.field, -1, columns)
        matrices = kernels[:, *((size - 1) // 2 for size in form.field)].astype(np.float64)
        if np.count_nonzero(matrices) != tally.size - tally.zeros:
            continue
        short = matrices if matrices.shape[1] <= columns else matrices.swapaxes(1, 2)
        found = [_right_angles(matrix @ matrix.T, tensor.dtype) for matrix in short]
        gains = [each[0] for each in found if each]
        if found[0] and len(gains) == stacks and max(abs(gain / gains[0] - 1) for gain in gains) < SAME_GAIN:
            test = f"0 but at the centre, where {short.shape[1]} lines are {found[0][1]}"
            return Match(_with_gain("delta_orthogonal", gains[0]), axes=axes, test=test)
    return None


def _sparse(tally: Tally) -> Match | None:
    """Normal weights among zeros, of which all rows, or all columns, have as many."""
    for lines in (tally.rows, tally.columns):
        if lines is not None and len(lines.zeros) > 1 and 0 < lines.zeros[0] < lines.length:
            if not (lines.zeros == lines.zeros[0]).all():
                continue
            others = tally.size - tally.zeros
            std = math.sqrt((tally.std**2 + tally.mean**2) * tally.size / others)
            sample = tally.sample[tally.sample != 0]
            distance, chance = kolmogorov(REFERENCE_DISTRIBUTIONS[-1].cdf(np.sort(sample) / std))
            if chance > CHANCE:
                share, error = lines.zeros[0] / lines.length, std * SIGMAS / math.sqrt(2 * others)
                label = f"sparse({share:.4g}, std={_roundest(std - error, std + error):g})"
                return Match(
                    label, test=f"as many zeros in each line; the others normal, KS {distance:.2g}, p {chance:.2g}"
                )
    return None


# Weights that are drawn one by one.


def _independent(tensor: StoredTensor, tally: Tally, orders: Sequence[str]) -> Match:
    fits = [_fit(tally, law, EPS.get(tensor.dtype, 0.0)) for law in REFERENCE_DISTRIBUTIONS]
    fit = max(fits, key=lambda fit: (fit.good, fit.good and math.isinf(fit.law.cut), fit.chance))
    if not fit.good:
        return Match(None, test=f"no law: the nearest is {fit.words}")
    oddity, words = _structure(tensor, tally, fit)
    if oddity:
        return Match(None, test=f"{fit.words}, but {oddity}: trained, or no draw")
    found: list[tuple[float, Match]] = []
    for axes in orders if len(tensor.shape) >= 2 and fit.mean == 0 else ():
        for label, scheme in PRESETS.get(fit.law.label, {}).items():
            z = fit.sigmas_from(scheme, tensor.shape, axes)
            if z is not None:
                std = f"std {fit.std:.4g} for {scheme.std(tensor.shape, axes):.4g} (z {z:.1f})"
                found.append((abs(z), Match(label, axes=axes, test=std)))
        if found:  # the schemes of a less likely order only where this one has none
            break
    label, sigmas = fit.label()
    if fit.law.cut == 3 and math.isinf(sigmas):  # which trained weights may look like, if their std is any number
        return Match(None, test=f"{fit.words}, with a std that is no round number: trained, or no draw")
    found.append((sigmas, Match(label, test=f"std {fit.std:.4g}")))
    found.sort(key=lambda one: one[0])  # stable: of schemes that are one here, the best known comes first
    also = tuple(dict.fromkeys(str(other.scheme) for _, other in found[1:]))
    best = found[0][1]
    return best._replace(also=also, test="; ".join([fit.words, best.test, *words]))


class _Fit(NamedTuple):
    """A law laid on a tensor's numbers."""

    law: ReferenceDistribution
    size: int
    mean: float
    std: float  # as all numbers have it
    least: float
    greatest: float
    reach: float  # of the largest number, from the mean
    bound: float  # the std, as the largest number of a bounded law has it
    distance: float
    chance: float
    kurtosis: float  # in sigmas, from that of the law
    eps: float

    @property
    def good(self) -> bool:
        if self.chance < CHANCE or abs(self.kurtosis) > STRUCTURE_SIGMAS:
            return False
        if math.isfinite(self.law.bound):
            return abs(self.std / self.bound - 1) < SIGMAS * self.error + 2 * self.eps
        beyond = self.size * math.erfc(self.reach / self.std / math.sqrt(2))
        return _log_chance(self.law, self.reach / self.std, self.size) > LOG_CHANCE and beyond > CHANCE / 100

    @property
    def words(self) -> str:
        cut = "" if math.isinf(self.law.cut) or self.law.name == "uniform" else f" cut at {self.law.cut:g} sigma"
        return f"{self.law.name}{cut}, KS {self.distance:.2g} (p {self.chance:.2g}), kurtosis z {self.kurtosis:.1f}"

    @property
    def error(self) -> float:
        """Of the std, relatively: what chance moves it by."""
        return math.sqrt((self.law.moments[1] - 1) / self.size) / 2

    def sigmas_from(self, scheme: Initializer, shape: tuple[int, ...], axes: str) -> float | None:
        """How far the std is from that of a scheme; None where the weights are not those of it."""
        try:
            expected = scheme.std(shape, axes)
        except ValueError:
            return None
        z = (self.std / expected - 1) / self.error
        largest = self.reach / expected
        fits = abs(z) < SIGMAS and largest <= self.law.bound * (1 + 1e-6 + 2 * self.eps)
        return z if fits and _log_chance(self.law, largest * (1 + self.eps), self.size) > LOG_CHANCE else None

    def label(self) -> tuple[str, float]:
        """The scheme whose numbers are the roundest ones that fit, and how far off it counts as, in sigmas.

        A number of one digit, such as 0.02, was meant by somebody, if it fits much better than what the shape gives.
        """
        low, high = self.std * (1 - SIGMAS * self.error), self.std * (1 + SIGMAS * self.error)
        if math.isfinite(self.law.bound):
            low, high = self.bound * (1 - self.eps), self.bound * (1 + self.eps)
            while _log_chance(self.law, self.reach / high, self.size) > LOG_CHANCE:
                high += 0.02 * self.error * self.std
        if self.law.name == "uniform":
            # Each end for itself: the middle of the numbers is only near to that of the law.
            room = (self.greatest - self.least) * (self.eps - LOG_CHANCE / self.size)
            ends = _roundest(self.least - room, self.least), _roundest(self.greatest, self.greatest + room)
            return f"uniform({ends[0]:g}, {ends[1]:g})", math.inf
        error = SIGMAS * self.std / math.sqrt(self.size)
        mean = f"mean={_roundest(self.mean - error, self.mean + error):g}, " if self.mean else ""
        sigma = _roundest(low * self.law.sigma, high * self.law.sigma)
        off = abs(self.std * self.law.sigma / sigma - 1) / self.error + MEANT
        round_number = len(f"{sigma:e}".partition("e")[0].strip("0.")) == 1
        label = f"{'normal' if math.isinf(self.law.cut) else 'truncated_normal'}({mean}std={sigma:g})"
        return label + (", cut at 3 sigma" if self.law.cut == 3 else ""), off if round_number else math.inf


def _fit(tally: Tally, law: ReferenceDistribution, eps: float) -> _Fit:
    mean, std = tally.mean, tally.std
    if abs(mean) < SIGMAS * std / math.sqrt(tally.size):
        mean, std = 0.0, math.sqrt(std * std + mean * mean)
    elif law.name == "uniform":  # the middle says more than the mean
        mean = (tally.least + tally.greatest) / 2
    reach = max(tally.greatest - mean, mean - tally.least)
    bound = reach / law.bound
    distance, chance = kolmogorov(law.cdf((np.sort(tally.sample) - mean) / (bound or std)))
    ends = tally.least, tally.greatest
    return _Fit(law, tally.size, mean, std, *ends, reach, bound, distance, chance, _kurtosis(tally.sample, law), eps)


def _kurtosis(sample: Array, law: ReferenceDistribution) -> float:
    """How far the fourth moment of a sample is from that of a law, in standard errors."""
    x = sample - sample.mean()
    _, fourth, sixth, eighth = law.moments
    variance = (eighth - 4 * fourth * sixth + 4 * fourth**3 - fourth**2) / sample.size
    return float(((x**4).mean() / (x**2).mean() ** 2 - fourth) / math.sqrt(variance))


def _log_chance(law: ReferenceDistribution, largest: float, size: int) -> float:
    """The logarithm of the chance that no weight is larger, in stds."""
    beyond = math.erfc(largest / math.sqrt(2)) if math.isinf(law.bound) else 2 * float(law.cdf(np.array(-largest)))
    return size * math.log1p(-beyond) if beyond < 1 else -math.inf


def _structure(tensor: StoredTensor, tally: Tally, fit: _Fit) -> tuple[str | None, list[str]]:
    """What rows, columns and singular values have that independent weights have not; and the tests in words."""
    words: list[str] = []
    for what, lines in (("rows", tally.rows), ("columns", tally.columns)):
        if lines is None or min(len(lines.sums), lines.length) < FEWEST_LINES:
            continue
        sums, squares = _sigmas(lines, fit)
        if abs(sums) > STRUCTURE_SIGMAS:
            return f"the means of its {what} {'differ' if sums > 0 else 'agree too well'} (z {sums:.1f})", words
        if abs(squares) > STRUCTURE_SIGMAS:
            return f"the stds of its {what} {'differ' if squares > 0 else 'agree too well'} (z {squares:.1f})", words
        words.append(f"{what} z {sums:.1f}, {squares:.1f}")
    spike = _spike(tensor, fit)
    if spike is not None:
        words.append(f"top singular value {spike:.1f}")
        if spike > SPIKE:
            return f"its top singular value sticks out ({spike:.1f} of Tracy and Widom's units)", words
    return None, words


def _sigmas(lines: Lines, fit: _Fit) -> tuple[float, float]:
    """How far the means, and the mean squares, of lines scatter from what independent weights give them."""
    count, length, variance = len(lines.sums), lines.length, fit.std**2
    _, fourth, sixth, eighth = fit.law.moments
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
    """The largest squared singular value of a corner, from where chance puts it, in its own units (Johnstone 2001)."""
    if len(tensor.shape) < 2:
        return None
    first, last = tensor.shape[0], tensor.shape[-1]
    columns = tensor.size // first if min(first, tensor.size // first) >= min(last, tensor.size // last) else last
    rows = tensor.size // columns
    wanted = min(rows, SIDE)
    if min(rows, columns) < 16:
        return None
    taken: list[Array] = []
    for piece in tensor.pieces():
        taken.append(piece.reshape(-1, columns)[: wanted - sum(map(len, taken)), :SIDE].copy())
        if sum(map(len, taken)) >= wanted:
            break
    corner = (np.concatenate(taken).astype(np.float64) - fit.mean) / fit.std
    n, p = corner.shape
    centre = (math.sqrt(n - 1) + math.sqrt(p)) ** 2
    unit = (math.sqrt(n - 1) + math.sqrt(p)) * (1 / math.sqrt(n - 1) + 1 / math.sqrt(p)) ** (1 / 3)
    return float((top_singular_value(corner) ** 2 - centre) / unit)


def _roundest(low: float, high: float) -> float:
    """The number of the fewest digits between two."""
    if low <= 0 <= high:
        return 0.0
    if high < 0:
        return -_roundest(-high, -low)
    for digits in range(1, 17):
        unit = 10.0 ** (math.floor(math.log10(high)) + 1 - digits)
        candidate = math.floor(high / unit + 1e-9) * unit
        if candidate >= low * (1 - 1e-12):
            return float(f"{candidate:.15g}")
    return high
