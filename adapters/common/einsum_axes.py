"""Axes of a kernel that an einsum multiplies with its inputs."""

_FIELD = "XYZUVWKLMN"  # summed over, and in neither the inputs nor the outputs
_ROLES = {(True, False): "I", (False, True): "O", (True, True): "B"}


def einsum_axes(equation: str) -> str:
    """Return the axes of the second operand of an einsum.

    >>> einsum_axes("...btd,dnh->...btnh"), einsum_axes("bte,nehd->bnthd"), einsum_axes("egd,edf->egf")
    ('IOO', 'OIOO', 'BIO')

    An axis of the kernel is an input or an output. An axis that inputs and outputs share is a stack of kernels.
    """
    operands, _, outputs = equation.replace(" ", "").partition("->")
    inputs, _, kernel = operands.partition(",")
    field = iter(_FIELD)
    return "".join(_ROLES.get((letter in inputs, letter in outputs)) or next(field) for letter in kernel)
