"""The axes of a kernel that an einsum multiplies its inputs with."""

_FIELD = "XYZUVWKLMN"  # summed over, and in neither the inputs nor the outputs
_ROLES = {(True, False): "I", (False, True): "O", (True, True): "B"}


def einsum_axes(equation: str) -> str:
    """Return the axes of the second operand of an einsum.

    >>> einsum_axes("...btd,dnh->...btnh"), einsum_axes("bte,nehd->bnthd"), einsum_axes("egd,edf->egf")
    ('IOO', 'OIOO', 'BIO')

    An axis is an input or an output, or, where it is in both, one of a stack of independent kernels.
    """
    operands, _, outputs = equation.replace(" ", "").partition("->")
    inputs, _, kernel = operands.partition(",")
    field = iter(_FIELD)
    return "".join(_ROLES.get((letter in inputs, letter in outputs)) or next(field) for letter in kernel)
