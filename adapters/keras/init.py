"""The names of `keras.initializers`, with the core's draws."""

# mypy: disable-error-code="import-untyped, misc"
# Keras and TensorFlow come without types, so their classes are Any.

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras.initializers import STFT, Constant, Identity, Ones, Zeros
from keras.initializers import get as their_get

import initlib
from initlib._public import public
from initlib.schemes import FACTORIES

from .drawing.draw import InitlibMixin

_register = keras.saving.register_keras_serializable(package="initlib")


@public("initlib.adapters.keras")
@_register
class VarianceScaling(InitlibMixin, keras.initializers.VarianceScaling):
    """Weights of mean 0 and variance scale / fan: `keras.initializers.VarianceScaling`.

    >>> VarianceScaling(2.0, "fan_in", "uniform", seed=0, axes="OI").core
    variance_scaling(factor=2.0, mode='fan_in', distribution='uniform')

    The distribution "normal" is "truncated_normal", as in Keras; "untruncated_normal" is not truncated.
    """

    @property
    def core(self) -> initlib.Initializer:
        return initlib.variance_scaling(
            self.scale, self.mode, "normal" if self.distribution == "untruncated_normal" else self.distribution
        )


@public("initlib.adapters.keras")
@_register
class GlorotNormal(VarianceScaling, keras.initializers.GlorotNormal):
    """Truncated normal weights of variance 2 / (fan_in + fan_out) (Glorot, Bengio 2010)."""


@public("initlib.adapters.keras")
@_register
class GlorotUniform(VarianceScaling, keras.initializers.GlorotUniform):
    """Uniform weights of variance 2 / (fan_in + fan_out) (Glorot, Bengio 2010)."""


@public("initlib.adapters.keras")
@_register
class HeNormal(VarianceScaling, keras.initializers.HeNormal):
    """Truncated normal weights of variance 2 / fan_in (He et al. 2015, arXiv 1502.01852)."""


@public("initlib.adapters.keras")
@_register
class HeUniform(VarianceScaling, keras.initializers.HeUniform):
    """Uniform weights of variance 2 / fan_in (He et al. 2015, arXiv 1502.01852)."""


@public("initlib.adapters.keras")
@_register
class LecunNormal(VarianceScaling, keras.initializers.LecunNormal):
    """Truncated normal weights of variance 1 / fan_in (LeCun et al. 1998; Klambauer et al. 2017, arXiv 1706.02515)."""


@public("initlib.adapters.keras")
@_register
class LecunUniform(VarianceScaling, keras.initializers.LecunUniform):
    """Uniform weights of variance 1 / fan_in (LeCun et al. 1998)."""


@public("initlib.adapters.keras")
@_register
class RandomNormal(InitlibMixin, keras.initializers.RandomNormal):
    """Normal weights: `keras.initializers.RandomNormal`.

    >>> RandomNormal(stddev=0.02, seed=0).core
    normal(mean=0.0, std=0.02)
    """

    @property
    def core(self) -> initlib.Initializer:
        return initlib.normal(self.mean, self.stddev)


@public("initlib.adapters.keras")
@_register
class TruncatedNormal(InitlibMixin, keras.initializers.TruncatedNormal):
    """Normal weights kept within two `stddev` of the mean, which makes theirs 0.88 of it, as in Keras.

    >>> TruncatedNormal(stddev=0.02, seed=0).core
    truncated_normal(mean=0.0, std=0.02, low=-0.04, high=0.04)
    """

    @property
    def core(self) -> initlib.Initializer:
        return initlib.truncated_normal(self.mean, self.stddev)


@public("initlib.adapters.keras")
@_register
class RandomUniform(InitlibMixin, keras.initializers.RandomUniform):
    """Uniform weights between `minval` and `maxval`: `keras.initializers.RandomUniform`.

    >>> RandomUniform(-0.1, 0.1, seed=0).core
    uniform(low=-0.1, high=0.1)
    """

    @property
    def core(self) -> initlib.Initializer:
        return initlib.uniform(self.minval, self.maxval)


@public("initlib.adapters.keras")
@_register
class Orthogonal(InitlibMixin, keras.initializers.Orthogonal):
    """Orthogonal weights, as the matrix of all other axes to the last: `keras.initializers.Orthogonal`.

    >>> Orthogonal(gain=2.0, seed=0).core
    orthogonal(gain=2.0)
    """

    @property
    def core(self) -> initlib.Initializer:
        return initlib.orthogonal(self.gain)


@public("initlib.adapters.keras")
@_register
class CoreInitializer(InitlibMixin, keras.initializers.VarianceScaling):
    """Any initializer of the core, with Keras's seeds.

    >>> layer = keras.layers.Conv2D(8, 3, kernel_initializer=CoreInitializer(initlib.delta_orthogonal(), seed=0))
    >>> CoreInitializer(initlib.he_normal, seed=0, axes="HWBO")((3, 3, 32, 2)).shape == (3, 3, 32, 2)
    True

    Raises TypeError unless `core` is an initializer of `initlib`.
    """

    # Keras's VarianceScaling, because `EinsumDense` tells its axes to instances of that alone.

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
    """What Keras loads an initializer of the core by: its fields may hold others, which Keras leaves as configs."""

    def __init__(self, initializer: type[initlib.Initializer]) -> None:
        self.initializer = initializer

    def from_config(self, config: dict[str, Any]) -> initlib.Initializer:
        arguments = {key: keras.saving.deserialize_keras_object(value) for key, value in config.items()}
        return self.initializer.from_config(arguments)


# Keras can save and load the bare initializers of the core: in "initlib>" too, where classes here have names.
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
    """Make an initializer of a config, Keras's own among them, which then draw as the core does.

    >>> deserialize(keras.initializers.serialize(keras.initializers.HeNormal(seed=0))).core
    variance_scaling(factor=2.0, mode='fan_in', distribution='truncated_normal')
    """
    return keras.saving.deserialize_keras_object(config, custom_objects, module_objects=_OBJECTS)


@public("initlib.adapters.keras")
def get(identifier: Any) -> Any:
    """Make an initializer of a name, config, class, tensor or core initializer; callables and None are themselves.

    >>> get("he_normal").core == get(initlib.he_normal).core
    True

    Raises ValueError for anything else.
    """
    if isinstance(identifier, initlib.Initializer):
        return CoreInitializer(identifier)
    if isinstance(identifier, str):
        known = deserialize({"class_name": identifier, "config": {}})
    else:
        known = deserialize(identifier) if isinstance(identifier, dict) else identifier
    return their_get(known)
