"""Tensors of a model: their names, which no wrapper changes, and the places that hold them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from initlib import PlanError
from initlib._adapters import framework_of
from initlib.adapters.common.roles import UNKNOWN, ParameterRole, Roles

from .. import _private
from ..drawing.memory import is_ordinary
from . import constructor_values
from .constructor_draws import Shapes
from .fsdp1 import FlatShard, flat_shards
from .layers import BIAS, model_roles, own_class
from .shared_memory import AddressRange, address_range, same_elements

# The names under which wrappers keep the wrapped module. The wrappers in PARALLEL keep it under `module`.
WRAPPED = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
PARALLEL = {"DataParallel", "DistributedDataParallel", "AveragedModel", "DeepSpeedEngine"}

COMPUTED = "the model applies {steps} to the stored tensor, and no initializer takes this into account"
LAZY = "{owner} is lazy, and its parameters have no shape yet. Run a batch through the model first"
TWICE = "two tensors have this name once the prefixes of wrappers are removed. Rename one of the modules"

Modules = list[tuple[str, nn.Module]]  # every module, and the prefix of the names of its tensors
Place = tuple[nn.Module, str]  # a module, and the attribute under which it keeps a tensor


class Magnitude(NamedTuple):
    """Norms of a weight-normed weight, which is magnitude * direction / |direction|."""

    place: Place
    axis: int  # one norm for each index of this axis; -1: one for all
    hook: WeightNorm | None = None  # computes the weight before each call, in the old weight norm

    @property
    def tensor(self) -> Tensor:
        """Return the memory of the norms."""
        return _private.attribute(*self.place)


@dataclass(eq=False, slots=True)
class ModelTensor:
    """A tensor of the model: its names and the places that hold it. The first name and place identify the tensor."""

    owner: nn.Module
    attribute: str  # the name of the weight in its owner, also if another module stores the tensor
    role: ParameterRole
    names: tuple[str, ...]
    places: tuple[Place, ...]
    stored: Tensor  # the memory on this rank when it was last read
    needs: str | None = None
    magnitude: Magnitude | None = None
    padding: int | None = None
    flat: FlatShard | None = None  # this rank holds a flat shard of the parameter, and no place holds a tensor
    is_ordinary: bool = field(init=False)  # see `is_ordinary` in drawing/memory.py
    shape: tuple[int, ...] = field(init=False)  # the full shape; for a nested tensor, the number of its tensors
    address_range: AddressRange | None = field(init=False)  # None if this rank cannot read all values
    owner_shapes: Shapes = field(init=False)  # of all tensors of the owner, this one included

    @property
    def tensor(self) -> Any:
        """Return the memory of the tensor on this rank."""
        return _private.attribute(*self.places[0]) if self.flat is None else self.flat.memory

    def refresh(self) -> None:
        """Read the tensor that the first place holds now."""
        if self.flat is None:
            self.stored = self.tensor
            self.read()

    def read(self) -> None:
        """Set `is_ordinary`, `shape` and `address_range` from the stored memory."""
        stored = self.stored
        self.is_ordinary = self.flat is None and is_ordinary(stored)
        if self.is_ordinary:
            start = stored.data_ptr()
            self.shape, self.address_range = tuple(stored.shape), (start, start + stored.nbytes)
        elif self.flat is not None:
            self.shape, self.address_range = self.flat.shape, None
        else:
            self.shape = (stored.size(0),) if stored.is_nested else tuple(stored.shape)
            self.address_range = address_range(stored) if constructor_values.has_values(stored) else None

    @property
    def is_as_read(self) -> bool:
        """Return whether the model still holds the same memory, with the same layout, as when it was read."""
        if self.flat is not None:
            return True
        stored = self.stored
        if _private.attribute(*self.places[0], None) is not stored:
            return False
        if self.is_ordinary:
            start = stored.data_ptr()
            return (start, start + stored.nbytes) == self.address_range and stored.is_contiguous()
        if stored.is_nested:
            return True
        own = self.address_range
        return tuple(stored.shape) == self.shape and (own is None or address_range(stored) == own)

    @property
    def stored_axes(self) -> str | None:
        """Return the stated axes, or "OI..." as in most PyTorch weights; None for vectors without stated axes."""
        return self.role.axes or ("OI..." if len(self.shape) >= 2 else None)


def walk(module: nn.Module, prefix: str = "", argument: str = "module") -> Modules:
    """Return every module of the model, wherever it appears, with the prefix of the names of its tensors.

    `prefix` is the name of the model in a larger model. `argument` is the name of the module in errors.
    """
    if not isinstance(module, nn.Module):
        framework = framework_of(module)
        other = "" if framework in (None, "torch") else f" of {framework}. Use initlib.adapters.{framework}"
        raise TypeError(f"{argument} must be a torch.nn.Module, got {type(module).__name__}{other}")
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string, got {prefix!r}")
    modules: Modules = []

    def visit(before: str, part: nn.Module) -> None:
        modules.append((before, part))
        for name, child in _private.children(part):
            parallel = name == "module" and not PARALLEL.isdisjoint(cls.__name__ for cls in type(part).__mro__)
            visit(before if parallel or name in WRAPPED else f"{before}{name}.", child)

    visit(f"{prefix.removesuffix('.')}." if prefix else "", module)
    return modules


def _owned(prefix: str, module: nn.Module, known: Roles, flat: Mapping[str, FlatShard]) -> list[ModelTensor]:
    """Return the tensors that a module holds, each under the name of the weight that the tensor stores."""
    if isinstance(module, ParametrizationList):
        return []  # the module that owns the list returns its tensors, below
    own = _private.own_parameters(module)
    if not flat and not _private.is_stateful(module):  # most modules
        return [_tensor(prefix, module, known, name, (module, name), stored) for name, stored in own.items()]
    tensors = []
    tensor = partial(_tensor, prefix, module, known)
    computed: set[str] = set()
    for hook in _private.calls_before_forward(module):
        if isinstance(hook, WeightNorm):
            direction, magnitude = (module, f"{hook.name}_v"), Magnitude((module, f"{hook.name}_g"), hook.dim, hook)
            tensors.append(tensor(hook.name, direction, _private.attribute(*direction), magnitude=magnitude))
            computed |= {direction[1], magnitude.place[1]}
        elif isinstance(hook, SpectralNorm):
            source, needs = f"{hook.name}_orig", COMPUTED.format(steps="SpectralNorm")
            tensors.append(tensor(hook.name, (module, source), _private.attribute(module, source), source, needs))
            computed.add(source)
    for name in dict.fromkeys([*own, *flat]) if flat else own:
        if name not in computed:
            shard = flat.get(name)
            tensors.append(tensor(name, (module, name), shard.memory if shard else own[name], flat=shard))
    for name, chain in _private.parametrizations(module).items():
        if len(chain) == 1 and isinstance(chain[0], _private.WeightNorm):
            magnitude = Magnitude((chain, "original0"), chain[0].dim)
            tensors.append(tensor(name, (chain, "original1"), chain.original1, magnitude=magnitude))
            continue
        needs = COMPUTED.format(steps=", then ".join(type(step).__name__ for step in chain))
        for attribute, parameter in chain.named_parameters(recurse=False):
            path = f"parametrizations.{name}.{attribute}"
            original = name if attribute == "original" else path
            tensors.append(tensor(original, (chain, attribute), parameter, path, needs))
    return tensors


def _tensor(
    prefix: str,
    module: nn.Module,
    known: Roles,
    attribute: str,
    place: Place,
    stored: Tensor,
    name: str = "",
    needs: str | None = None,
    magnitude: Magnitude | None = None,
    flat: FlatShard | None = None,
) -> ModelTensor:
    role = known.get(attribute) or (BIAS if attribute == "bias" else UNKNOWN)
    padding = getattr(module, "padding_idx", None) if role.kind == "table" else None
    names = (prefix + (name or attribute),)
    return ModelTensor(module, attribute, role, names, (place,), stored, needs, magnitude, padding, flat)


def model_tensors(modules: Modules, *, skip_lazy: bool = False) -> list[ModelTensor]:
    """Return the tensors of the modules of a model, each once.

    Raises PlanError if two tensors have the same name, if declared axes are wrong, or for a tensor of a lazy module.
    With `skip_lazy`, tensors of lazy modules are left out.
    """
    flat = flat_shards(part for _, part in modules)
    roles_of = model_roles()
    tensors: dict[int, ModelTensor] = {}
    problems = []
    for prefix, part in modules:
        try:
            known = roles_of(part)
        except (TypeError, ValueError) as error:  # wrong axes, declared for its class
            problems.append(str(error))
            continue
        owned: list[ModelTensor] = []
        shapes: Shapes = ()
        for each in _owned(prefix, part, known, flat.get(id(part), {}) if flat else {}):
            if each.flat is not None or not is_lazy(each.stored):
                each.read()
                owned.append(each)
                shapes += ((each.attribute, each.shape),)
            elif not skip_lazy:
                problems.append(f"{each.names[0]}: {LAZY.format(owner=own_class(part).__name__)}")
        for each in owned:
            each.owner_shapes = shapes
            first = tensors.setdefault(id(each.flat or each.stored), each)
            if first is not each:
                _join(first, each)
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
    """Return the tensors, in which tied tensors are joined.

    Tensors are tied if they share all their memory, if they did before `to_empty()`, or if transformers names the tie.
    """
    pairs = []
    groups: dict[Any, ModelTensor] = {}
    if any(constructor_values.TIES in vars(part) for _, part in modules):
        for each in tensors:
            for place in each.places:
                group = constructor_values.tie(*place)
                if group is not None:
                    pairs.append((groups.setdefault(group, each), each))
    starts = [each.address_range[0] for each in tensors if each.address_range is not None]
    if len(set(starts)) < len(starts):
        count = Counter(starts)
        count[0] = 0  # the address of a storage that was freed
        for each in tensors:
            if each.address_range is not None and count[each.address_range[0]] > 1 and each.stored.numel():
                pairs.append((groups.setdefault(same_elements(each.stored), each), each))
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
