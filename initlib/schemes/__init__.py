"""The schemes: initializers, their kinds, and one file for each family."""

from ._complex import TwoParts
from ._constant import Constant
from ._hadamard import ZeroHadamard
from ._icnr import Icnr
from ._identity import Dirac, Identity
from ._normal import Normal, TruncatedNormal
from ._orthogonal import DeltaOrthogonal, Orthogonal
from ._siren import Siren
from ._sparse import Sparse
from ._spectral import Spectral
from ._transforms import InverseSoftplus, Logarithm, LogUniform
from ._uniform import Uniform
from ._variance import VarianceScaling
from .initializer import Initializer, Scaled

__all__ = ["FACTORIES"]

# The initializers that a file or a command line can name: no other class is ever made from text.
FACTORIES: dict[str, type[Initializer]] = {
    scheme.factory: scheme
    for scheme in (
        Constant,
        DeltaOrthogonal,
        Dirac,
        Icnr,
        Identity,
        InverseSoftplus,
        LogUniform,
        Logarithm,
        Normal,
        Orthogonal,
        Scaled,
        Siren,
        Sparse,
        Spectral,
        TruncatedNormal,
        TwoParts,
        Uniform,
        VarianceScaling,
        ZeroHadamard,
    )
}
