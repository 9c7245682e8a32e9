"""Build of the compiled kernel; all other settings are in pyproject.toml."""

import sys
import sysconfig

from setuptools import Extension, setup

# Weights are one product and one sum, each rounded: no compiler may contract them.
FLAGS = ["/O2", "/fp:precise"] if sys.platform == "win32" else ["-std=c99", "-O3", "-ffp-contract=off"]
# One binary serves every Python from 3.11 on, but for a free-threaded one, which has no stable ABI yet.
STABLE = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    ext_modules=[
        Extension(
            "initlib.stream._kernel",
            ["initlib/stream/_kernel.c"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if STABLE else [],
            extra_compile_args=FLAGS,
            py_limited_api=STABLE,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE else {},
)
