"""Skeleton: a model without its weights, whose modules remember what they were to be."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.nn.parameter import is_lazy
from torch.utils.weak import WeakIdKeyDictionary

from initlib._public import public

from . import constructor_values as built


@public("initlib.adapters.torch")
@contextmanager
def skeleton() -> Iterator[None]:
    """Build models with their parameters on the meta device, and their buffers where they always are.

    >>> import torch
    >>> with skeleton():
    ...     model = torch.nn.Sequential(torch.nn.Linear(4096, 4096), torch.nn.BatchNorm1d(4096))
    >>> model[0].weight.device.type, model[1].running_var.device.type
    ('meta', 'cpu')

    No weights stay in memory. The modules remember what `to_empty()` loses: which parameters are one tensor, and the
    one value that a vector was built with, such as a scale of 1e-6. `initialize(model, ..., device=...)` makes the
    weights, or fills them after `fully_shard(model)` and `model.to_empty(...)`. What other threads build meanwhile is
    left alone.
    """
    thread = threading.get_ident()
    seen: list[nn.Module] = []
    on_meta = WeakIdKeyDictionary()  # what became of a parameter, for constructors that register it twice

    def parameter_added(module: nn.Module, name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        if parameter is None or is_lazy(parameter) or threading.get_ident() != thread:
            return None
        seen.append(module)
        if parameter.is_meta:
            return None
        if parameter.ndim < 2:  # stays real until the end: constructors fill it after this
            built.record_constant(module, name, None)
            return None
        if parameter not in on_meta:
            on_meta[parameter] = _without_memory(parameter)
        made: nn.Parameter = on_meta[parameter]
        return made

    def module_added(module: nn.Module, name: str, child: nn.Module | None) -> None:
        if child is not None and threading.get_ident() == thread:
            seen.append(child)  # a copy registers no parameters

    hooks = (
        register_module_parameter_registration_hook(parameter_added),  # type: ignore[arg-type]  # what it returns counts
        register_module_module_registration_hook(module_added),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    _remember(seen)


def _without_memory(parameter: nn.Parameter) -> nn.Parameter:
    """The same parameter on the meta device."""
    made = type(parameter)(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
    vars(made).update(vars(parameter))
    return made


def _remember(seen: list[nn.Module]) -> None:
    """Let the modules record their constants and ties, and put their vectors on the meta device too."""
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
                built.record_tie(module, name, group)
        if not parameter.is_meta and any(built.is_recorded(module, name) for module, name in holders):
            value = built.constant_of(*holders[0])
            empty = _without_memory(parameter)
            for module, name in holders:
                built.record_constant(module, name, value)
                setattr(module, name, empty)
