"""Weights: the tensors of a model, by the names that no wrapper changes, and the places that hold them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from initlib import PlanError

from .. import _private as internals
from . import constructor_values as built
from .layers import BIAS, UNKNOWN, ParameterRole, meanings, own_class

# Wrappers keep the wrapped module under these names, or, those of the classes below, under `module`.
WRAPPED = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
PARALLEL = {"DataParallel", "DistributedDataParallel", "AveragedModel", "DeepSpeedEngine"}

REMADE = "{steps} makes another weight of what is stored, which no initializer foresees"
LAZY = "{owner} is lazy, and has no shape yet; run a batch through the model first"
TWICE = "two tensors have this name, once the prefixes of wrappers are off"


class Place(NamedTuple):
    """Where a module keeps a tensor."""

    module: nn.Module
    attribute: str

    @property
    def tensor(self) -> Any:
        return getattr(self.module, self.attribute)


class Built(NamedTuple):
    """What a vector was built with: the value of all its weights, or None where they differed."""

    value: float | None


class Magnitude(NamedTuple):
    """The norms of a weight-normed weight, which is magnitude * direction / |direction|."""

    place: Place
    axis: int  # one norm an index of it; -1: one for all
    hook: WeightNorm | None = None  # what makes the weight anew before each call, where no property does


@dataclass(eq=False)
class ModelTensor:
    """A tensor of the model: its names and the places that hold it, first those by which it is known."""

    owner: nn.Module
    meaning: ParameterRole
    names: list[str]
    places: list[Place]
    needs: str | None = None
    magnitude: Magnitude | None = None
    built: Built | None = None  # None: nobody knows
    padding: int | None = None
    flat: internals.FlatShard | None = None  # of the weight this rank holds a range, and no place holds a tensor

    @property
    def tensor(self) -> Any:
        """The memory that there is of it here."""
        return self.places[0].tensor if self.flat is None else self.flat.memory

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all of it."""
        return tuple(self.tensor.shape) if self.flat is None else self.flat.shape


def walk(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Every module of the model with what its parameters' names begin with, wherever it appears.

    `prefix` is the name that the model itself has in a bigger one.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {module!r}")
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string, got {prefix!r}")
    above = {"": (f"{prefix.removesuffix('.')}." if prefix else "", module)}  # by the path that PyTorch knows
    for path, part in module.named_modules(remove_duplicate=False):
        parent, _, name = path.rpartition(".")
        before, holder = above[parent]
        parallel = name == "module" and not PARALLEL.isdisjoint(cls.__name__ for cls in type(holder).__mro__)
        above[path] = before if path == "" or name in WRAPPED or parallel else f"{before}{name}.", part
        yield above[path]


def _held(module: nn.Module, flat: Mapping[str, internals.FlatShard]) -> Iterator[ModelTensor]:
    """The tensors that a module keeps, each by the name of the weight that it is."""
    if isinstance(module, ParametrizationList):
        return  # they are its module's: below
    known = meanings(module)

    def held(name: str, place: Place, meaning: ParameterRole | None = None, **more: Any) -> ModelTensor:
        meaning = meaning or known.get(name) or (BIAS if name == "bias" else UNKNOWN)
        padding = getattr(module, "padding_idx", None) if meaning.kind == "table" else None
        return ModelTensor(module, meaning, [name], [place], padding=padding, **more)

    stored: set[str] = set()
    for hook in internals.calls_before_forward(module):
        if isinstance(hook, WeightNorm):
            magnitude = Magnitude(Place(module, f"{hook.name}_g"), hook.dim, hook)
            yield held(hook.name, Place(module, f"{hook.name}_v"), magnitude=magnitude)
            stored |= {f"{hook.name}_g", f"{hook.name}_v"}
        elif isinstance(hook, SpectralNorm):
            name = f"{hook.name}_orig"
            yield held(name, Place(module, name), known.get(hook.name), needs=REMADE.format(steps="SpectralNorm"))
            stored.add(name)
    own = [name for name, _ in module.named_parameters(recurse=False, remove_duplicate=False)]
    for name in dict.fromkeys([*own, *flat]):
        if name not in stored and name != internals.FLAT:
            yield held(name, Place(module, name), flat=flat.get(name))
    for name, chain in getattr(module, "parametrizations", {}).items():
        if len(chain) == 1 and isinstance(chain[0], internals.WeightNorm):
            magnitude = Magnitude(Place(chain, "original0"), chain[0].dim)
            yield held(name, Place(chain, "original1"), magnitude=magnitude)
            continue
        needs = REMADE.format(steps=", then ".join(type(step).__name__ for step in chain))
        for attribute, _ in chain.named_parameters(recurse=False):
            meaning = known.get(name) if attribute == "original" else UNKNOWN
            yield held(f"parametrizations.{name}.{attribute}", Place(chain, attribute), meaning, needs=needs)


def weights(module: nn.Module, prefix: str = "") -> list[ModelTensor]:
    """The tensors of the model, each once. Raises PlanError where some are none that can be told apart or filled."""
    modules = list(walk(module, prefix))
    flat: dict[int, dict[str, internals.FlatShard]] = {}
    for _, part in modules:
        for shard, holder, name in internals.flat_shards(part):
            flat.setdefault(id(holder), {})[name] = shard
    found: dict[int, ModelTensor] = {}
    problems = []
    for before, part in modules:
        try:
            held = list(_held(part, flat.get(id(part), {})))
        except (TypeError, ValueError) as error:  # wrong axes, declared for its class
            problems.append(str(error))
            continue
        for weight in held:
            weight.names = [before + weight.names[0]]
            stored: Any = weight.flat or weight.tensor
            if is_lazy(stored):
                problems.append(f"{weight.names[0]}: {LAZY.format(owner=own_class(part).__name__)}")
            elif id(stored) in found:
                _join(found[id(stored)], weight)
            else:
                found[id(stored)] = weight
    tied = _tied(modules, list(found.values()))
    names = [name for weight in tied for name in weight.names]
    problems += [f"{name}: {TWICE}" for name, count in Counter(names).items() if count > 1]
    if problems:
        raise PlanError(problems)
    return tied


def stored_axes(weight: ModelTensor) -> str | None:
    """What the axes of a weight mean; of one that nobody knows, as PyTorch stores most. None for vectors."""
    return weight.meaning.axes or ("OI..." if len(weight.shape) >= 2 else None)


def _join(first: ModelTensor, other: ModelTensor) -> None:
    """One tensor is in more places."""
    first.names += other.names
    first.places += other.places
    first.padding = other.padding if first.padding is None else first.padding


def _tied(modules: list[tuple[str, nn.Module]], found: list[ModelTensor]) -> list[ModelTensor]:
    """The same tensors, those taken together that were one before `to_empty()`."""
    pairs = []
    groups: dict[Any, ModelTensor] = {}
    for weight in found:
        for place in weight.places:
            group = built.tie(*place)
            if group is not None:
                pairs.append((groups.setdefault(group, weight), weight))
    named = {name: weight for weight in found for name in weight.names}
    for prefix, part in modules:
        # transformers knows them by name: {target: source}.
        for target, source in getattr(part, "all_tied_weights_keys", {}).items():
            if prefix + target in named and prefix + source in named:
                pairs.append((named[prefix + target], named[prefix + source]))
    order = {id(weight): number for number, weight in enumerate(found)}
    joined: dict[int, ModelTensor] = {}

    def root(weight: ModelTensor) -> ModelTensor:
        return root(joined[id(weight)]) if id(weight) in joined else weight

    for pair in pairs:
        first, other = sorted(map(root, pair), key=lambda weight: order[id(weight)])
        if first is not other and first.shape == other.shape:
            _join(first, other)
            joined[id(other)] = first
    return [weight for weight in found if id(weight) not in joined]
