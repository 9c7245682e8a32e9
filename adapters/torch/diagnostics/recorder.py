"""Recorder of activations: it measures the results of modules and activation functions while a model runs."""

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from initlib.diagnostics.measurements import Activation, activation, gradient_of, numbered

from .._private import version
from ..models.tensors import walk
from .inputs import array, tensors

# Functions that count as activations where a model calls them instead of a module.
FUNCTIONS = frozenset(
    """celu elu gelu glu hardsigmoid hardswish hardtanh leaky_relu log_softmax logsigmoid mish prelu relu relu6 rrelu
    selu sigmoid silu sin softmax softplus softsign tanh tanhshrink""".split()
)
# Modules whose units are the second axis; the units of other modules are the last axis.
CHANNELS_SECOND = ("Conv", "BatchNorm", "GroupNorm", "InstanceNorm", "LazyConv", "LazyBatchNorm")


def uncompiled() -> AbstractContextManager[Any]:
    """Return a context in which compiled modules and functions run eagerly: PyTorch's compiler can fail on hooks."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Restore buffers and random states on exit."""
    modules = list(model.modules())
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in modules
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
    ]
    states = random.getstate(), np.random.get_state()
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        with torch.no_grad():
            for module in modules:
                for name, _ in list(module.named_buffers(recurse=False, remove_duplicate=False)):
                    setattr(module, name, None)  # buffers that did not exist before stay removed
            for module, name, buffer, values in buffers:
                setattr(module, name, buffer)
                buffer.copy_(values)


@dataclass
class Record:
    """A measured activation, its tensor, and the module that returned it."""

    row: Activation
    tensor: Tensor  # while the tensor lives, no other tensor has its id
    module: nn.Module | None


class Recorder(TorchFunctionMode):
    """Measure the results of modules and activation functions while it is entered."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.names: dict[nn.Module, str] = {}  # as in plans
        for prefix, module in walk(model):
            if "parametrizations." not in prefix:  # a module that computes a weight is no layer
                self.names.setdefault(module, prefix.removesuffix("."))
        self.axes: dict[int, int] = {}  # the axis of the units, by the number of axes
        self.running: list[str] = []  # the modules that are running, outermost first
        self.records: dict[tuple[int, int], Record] = {}  # by the id of a tensor and the version of its memory
        self.hooks = ExitStack()  # its `close` ends the record of modules, before the loss is computed

    def enter(self, module: nn.Module, arguments: object) -> None:
        """Note that a module begins to run."""
        self.running.append(self.names[module])

    def leave(self, module: nn.Module, arguments: object, output: object) -> None:
        """Measure the output of a module that has run."""
        name = self.running.pop()
        tensor = next(tensors(output), None)
        if tensor is not None and tensor.is_floating_point():
            self._record(tensor, name or "model", module, type(module).__name__)

    def __torch_function__(self, function: Any, types: object, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "").rstrip("_")
        if self.running and name in FUNCTIONS and isinstance(output, Tensor):
            self._record(output, f"{self.running[-1]}.{name}()".lstrip("."), None, name)
        return output

    def _record(self, tensor: Tensor, name: str, module: nn.Module | None, owner: str) -> None:
        at = id(tensor), version(tensor)
        earlier = self.records.get(at)
        if earlier is not None:
            # A function's result that its module returns is the module's; another module's result stays that module's.
            if module is not None and earlier.row.name.startswith(name) and earlier.module is None:
                earlier.row, earlier.module = replace(earlier.row, name=name, owner=owner), module
            return
        axis = self._axis(tensor, module)
        record = self.records[at] = Record(activation(name, owner, array(tensor), axis), tensor, module)
        if tensor.requires_grad:

            def measure(gradient: Tensor) -> None:
                record.row = replace(record.row, **gradient_of(array(gradient)))

            tensor.register_hook(measure)

    def _axis(self, tensor: Tensor, module: nn.Module | None) -> int:
        """Return the axis of the units: of a layer with weights, else of the last activation with as many axes."""
        if tensor.ndim < 3:
            return -1
        if module is not None and next(module.parameters(recurse=False), None) is not None:
            self.axes[tensor.ndim] = 1 if type(module).__name__.startswith(CHANNELS_SECOND) else -1
        return self.axes.get(tensor.ndim, 1 if tensor.ndim > 3 else -1)

    def rows(self) -> list[Activation]:
        """Return the activations in the order of execution; names that repeat are numbered."""
        return numbered([record.row for record in self.records.values()])


@contextmanager
def recorded(model: nn.Module) -> Iterator[Recorder]:
    """Measure the activations of a model inside the context; restore its buffers and the random states on exit."""
    recorder = Recorder(model)
    with uncompiled(), restored(model), recorder.hooks, recorder:
        for module in recorder.names:
            recorder.hooks.enter_context(module.register_forward_pre_hook(recorder.enter))
            recorder.hooks.enter_context(module.register_forward_hook(recorder.leave, always_call=True))
        yield recorder
