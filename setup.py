"""The compiled kernel; everything else is in pyproject.toml."""

import sys

from setuptools import Extension, setup

# Weights are one product and one sum, each rounded: no compiler may contract them.
FLAGS = ["/O2", "/fp:precise"] if sys.platform == "win32" else ["-std=c99", "-O3", "-ffp-contract=off"]

setup(
    ext_modules=[
        Extension(
            "initlib.draws._kernel",
            ["initlib/draws/_kernel.c"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            extra_compile_args=FLAGS,
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
