"""Error of an adapter whose framework is not installed."""


def not_installed(error: ModuleNotFoundError, adapter: str) -> ModuleNotFoundError:
    """Return the error of a missing package, with the command that installs the framework of the adapter.

    >>> not_installed(ModuleNotFoundError("No module named 'jax'", name="jax"), "jax")
    ModuleNotFoundError('initlib.adapters.jax needs the package jax: pip install "initlib[jax]"')
    """
    package = (error.name or adapter).partition(".")[0]
    text = f'initlib.adapters.{adapter} needs the package {package}: pip install "initlib[{adapter}]"'
    if package == "tensorflow":
        text += ", or choose another backend by the environment variable KERAS_BACKEND"
    return ModuleNotFoundError(text, name=package)
