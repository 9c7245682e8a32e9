"""The schemes: what an initializer is, the kinds there are, and one file for each family."""

from .complexes import TwoParts
from .constants import Constant
from .hadamard import ZeroHadamard
from .initializer import Initializer, Scaled
from .normal import Normal, TruncatedNormal
from .orthogonality import DeltaOrthogonal, Orthogonal
from .passthrough import Dirac, Identity
from .sines import Siren
from .sparsity import Sparse
from .spectra import Spectral
from .transforms import InverseSoftplus, LogUniform
from .uniform import Uniform
from .upscaling import Icnr
from .variance import VarianceScaling

__all__ = ["FACTORIES"]

# What a file or a command line can name: nothing else is ever made from text.
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
