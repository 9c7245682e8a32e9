"""Schemes that few programs use, loaded with the names of all schemes, or when one of them is first used."""

from ._alibi_slopes import alibi_slopes as alibi_slopes
from ._hadamard import zero_hadamard as zero_hadamard
from ._icnr import icnr as icnr
from ._rotary_frequencies import rotary_frequencies as rotary_frequencies
from ._sinusoidal import sinusoidal as sinusoidal
from ._siren import siren as siren
from ._sparse import sparse as sparse
from ._spectral import spectral as spectral
from ._transforms import inverse_softplus as inverse_softplus
from ._transforms import log_uniform as log_uniform
from ._transforms import logarithm as logarithm
from .frozen import FACTORIES as FACTORIES
