"""Names of `keras.initializers`, with the core's draws."""

# mypy: disable-error-code="import-untyped, misc"
# Keras and TensorFlow come without types, so their classes are Any.

import inspect
from collections.abc import Sequence
from typing import Any, TypeVar

import keras
from keras.initializers import STFT, Constant, Identity, Ones, Zeros
from keras.initializers import get as keras_get

import initlib
from initlib._public import public
from initlib.schemes.factories import FACTORIES

from .drawing.draw import InitlibMixin

Class = TypeVar("Class", bound=type)

SEED = """seed: an int, which draws the same weights at every call; a `keras.random.SeedGenerator`, which advances; or
            None for a seed from Python's `random`."""
AXES = """axes: the roles of the axes, such as "HWBO"; None is "...IO".
        name: a name that gives the weight a stream of its own under the seed, as in every other framework."""
SCALING = """Args:
        {seed}
        input_axes: the positions of input axes, which `EinsumDense` sets.
        output_axes: the positions of output axes, which `EinsumDense` sets.
        {axes}"""

_register = keras.saving.register_keras_serializable(package="initlib")


def _initializer(cls: Class) -> Class:
    """Register a class with Keras under its public name, and put the shared texts into its docstring."""
    text = (cls.__doc__ or "").replace("{scaling}", SCALING)
    cls.__doc__ = text.replace("{seed}", SEED).replace("{axes}", AXES)
    return _register(public("initlib.adapters.keras")(cls))


@_initializer
class VarianceScaling(InitlibMixin, keras.initializers.VarianceScaling):
    """An initializer of weights of mean 0 and variance scale / fan.

    Args:
        scale: the variance times the fan.
        mode: "fan_in", "fan_out" or "fan_avg".
        distribution: "truncated_normal" (also "normal", as in Keras), "untruncated_normal" or "uniform".
        {seed}
        input_axes: the positions of input axes, which `EinsumDense` sets.
        output_axes: the positions of output axes, which `EinsumDense` sets.
        {axes}

    Example:
        >>> VarianceScaling(2.0, "fan_in", "uniform", seed=0, axes="OI").core
        variance_scaling(factor=2.0, mode='fan_in', distribution='uniform')
    """

    @property
    def core(self) -> initlib.Initializer:
        distribution = "normal" if self.distribution == "untruncated_normal" else self.distribution
        return initlib.variance_scaling(self.scale, self.mode, distribution)


@_initializer
class GlorotNormal(VarianceScaling, keras.initializers.GlorotNormal):
    """An initializer of truncated normal weights of variance 2 / (fan_in + fan_out).

    {scaling}

    Reference:
        Glorot, Bengio. Understanding the difficulty of training deep feedforward neural networks. 2010.
    """


@_initializer
class GlorotUniform(VarianceScaling, keras.initializers.GlorotUniform):
    """An initializer of uniform weights of variance 2 / (fan_in + fan_out).

    {scaling}

    Reference:
        Glorot, Bengio. Understanding the difficulty of training deep feedforward neural networks. 2010.
    """


@_initializer
class HeNormal(VarianceScaling, keras.initializers.HeNormal):
    """An initializer of truncated normal weights of variance 2 / fan_in.

    {scaling}

    Reference:
        He, Zhang, Ren, Sun. Delving deep into rectifiers. 2015. arXiv:1502.01852.
    """


@_initializer
class HeUniform(VarianceScaling, keras.initializers.HeUniform):
    """An initializer of uniform weights of variance 2 / fan_in.

    {scaling}

    Reference:
        He, Zhang, Ren, Sun. Delving deep into rectifiers. 2015. arXiv:1502.01852.
    """


@_initializer
class LecunNormal(VarianceScaling, keras.initializers.LecunNormal):
    """An initializer of truncated normal weights of variance 1 / fan_in.

    {scaling}

    Reference:
        LeCun, Bottou, Orr, Müller. Efficient BackProp. 1998.
    """


@_initializer
class LecunUniform(VarianceScaling, keras.initializers.LecunUniform):
    """An initializer of uniform weights of variance 1 / fan_in.

    {scaling}

    Reference:
        LeCun, Bottou, Orr, Müller. Efficient BackProp. 1998.
    """


@_initializer
class RandomNormal(InitlibMixin, keras.initializers.RandomNormal):
    """An initializer of normal weights.

    Args:
        mean: the mean.
        stddev: the standard deviation.
        {seed}
        {axes}

    Example:
        >>> RandomNormal(stddev=0.02, seed=0).core
        normal(mean=0.0, std=0.02)
    """

    @property
    def core(self) -> initlib.Initializer:
        return initlib.normal(self.mean, self.stddev)


@_initializer
class TruncatedNormal(InitlibMixin, keras.initializers.TruncatedNormal):
    """An initializer of normal weights within two `stddev` of the mean, whose standard deviation is 0.88 `stddev`.

    Args:
        mean: the mean.
        stddev: the standard deviation before truncation.
        {seed}
        {axes}

    Example:
        >>> TruncatedNormal(stddev=0.02, seed=0).core
        truncated_normal(mean=0.0, std=0.02, low=-0.04, high=0.04)
    """

    @property
    def core(self) -> initlib.Initializer:
        return initlib.truncated_normal(self.mean, self.stddev)


@_initializer
class RandomUniform(InitlibMixin, keras.initializers.RandomUniform):
    """An initializer of weights uniform between `minval` and `maxval`.

    Args:
        minval: the lower bound.
        maxval: the upper bound.
        {seed}
        {axes}

    Example:
        >>> RandomUniform(-0.1, 0.1, seed=0).core
        uniform(low=-0.1, high=0.1)
    """

    @property
    def core(self) -> initlib.Initializer:
        return initlib.uniform(self.minval, self.maxval)


@_initializer
class Orthogonal(InitlibMixin, keras.initializers.Orthogonal):
    """An initializer of orthogonal weights: the matrix from all other axes to the last is orthogonal.

    Args:
        gain: the factor of the matrix.
        {seed}
        {axes}

    Example:
        >>> Orthogonal(gain=2.0, seed=0).core
        orthogonal(gain=2.0)

    Reference:
        Saxe, McClelland, Ganguli. Exact solutions to the nonlinear dynamics of learning in deep linear neural networks.
        2013. arXiv:1312.6120.
    """

    @property
    def core(self) -> initlib.Initializer:
        return initlib.orthogonal(self.gain)


@_initializer
class CoreInitializer(InitlibMixin, keras.initializers.VarianceScaling):
    """Any initializer of the core, with Keras's seeds.

    Args:
        core: an initializer of `initlib`, such as `initlib.dirac()`.
        {seed}
        input_axes: the positions of input axes, which `EinsumDense` sets.
        output_axes: the positions of output axes, which `EinsumDense` sets.
        {axes}

    Raises:
        TypeError: `core` is not an initializer of `initlib`.

    Example:
        >>> layer = keras.layers.Conv2D(8, 3, kernel_initializer=CoreInitializer(initlib.delta_orthogonal(), seed=0))
        >>> CoreInitializer(initlib.he_normal, seed=0, axes="HWBO")((3, 3, 32, 2)).shape == (3, 3, 32, 2)
        True
    """

    # The base is Keras's VarianceScaling, because `EinsumDense` hands its axes to instances of that class alone.

    def __init__(
        self,
        core: initlib.Initializer,
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
        *,
        axes: str | None = None,
        name: str | None = None,
    ) -> None:
        self._core = keras.saving.deserialize_keras_object(core) if isinstance(core, dict) else core
        if not isinstance(self._core, initlib.Initializer):
            raise TypeError(f"core must be an initializer of initlib, such as initlib.orthogonal(), got {core!r}")
        super().__init__(seed=seed, axes=axes, name=name)
        self.input_axes, self.output_axes = input_axes, output_axes

    @property
    def core(self) -> initlib.Initializer:
        return self._core

    def get_config(self) -> dict[str, Any]:
        return {
            "core": keras.saving.serialize_keras_object(self.core),
            "seed": super().get_config()["seed"],
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
            **self._given(),
        }


class _Saved:
    """A loader of an initializer of the core, whose fields may hold the configs of other initializers."""

    def __init__(self, initializer: type[initlib.Initializer]) -> None:
        self.initializer = initializer

    def from_config(self, config: dict[str, Any]) -> initlib.Initializer:
        arguments = {key: keras.saving.deserialize_keras_object(value) for key, value in config.items()}
        return self.initializer.from_config(arguments)


# Keras saves and loads bare initializers of the core, under names that differ from those of the classes above.
for _scheme in FACTORIES.values():
    keras.saving.register_keras_serializable("initlib", f"core.{_scheme.__name__}")(_scheme)
    keras.saving.get_custom_objects()[f"initlib>core.{_scheme.__name__}"] = _Saved(_scheme)

constant, identity, ones, zeros, stft = Constant, Identity, Ones, Zeros, STFT
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling, orthogonal = VarianceScaling, Orthogonal
glorot_normal, glorot_uniform = GlorotNormal, GlorotUniform
he_normal, he_uniform = HeNormal, HeUniform
lecun_normal, lecun_uniform = LecunNormal, LecunUniform
IdentityInitializer, OrthogonalInitializer, STFTInitializer = Identity, Orthogonal, STFT

_OBJECTS = {
    name: value
    for name, value in globals().items()
    if inspect.isclass(value) and issubclass(value, keras.initializers.Initializer) and not name.startswith("_")
}
_OBJECTS |= {"normal": RandomNormal, "uniform": RandomUniform, "one": Ones, "zero": Zeros}


@public("initlib.adapters.keras")
def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Make an initializer from a config. A config of Keras's own class gives the class of this module.

    Args:
        config: the result of `keras.initializers.serialize`.
        custom_objects: classes and functions by name, as in Keras.

    Returns:
        The initializer.

    Example:
        >>> deserialize(keras.initializers.serialize(keras.initializers.HeNormal(seed=0))).core
        variance_scaling(factor=2.0, mode='fan_in', distribution='truncated_normal')
    """
    return keras.saving.deserialize_keras_object(config, custom_objects, module_objects=_OBJECTS)


@public("initlib.adapters.keras")
def get(identifier: Any) -> Any:
    """Return the initializer that an identifier names.

    Args:
        identifier: a name, config, class, tensor or initializer of the core; callables and None are returned unchanged.

    Returns:
        The initializer.

    Raises:
        ValueError: `identifier` is of another type.

    Example:
        >>> get("he_normal").core == get(initlib.he_normal).core
        True
    """
    if isinstance(identifier, initlib.Initializer):
        return CoreInitializer(identifier)
    if isinstance(identifier, str):
        identifier = {"class_name": identifier, "config": {}}
    return keras_get(deserialize(identifier) if isinstance(identifier, dict) else identifier)
