"""Tensors of a model: their names, which no wrapper changes, and the places that hold them."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from initlib import Parameter, PlanError, keep
from initlib.adapters.common.roles import ParameterRole
from initlib.plans.parameter import changed, check_name
from initlib.plans.rules.constructor_value import ConstructorValue

from .. import _private
from . import constructor_values
from .constructor_draws import ConstructorDraw, constructor_draw
from .fsdp1 import FlatShard, flat_shards
from .layers import BIAS, UNKNOWN, is_torch, own_class, roles
from .shared_memory import same_elements

# Wrappers keep the wrapped module under these names, or, those of the classes below, under `module`.
WRAPPED = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
PARALLEL = {"DataParallel", "DistributedDataParallel", "AveragedModel", "DeepSpeedEngine"}

COMPUTED = "the model uses {steps} of the stored tensor, and no initializer accounts for them"
LAZY = "{owner} is lazy, and its parameters have no shape yet; run a batch through the model first"
TWICE = "two tensors have this name once the prefixes of wrappers are removed"
NOT_DENSE = "a tensor of layout {layout} cannot be filled; add the rule {{{name!r}: keep}}"
MAGNITUDE = "the constructor set the magnitudes of the weight norm; a rule would replace them by norms of drawn weights"
OF_SKELETON = (
    "the constructor computed this tensor from weights, which a skeleton does not have; add a rule, or build the model "
    "without `skeleton()`"
)
UNREADABLE = "Build the model in `with skeleton():`, which records the values that constructors set."

Modules = list[tuple[str, nn.Module]]  # every module, and the prefix of the names of its tensors


class Place(NamedTuple):
    """A module and the attribute under which it keeps a tensor."""

    module: nn.Module
    attribute: str

    @property
    def tensor(self) -> Any:
        return _private.attribute(self.module, self.attribute)


class Magnitude(NamedTuple):
    """Norms of a weight-normed weight, which is magnitude * direction / |direction|."""

    place: Place
    axis: int  # one norm for each index of this axis; -1: one for all
    hook: WeightNorm | None = None  # computes the weight before each call, in the old weight norm


@dataclass(eq=False)
class ModelTensor:
    """A tensor of the model: its names, and the places that hold it; the first of each identifies it."""

    owner: nn.Module
    attribute: str  # of the weight in its owner, whatever stores it
    role: ParameterRole
    names: list[str]
    places: list[Place]
    needs: str | None = None
    magnitude: Magnitude | None = None
    padding: int | None = None
    flat: FlatShard | None = None  # this rank holds a range of the parameter, and no place holds a tensor

    @property
    def tensor(self) -> Any:
        """Return the memory of the tensor on this rank."""
        return _private.attribute(*self.places[0]) if self.flat is None else self.flat.memory

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the full shape; of a nested tensor, which has none, the number of its tensors."""
        return self.full_shape(self.tensor)

    def full_shape(self, memory: Tensor) -> tuple[int, ...]:
        """Return the full shape of the tensor with that memory on this rank."""
        if self.flat is not None:
            return self.flat.shape
        return (memory.size(0),) if memory.is_nested else tuple(memory.shape)

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

    def owned(attribute: str, place: Place, name: str | None = None, **more: Any) -> ModelTensor:
        role = known.get(attribute) or (BIAS if attribute == "bias" else UNKNOWN)
        padding = getattr(module, "padding_idx", None) if role.kind == "table" else None
        return ModelTensor(module, attribute, role, [name or attribute], [place], padding=padding, **more)

    stored: set[str] = set()
    for hook in _private.calls_before_forward(module):
        if isinstance(hook, WeightNorm):
            magnitude = Magnitude(Place(module, f"{hook.name}_g"), hook.dim, hook)
            yield owned(hook.name, Place(module, f"{hook.name}_v"), magnitude=magnitude)
            stored |= {f"{hook.name}_g", f"{hook.name}_v"}
        elif isinstance(hook, SpectralNorm):
            name = f"{hook.name}_orig"
            yield owned(hook.name, Place(module, name), name, needs=COMPUTED.format(steps="SpectralNorm"))
            stored.add(name)
    own = [name for name, _ in _private.own_parameters(module)]
    for name in dict.fromkeys([*own, *flat]) if flat else own:
        if name not in stored and name != _private.FLAT:
            yield owned(name, Place(module, name), flat=flat.get(name))
    for name, chain in _private.parametrizations(module).items():
        if len(chain) == 1 and isinstance(chain[0], _private.WeightNorm):
            magnitude = Magnitude(Place(chain, "original0"), chain[0].dim)
            yield owned(name, Place(chain, "original1"), magnitude=magnitude)
            continue
        needs = COMPUTED.format(steps=", then ".join(type(step).__name__ for step in chain))
        for attribute, _ in chain.named_parameters(recurse=False):
            path = f"parametrizations.{name}.{attribute}"
            yield owned(name if attribute == "original" else path, Place(chain, attribute), path, needs=needs)


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
    if len(set(names)) < len(names):
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
    """Return the tensors, with those joined that share all their memory, or did before `to_empty()`."""
    pairs = []
    groups: dict[Any, ModelTensor] = {}
    by_address: dict[int, list[ModelTensor]] = {}
    for each in tensors:
        for place in each.places:
            group = constructor_values.tie(*place)
            if group is not None:
                pairs.append((groups.setdefault(group, each), each))
        memory = each.tensor
        if each.flat is None and constructor_values.has_values(memory) and memory.numel():
            by_address.setdefault(memory.data_ptr(), []).append(each)
    for alike in by_address.values():
        if len(alike) > 1:
            pairs += [(groups.setdefault(same_elements(each.tensor), each), each) for each in alike]
    # transformers names ties as {target: source}.
    by_name = [(prefix, keys) for prefix, part in modules if (keys := vars(part).get("all_tied_weights_keys"))]
    named = {name: each for each in tensors for name in each.names} if by_name else {}
    for prefix, keys in by_name:
        for target, source in keys.items():
            if prefix + target in named and prefix + source in named:
                pairs.append((named[prefix + target], named[prefix + source]))
    if not pairs:
        return tensors
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


def dtype_name(tensor: Tensor) -> str:
    """Return the name of a tensor's dtype, without the package."""
    return str(tensor.dtype).removeprefix("torch.")


def parameters(tensors: list[ModelTensor], witnesses: Iterable[ModelTensor] | None = None) -> list[Parameter]:
    """Return the parameters of a plan. Raise PlanError where axes do not fit their tensors.

    The witnesses are the tensors that show whether memory still holds constructor values: by default all tensors.
    """
    memories = [each.tensor for each in tensors]
    shapes = [each.full_shape(memory) for each, memory in zip(tensors, memories, strict=True)]
    beside: dict[int, dict[str, tuple[int, ...]]] = {}  # the shapes in each module, by attribute
    for each, shape in zip(tensors, shapes, strict=True):
        for module, attribute in ((each.owner, each.attribute), *each.places):
            beside.setdefault(id(module), {})[attribute] = shape
    trains = any(memory.requires_grad for memory in memories)
    is_readable = _readable(tensors, tensors if witnesses is None else witnesses)
    alike: dict[Hashable, Parameter] = {}  # a parameter for each combination of facts; the others are its copies
    made, problems = [], []
    for each, memory, shape in zip(tensors, memories, shapes, strict=True):
        owner, role, dtype = own_class(each.owner), each.role, memory.dtype
        draw = constructor_draw(each.owner, each.attribute, role, beside[id(each.owner)])
        frozen = trains and each.flat is None and not memory.requires_grad
        records = constructor_values.records(each.places)
        try:
            if records:
                value = constructor_values.from_record(records[0], frozen, *draw)
            else:
                value = _unrecorded(memory, draw, frozen, each.flat is None and is_readable(memory))
            # Nothing is drawn for counts, masks and quantized weights.
            fixed = not dtype.is_floating_point and not dtype.is_complex
            needs = None if fixed else _needs(each, memory, value, records)
            facts = shape, dtype, owner, role, each.padding, needs
            if facts not in alike:
                alike[facts] = Parameter(
                    "any",
                    shape,
                    dtype_name(memory),
                    role.axes,
                    role.kind,
                    owner.__name__,
                    keep if fixed else role.default,
                    padding=each.padding,
                    needs=needs,
                )
            name, *tied = [check_name(name, "name") for name in each.names]
            made.append(changed(alike[facts], name=name, tied=tuple(tied), constructor=value))
        except ValueError as error:
            problems.append(f"{each.names[0]}: {error}")
    if problems:
        raise PlanError(problems)
    return made


def _needs(
    tensor: ModelTensor, memory: Tensor, value: ConstructorValue, records: list[constructor_values.Record]
) -> str | None:
    """Return the reason that only a rule can fill the tensor, or None."""
    if tensor.needs is not None:
        return tensor.needs
    if memory.layout is not torch.strided or memory.is_nested:
        layout = "torch.nested" if memory.is_nested else memory.layout
        return NOT_DENSE.format(layout=layout, name=tensor.names[0])
    if constructor_values.COMPUTED in records:
        return OF_SKELETON
    if tensor.magnitude is not None and not value.recorded and value.read is not None:
        return MAGNITUDE if _is_set(tensor.magnitude.place.tensor, memory) else None
    return None


def _is_set(magnitude: Tensor, direction: Tensor) -> bool:
    """Return whether magnitudes were set on purpose: they are frozen, or equal for directions of other lengths."""
    if direction.requires_grad and not magnitude.requires_grad:
        return True
    if magnitude.numel() < 2 or not bool((magnitude == magnitude.flatten()[0]).all()):
        return False
    axes = [axis for axis, size in enumerate(magnitude.shape) if size == 1]
    norms = torch.linalg.vector_norm(direction.detach(), dim=axes, keepdim=True) if axes else direction.detach().abs()
    return not torch.allclose(norms, magnitude.detach(), rtol=1e-2)


def _unrecorded(memory: Tensor, draw: ConstructorDraw, frozen: bool, readable: bool) -> ConstructorValue:
    """Return the facts about a constructor value that the module has no record of."""
    drawn = draw.draws
    if not readable or not constructor_values.has_values(memory):
        return ConstructorValue(
            hint=UNREADABLE, frozen=frozen, draws=drawn, bound=draw.bound, draws_like=draw.draws_like
        )
    if drawn and draw.bound is not None and memory.numel() == 1:
        drawn = abs(float(memory.detach())) <= draw.bound  # one number out of that range was set
    read = partial(constructor_values.read, memory)
    return ConstructorValue(read, frozen=frozen, draws=drawn, bound=draw.bound, draws_like=draw.draws_like)


def _readable(tensors: list[ModelTensor], witnesses: Iterable[ModelTensor]) -> Callable[[Tensor], bool]:
    """Return the condition on memory that it still holds what the constructor wrote; the first call reads the model."""

    @cache
    def model_is() -> bool:
        return constructor_values.are_constructor_values(
            constructor_values.Witness(each.owner, each.tensor, each.role.kind) for each in witnesses
        )

    @cache
    def has_torch_layers() -> bool:
        return any(is_torch(each.owner) for each in tensors)

    # In a model of unknown classes alone, zeros are read and noted, in any memory.
    return lambda memory: model_is() or (not has_torch_layers() and constructor_values.is_zero_matrix(memory))
