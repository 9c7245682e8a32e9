"""Models without memory: skeletons, whose parameters are on the meta device, and the memory that they get later."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.weak import WeakIdKeyDictionary

from initlib._public import public

from .._private import attribute, local_tensor, replace_tensors
from ..drawing.memory import is_plain
from . import constructor_values
from .constructor_observer import ConstructorObserver, Origin, origin_of
from .huge_pages import ask_for_huge_pages
from .registrations import observe_registrations
from .shared_memory import same_memory
from .tensors import ModelTensor

SMALL = 2**16  # weights of a parameter that stays real until the skeleton is built
WITHOUT_VALUES = (
    "the constructor reads the values of weights, but a skeleton has no values ({error}). Build this model without "
    "`skeleton()`"
)


@public("initlib.adapters.torch")
@contextmanager
def skeleton() -> Iterator[None]:
    """Build models with their parameters on the meta device, and their buffers on their usual device.

    No drawn weights stay in memory. Modules record the facts that `to_empty()` loses: which parameters are tied, and
    the constants that constructors set, such as a scale of 1e-6. Parameters that a constructor computes, such as
    sinusoids, keep their values and their device, like buffers. After the block, `initialize(model, ..., device=...)`
    allocates and fills the weights. For a sharded model, call `fully_shard(model)`, then `model.to_empty(...)`, then
    `initialize`.
    Models that other threads build at the same time are not affected.

    A parameter of two axes or more and more than 65,536 weights has no values once a module registers it. Every other
    parameter has its values until the skeleton is built, so a constructor can read them.

    Returns:
        A context manager.

    Raises:
        RuntimeError: a constructor reads the values of a parameter of two axes or more and more than 65,536 weights, as
            `weight.to("cpu")` does.

    Example:
        >>> import torch
        >>> with skeleton():
        ...     model = torch.nn.Sequential(torch.nn.Linear(4096, 4096), torch.nn.BatchNorm1d(4096))
        >>> model[0].weight.device.type, model[1].running_var.device.type
        ('meta', 'cpu')
    """
    observer = ConstructorObserver()
    seen: list[nn.Module] = []
    # By parameter, its copy on the meta device: constructors may register a parameter twice.
    on_meta = WeakIdKeyDictionary()

    def parameter_added(module: nn.Module, name: str, parameter: nn.Parameter) -> nn.Parameter | None:
        if is_lazy(parameter):
            return None
        seen.append(module)
        if not constructor_values.has_values(parameter):
            return None
        if parameter.ndim < 2 or parameter.numel() <= SMALL:
            constructor_values.record(module, name, None)
            return None
        if parameter not in on_meta:
            on_meta[parameter] = _without_memory(parameter)
            observer.moved(parameter, on_meta[parameter])
        return on_meta[parameter]

    try:
        with observe_registrations(parameter_added, seen.append), observer:  # a copied module registers no parameters
            yield
    except (RuntimeError, NotImplementedError) as error:
        if "meta tensor" not in str(error):
            raise
        raise RuntimeError(WITHOUT_VALUES.format(error=str(error).partition("\n")[0])) from error
    _remember(seen, observer)


def _without_memory(parameter: nn.Parameter) -> nn.Parameter:
    """Return the same parameter on the meta device."""
    made = type(parameter)(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
    vars(made).update(vars(parameter))
    return made


def _remember(seen: list[nn.Module], observer: ConstructorObserver) -> None:
    """Let the modules record constants and ties; put small parameters on the meta device, and computed ones back."""
    modules = {id(module): module for root in seen for module in root.modules()}
    places: dict[int, tuple[nn.Parameter, list[tuple[nn.Module, str]]]] = {}
    for module in modules.values():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if not is_lazy(parameter):
                places.setdefault(id(parameter), (parameter, []))[1].append((module, name))
    for parameter, holders in places.values():
        group = object()
        if len(holders) > 1:
            for module, name in holders:
                constructor_values.record_tie(module, name, group)
        if not parameter.is_meta and not constructor_values.records(holders):
            continue  # built before the skeleton
        origin = observer.origin(parameter)
        if origin is None and not parameter.is_meta:
            origin = origin_of(parameter)
        if origin is None:
            continue  # built on the meta device
        kept = parameter
        if origin.values is not None and parameter.is_meta:
            kept = type(parameter)(origin.values.to(parameter.dtype), requires_grad=parameter.requires_grad)
            vars(kept).update(vars(parameter))
        elif origin.values is None and not parameter.is_meta:
            kept = _without_memory(parameter)
        for module, name in holders:
            constructor_values.record(module, name, _record(origin, parameter))
            if kept is not parameter:
                setattr(module, name, kept)


def _record(origin: Origin, parameter: nn.Parameter) -> constructor_values.Record:
    if origin.values is not None:
        return constructor_values.SET
    if origin.computed and parameter.ndim < 2:
        return constructor_values.COMPUTED
    return constructor_values.ZEROED if origin.constant == 0 else origin.constant


def materialize(module: nn.Module, tensors: list[ModelTensor], device: torch.device) -> None:
    """Give memory, not filled, to the tensors on the meta device, and move all other tensors to the device."""
    places = [place for each in tensors for place in each.places if each.flat is None]
    attributes = [vars(attribute(*place)) for place in places]

    def made(tensor: Tensor) -> Tensor:
        if not tensor.is_meta:
            return tensor.to(device)
        if is_plain(tensor) and tensor.is_contiguous():
            memory = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
        else:
            memory = torch.empty_like(tensor, device=device)  # for meta tensors, its code is in Python and loads slowly
        local = local_tensor(memory)
        if local.is_cpu and is_plain(local):
            ask_for_huge_pages(local)
        return memory

    replace_tensors(module, made)
    for place, kept in zip(places, attributes, strict=True):
        vars(attribute(*place)).update(kept)
    for each in tensors:
        each.refresh()


def tie(tensors: list[ModelTensor]) -> None:
    """Let all places of a tensor hold the tensor of the first place, except places that share its memory."""
    for each in tensors:
        for place in each.places[1:] if each.flat is None else ():
            first, other = each.tensor, attribute(*place)
            if other is not first and not _is_same(other, first):
                setattr(*place, first)


def _is_same(one: Tensor, other: Tensor) -> bool:
    both = constructor_values.has_values(one) and constructor_values.has_values(other)
    return both and same_memory(one, other)
