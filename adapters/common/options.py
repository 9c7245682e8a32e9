"""Signatures with the arguments that many functions of an adapter share.

A `TypedDict` states these arguments once. Type checkers expand `**options: Unpack[...]`, but `help` and `inspect` do
not, and there is no plain way to show them the full signature.
"""

from inspect import Parameter, Signature, signature
from typing import Any


def show_options(function: Any, options: type) -> Signature:
    """Set and return the signature of a function, with the arguments of a `TypedDict` in place of `**options`."""
    written = signature(function)
    parameters = [parameter for name, parameter in written.parameters.items() if name != "options"]
    if len(parameters) < len(written.parameters):
        parameters += [
            Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in options.__annotations__.items()
        ]
    function.__signature__ = shown = written.replace(parameters=parameters)
    return shown
