"""The tensors of a model: their names, which no wrapper changes, and the places that hold them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from initlib import Parameter, PlanError, constant, keep
from initlib.plans.rules.values import Fill

from .. import _private
from . import constructor_values
from .fsdp1 import FlatShard, flat_shards
from .layers import BIAS, UNKNOWN, ParameterRole, own_class, roles

# Wrappers keep the wrapped module under these names, or, those of the classes below, under `module`.
WRAPPED = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
PARALLEL = {"DataParallel", "DistributedDataParallel", "AveragedModel", "DeepSpeedEngine"}

COMPUTED = "the model uses {steps} of the stored tensor, and no initializer allows for that"
LAZY = "{owner} is lazy, and its parameters have no shape yet; run a batch through the model first"
TWICE = "two tensors have this name once the prefixes of wrappers are removed"
LOST = "the value that {owner} gives it cannot be read from memory; build the model in `with skeleton():`"

Modules = list[tuple[str, nn.Module]]  # every module, and the prefix of the names of its tensors


class Place(NamedTuple):
    """A module and the attribute under which it keeps a tensor."""

    module: nn.Module
    attribute: str

    @property
    def tensor(self) -> Any:
        return getattr(self.module, self.attribute)


class Magnitude(NamedTuple):
    """The norms of a weight-normed weight, which is magnitude * direction / |direction|."""

    place: Place
    axis: int  # one norm for each index of this axis; -1: one for all
    hook: WeightNorm | None = None  # computes the weight before each call, in the old weight norm


class ConstructorConstant(NamedTuple):
    """The value of all weights of a vector as its module was built, or None where they differed."""

    value: float | None


@dataclass(eq=False)
class ModelTensor:
    """A tensor of the model: its names, and the places that hold it; the first of each identifies it."""

    owner: nn.Module
    role: ParameterRole
    names: list[str]
    places: list[Place]
    needs: str | None = None
    magnitude: Magnitude | None = None
    built: ConstructorConstant | None = None  # None: not known
    padding: int | None = None
    flat: FlatShard | None = None  # this rank holds a range of the parameter, and no place holds a tensor

    @property
    def tensor(self) -> Any:
        """Return the memory of the tensor on this rank."""
        return self.places[0].tensor if self.flat is None else self.flat.memory

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the full shape."""
        return tuple(self.tensor.shape) if self.flat is None else self.flat.shape

    @property
    def stored_axes(self) -> str | None:
        """Return the axes; those of most PyTorch weights where the module does not state them; None for vectors."""
        return self.role.axes or ("OI..." if len(self.shape) >= 2 else None)


def walk(module: nn.Module, prefix: str = "") -> Modules:
    """Return every module of the model, wherever it appears, with the prefix of the names of its tensors.

    `prefix` is the name of the model itself in a bigger one.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {module!r}")
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string, got {prefix!r}")
    above = {"": (f"{prefix.removesuffix('.')}." if prefix else "", module)}  # by PyTorch's path
    for path, part in module.named_modules(remove_duplicate=False):
        parent, _, name = path.rpartition(".")
        before, holder = above[parent]
        parallel = name == "module" and not PARALLEL.isdisjoint(cls.__name__ for cls in type(holder).__mro__)
        above[path] = before if path == "" or name in WRAPPED or parallel else f"{before}{name}.", part
    return list(above.values())


def _owned(module: nn.Module, flat: Mapping[str, FlatShard]) -> Iterator[ModelTensor]:
    """Return the tensors that a module keeps, each under the name of the weight that it stores."""
    if isinstance(module, ParametrizationList):
        return  # the module that owns the list returns its tensors, below
    known = roles(module)

    def owned(name: str, place: Place, role: ParameterRole | None = None, **more: Any) -> ModelTensor:
        role = role or known.get(name) or (BIAS if name == "bias" else UNKNOWN)
        padding = getattr(module, "padding_idx", None) if role.kind == "table" else None
        return ModelTensor(module, role, [name], [place], padding=padding, **more)

    stored: set[str] = set()
    for hook in _private.calls_before_forward(module):
        if isinstance(hook, WeightNorm):
            magnitude = Magnitude(Place(module, f"{hook.name}_g"), hook.dim, hook)
            yield owned(hook.name, Place(module, f"{hook.name}_v"), magnitude=magnitude)
            stored |= {f"{hook.name}_g", f"{hook.name}_v"}
        elif isinstance(hook, SpectralNorm):
            name = f"{hook.name}_orig"
            yield owned(name, Place(module, name), known.get(hook.name), needs=COMPUTED.format(steps="SpectralNorm"))
            stored.add(name)
    own = [name for name, _ in module.named_parameters(recurse=False, remove_duplicate=False)]
    for name in dict.fromkeys([*own, *flat]):
        if name not in stored and name != _private.FLAT:
            yield owned(name, Place(module, name), flat=flat.get(name))
    for name, chain in getattr(module, "parametrizations", {}).items():
        if len(chain) == 1 and isinstance(chain[0], _private.WeightNorm):
            magnitude = Magnitude(Place(chain, "original0"), chain[0].dim)
            yield owned(name, Place(chain, "original1"), magnitude=magnitude)
            continue
        needs = COMPUTED.format(steps=", then ".join(type(step).__name__ for step in chain))
        for attribute, _ in chain.named_parameters(recurse=False):
            role = known.get(name) if attribute == "original" else UNKNOWN
            yield owned(f"parametrizations.{name}.{attribute}", Place(chain, attribute), role, needs=needs)


def model_tensors(modules: Modules, *, skip_lazy: bool = False) -> list[ModelTensor]:
    """Return the tensors of the modules of a model, each once.

    Raises PlanError for tensors that have no name of their own, and for those of lazy modules, unless they are skipped.
    """
    flat = flat_shards(part for _, part in modules)
    tensors: dict[int, ModelTensor] = {}
    problems = []
    for prefix, part in modules:
        try:
            owned = list(_owned(part, flat.get(id(part), {})))
        except (TypeError, ValueError) as error:  # wrong axes, declared for its class
            problems.append(str(error))
            continue
        for each in owned:
            each.names = [prefix + each.names[0]]
            stored: Any = each.flat or each.tensor
            if is_lazy(stored) and skip_lazy:
                continue
            if is_lazy(stored):
                problems.append(f"{each.names[0]}: {LAZY.format(owner=own_class(part).__name__)}")
            elif id(stored) in tensors:
                _join(tensors[id(stored)], each)
            else:
                tensors[id(stored)] = each
    tied = _tied(modules, list(tensors.values()))
    names = [name for each in tied for name in each.names]
    problems += [f"{name}: {TWICE}" for name, count in Counter(names).items() if count > 1]
    if problems:
        raise PlanError(problems)
    return tied


def _join(first: ModelTensor, other: ModelTensor) -> None:
    """Add the names and places of another appearance of a tensor."""
    first.names += other.names
    first.places += other.places
    first.padding = other.padding if first.padding is None else first.padding


def _tied(modules: Modules, tensors: list[ModelTensor]) -> list[ModelTensor]:
    """Return the tensors, with those joined that were tied before `to_empty()`."""
    pairs = []
    groups: dict[Any, ModelTensor] = {}
    for each in tensors:
        for place in each.places:
            group = constructor_values.tie(*place)
            if group is not None:
                pairs.append((groups.setdefault(group, each), each))
    named = {name: each for each in tensors for name in each.names}
    for prefix, part in modules:
        # transformers knows ties by name: {target: source}.
        for target, source in getattr(part, "all_tied_weights_keys", {}).items():
            if prefix + target in named and prefix + source in named:
                pairs.append((named[prefix + target], named[prefix + source]))
    order = {id(each): number for number, each in enumerate(tensors)}
    joined: dict[int, ModelTensor] = {}

    def root(tensor: ModelTensor) -> ModelTensor:
        return root(joined[id(tensor)]) if id(tensor) in joined else tensor

    for pair in pairs:
        first, other = sorted(map(root, pair), key=lambda tensor: order[id(tensor)])
        if first is not other and first.shape == other.shape:
            _join(first, other)
            joined[id(other)] = first
    return [each for each in tensors if id(each) not in joined]


def parameters(tensors: list[ModelTensor], witnesses: Iterable[ModelTensor] | None = None) -> list[Parameter]:
    """Return the parameters of a plan. Raise PlanError where axes do not fit their tensors.

    The witnesses are the tensors that show whether memory still holds constructor values: by default all tensors.
    """
    witnesses = tensors if witnesses is None else witnesses
    readable = constructor_values.as_built((each.owner, each.tensor) for each in witnesses)
    made, problems = [], []
    for each in tensors:
        try:
            made.append(_parameter(each, readable))
        except ValueError as error:
            problems.append(f"{each.names[0]}: {error}")
    if problems:
        raise PlanError(problems)
    return made


def _parameter(tensor: ModelTensor, readable: bool) -> Parameter:
    memory, role, owner = tensor.tensor, tensor.role, own_class(tensor.owner).__name__
    default: Fill | None = role.default
    needs = tensor.needs
    if not memory.is_floating_point() and not memory.is_complex():
        default = keep  # counts, masks, quantized weights: nothing to draw
    elif len(tensor.shape) < 2 and needs is None:
        tensor.built = _built(tensor, readable)
        if tensor.built is not None and tensor.built.value is not None:
            default = constant(tensor.built.value)
        elif default is None and (role.kind == "scale" or tensor.built is None):
            needs = LOST.format(owner=owner)
    return Parameter(
        tensor.names[0],
        tensor.shape,
        str(memory.dtype).removeprefix("torch."),
        role.axes,
        role.kind,
        owner,
        default,
        tuple(tensor.names[1:]),
        tensor.padding,
        needs,
    )


def _built(tensor: ModelTensor, readable: bool) -> ConstructorConstant | None:
    """Return the recorded constructor value or, where memory still holds constructor values, the value there."""
    for place in tensor.places:
        if constructor_values.is_recorded(*place):
            return ConstructorConstant(constructor_values.recorded_constant(*place))
    if not readable or tensor.flat is not None:
        return None
    return ConstructorConstant(constructor_values.constant_of(*tensor.places[0]))
