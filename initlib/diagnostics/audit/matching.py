"""Search for the scheme that a tensor's numbers follow, with the tests that support it."""

import math
from collections.abc import Sequence

import numpy as np

from ...files.readers.stored_tensor import StoredTensor
from ...schemes._hadamard import zero_hadamard
from ...schemes._identity import dirac, identity
from .independent import CHANCE, SIGMAS, independent, roundest
from .match import Match
from .reference_distributions import REFERENCE_DISTRIBUTIONS, kolmogorov
from .right_angles import delta_orthogonal, orthogonal
from .tally import Tally

MOST_IN_ROW = 2**23  # numbers of the rows that are compared with a matrix, in copies of float64
FEWEST = 1024  # the fewest weights in which a drawn weight differs visibly from a trained one
FEW_ZEROS = 2e-3  # the largest share of zeros that rounding to 16 bits may give
EXACT = 2e-3  # the relative tolerance of a scheme that computes its weights
EXACT_SCHEMES = {"identity": identity(), "dirac": dirac(), "zero_hadamard": zero_hadamard()}


def match(tensor: StoredTensor, tally: Tally, orders: Sequence[str]) -> Match:
    """Return the scheme of a tensor. `orders` are the axes that it may have, the likeliest first."""
    if tally.count < tally.size or not tally.size:
        return Match(None, test="some numbers are not finite" if tally.size else "the tensor is empty")
    if tally.least == tally.greatest:
        names = {0.0: "zeros", 1.0: "ones"}
        return Match(names.get(tally.least, f"constant({tally.least:.6g})"), test="all weights are equal")
    is_matrix = len(tensor.shape) >= 2 and tally.size // tensor.shape[0] <= MOST_IN_ROW
    exact = _exact(tensor, tally, orders) if is_matrix else None
    if exact:
        return exact
    if tally.size < FEWEST:
        return Match(None, test=f"{tally.size} weights are too few to test")
    if tally.scale != 1:
        return Match(None, test="the squares of the numbers leave the range of float64")
    tally, empty = tally.without_empty_rows()
    if empty:
        others = independent(tensor, tally, orders)
        return others._replace(test=f"{empty} row{'s' * (empty > 1)} of 0; the others: {others.test}")
    if tally.zeros > 4 + FEW_ZEROS * tally.size:
        delta = delta_orthogonal(tensor, tally.zeros, orders)
        return delta or _sparse(tally) or Match(None, test=f"{tally.zeros} weights are 0")
    result = independent(tensor, tally, orders)
    if result.scheme is None and is_matrix:
        return orthogonal(tensor, orders) or result
    return result


def _exact(tensor: StoredTensor, tally: Tally, orders: Sequence[str]) -> Match | None:
    """Match the schemes that compute their weights from the indices."""
    if np.unique(tally.sample).size > 3:
        return None
    for axes in orders:
        for name, scheme in EXACT_SCHEMES.items():
            try:
                gain = tally.greatest / scheme.bounds(tensor.shape, axes)[1]
                start = 0
                for piece in tensor.pieces():
                    drawn = scheme(tensor.shape, "float32", axes=axes, seed=0, index=slice(start, start + len(piece)))
                    start += len(piece)
                    if not np.allclose(drawn * gain, piece, rtol=EXACT, atol=0):
                        break
                else:
                    label = name if abs(gain - 1) < EXACT else f"{name}(gain={gain:.6g})"
                    return Match(label, axes=axes, test="all weights equal the weights of the scheme")
            except ValueError:  # the scheme has no such shape
                continue
    return None


def _sparse(tally: Tally) -> Match | None:
    """Match normal weights among zeros, with as many zeros in each row or in each column."""
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
                return Match(
                    f"sparse({share:.4g}, std={roundest(std - error, std + error):g})",
                    test=f"equally many zeros in each line; other weights normal, KS {distance:.2g}, p {chance:.2g}",
                )
    return None
