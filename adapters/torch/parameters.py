"""Parameters: the weights of a model, by the names that no wrapper changes, with what their modules say of them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from initlib import Parameter, PlanError, constant, keep

from . import built, internals
from .modules import BIAS, UNKNOWN, Meaning, meanings, own_class

__all__ = ["Magnitude", "Place", "Weight", "parameters", "walk", "weights"]

# Wrappers keep the wrapped module under these names, or, those of the classes below, under `module`.
WRAPPED = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
PARALLEL = ("DataParallel", "DistributedDataParallel", "AveragedModel", "DeepSpeedEngine", "FullyShardedDataParallel")

LOST = "what {owner} starts it with cannot be read from memory any more; build the model in `with skeleton():`"
REMADE = "{steps} makes another weight of what is stored, which no initializer foresees"
LAZY = "{owner} is lazy, and has no shape yet; run a batch through the model first"
FLAT = "it is a flat shard of several parameters; wrap the model with use_orig_params=True"
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
class Weight:
    """A tensor of the model: its names and the places that hold it, first those by which it is known."""

    owner: nn.Module
    meaning: Meaning
    names: list[str]
    places: list[Place]
    needs: str | None = None
    magnitude: Magnitude | None = None
    built: Built | None = None  # None: nobody knows
    padding: int | None = None

    @property
    def tensor(self) -> Any:
        return self.places[0].tensor


def walk(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Every module of the model with what its parameters' names begin with, wherever it appears.

    `prefix` is the name that the model itself has in a bigger one.
    """
    above = {"": (f"{prefix.removesuffix('.')}." if prefix else "", module)}  # by the path that PyTorch knows
    for path, part in module.named_modules(remove_duplicate=False):
        parent, _, name = path.rpartition(".")
        before, holder = above[parent]
        parallel = name == "module" and type(holder).__name__ in PARALLEL
        above[path] = before if path == "" or name in WRAPPED or parallel else f"{before}{name}.", part
        yield above[path]


def _held(module: nn.Module) -> Iterator[Weight]:
    """The tensors that a module keeps, each by the name of the weight that it is."""
    if isinstance(module, ParametrizationList):
        return  # they are its module's: below
    known = meanings(module)

    def held(name: str, place: Place, meaning: Meaning | None = None, **more: Any) -> Weight:
        meaning = meaning or known.get(name) or (BIAS if name == "bias" else UNKNOWN)
        padding = getattr(module, "padding_idx", None) if meaning.kind == "table" else None
        return Weight(module, meaning, [name], [place], padding=padding, **more)

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
    for name, _ in module.named_parameters(recurse=False, remove_duplicate=False):
        if name not in stored:
            yield held(name, Place(module, name))
    for name, chain in getattr(module, "parametrizations", {}).items():
        if len(chain) == 1 and isinstance(chain[0], internals.WeightNorm):
            magnitude = Magnitude(Place(chain, "original0"), chain[0].dim)
            yield held(name, Place(chain, "original1"), magnitude=magnitude)
            continue
        needs = REMADE.format(steps=", then ".join(type(step).__name__ for step in chain))
        for attribute, _ in chain.named_parameters(recurse=False):
            meaning = known.get(name) if attribute == "original" else UNKNOWN
            yield held(f"parametrizations.{name}.{attribute}", Place(chain, attribute), meaning, needs=needs)


def weights(module: nn.Module, prefix: str = "") -> list[Weight]:
    """The tensors of the model, each once. Raises PlanError where some are none that can be told apart or filled."""
    found: dict[int, Weight] = {}
    problems = []
    for before, part in walk(module, prefix):
        try:
            held = list(_held(part))
        except ValueError as error:  # wrong axes, declared for its class
            problems.append(str(error))
            continue
        for weight in held:
            weight.names = [before + weight.names[0]]
            tensor, owner = weight.tensor, own_class(part).__name__
            if is_lazy(tensor):
                problems.append(f"{weight.names[0]}: {LAZY.format(owner=owner)}")
            elif type(tensor).__name__ == "FlatParameter":
                problems.append(f"{weight.names[0]}: {FLAT}")
            elif id(tensor) in found:
                _join(found[id(tensor)], weight)
            else:
                found[id(tensor)] = weight
    tied = _tied(walk(module, prefix), list(found.values()))
    names = [name for weight in tied for name in weight.names]
    problems += [f"{name}: {TWICE}" for name, count in Counter(names).items() if count > 1]
    if problems:
        raise PlanError(problems)
    return tied


def _join(first: Weight, other: Weight) -> None:
    """One tensor is in more places."""
    first.names += other.names
    first.places += other.places
    first.padding = other.padding if first.padding is None else first.padding


def _tied(modules: Iterator[tuple[str, nn.Module]], found: list[Weight]) -> list[Weight]:
    """The same tensors, those taken together that were one before `to_empty()`."""
    pairs = []
    groups: dict[Any, Weight] = {}
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
    joined: dict[int, Weight] = {}

    def root(weight: Weight) -> Weight:
        return root(joined[id(weight)]) if id(weight) in joined else weight

    for pair in pairs:
        first, other = sorted(map(root, pair), key=lambda weight: order[id(weight)])
        if first is not other and first.tensor.shape == other.tensor.shape:
            _join(first, other)
            joined[id(other)] = first
    return [weight for weight in found if id(weight) not in joined]


def parameters(found: list[Weight], witnesses: list[Weight] | None = None) -> list[Parameter]:
    """What a plan is made of. Raises PlanError where axes do not fit their tensors.

    The witnesses are the tensors that show whether memory holds what the model was built with: else all.
    """
    seen = found if witnesses is None else witnesses
    readable = built.as_built((weight.owner, weight.tensor) for weight in seen)
    made, problems = [], []
    for weight in found:
        try:
            made.append(_parameter(weight, readable))
        except ValueError as error:
            problems.append(f"{weight.names[0]}: {error}")
    if problems:
        raise PlanError(problems)
    return made


def _parameter(weight: Weight, readable: bool) -> Parameter:
    tensor, meaning, owner = weight.tensor, weight.meaning, own_class(weight.owner).__name__
    default: Any = meaning.default
    needs = weight.needs
    if not tensor.is_floating_point() and not tensor.is_complex():
        default = keep  # counts, masks, quantized weights: nothing to draw
    elif tensor.ndim < 2 and needs is None:
        weight.built = _built(weight, readable)
        if weight.built is not None and weight.built.value is not None:
            default = constant(weight.built.value)
        elif default is None and (meaning.kind == "scale" or weight.built is None):
            needs = LOST.format(owner=owner)
    return Parameter(
        weight.names[0],
        tuple(tensor.shape),
        str(tensor.dtype).removeprefix("torch."),
        meaning.axes,
        meaning.kind,
        owner,
        default,
        tuple(weight.names[1:]),
        weight.padding,
        needs,
    )


def _built(weight: Weight, readable: bool) -> Built | None:
    """What it was built with, as its module remembers it or else, where memory can be believed, as it holds it."""
    for place in weight.places:
        if built.is_recorded(*place):
            return Built(built.recorded_constant(*place))
    return Built(built.constant_of(weight.tensor)) if readable else None
