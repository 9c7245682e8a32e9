"""Signatures with the arguments that many functions of an adapter share.

A `TypedDict` states these arguments once. Type checkers expand `**options: Unpack[...]`, but `help` and `inspect` do
not, and there is no plain way to show them the full signature.
"""

from inspect import Parameter, Signature


def with_options(signature: Signature, options: type) -> Signature:
    """Return the signature with the arguments of a `TypedDict` in place of `**options`."""
    parameters = [parameter for name, parameter in signature.parameters.items() if name != "options"]
    if len(parameters) < len(signature.parameters):
        parameters += [
            Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in options.__annotations__.items()
        ]
    return signature.replace(parameters=parameters)
