"""Signals: what one batch does in a model, forward and backward, and what its weights are. Nothing is left behind."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import initlib
from initlib.arguments import positive
from initlib.reports.signals import Activation, SignalReport, activation, gradient_of, input_std, numbered, parameter

from .internals import version

__all__ = ["signals"]

# The functions that are activations of their own where a model calls them instead of a module.
FUNCTIONS = frozenset(
    """celu elu gelu glu hardsigmoid hardswish hardtanh leaky_relu log_softmax logsigmoid mish prelu relu relu6 rrelu
    selu sigmoid silu sin softmax softplus softsign tanh tanhshrink""".split()  # noqa: SIM905
)
# The modules whose units lie after the batch; those of others lie along the last axis.
CHANNELS_SECOND = ("Conv", "BatchNorm", "GroupNorm", "InstanceNorm", "LazyConv", "LazyBatchNorm")


def signals(
    model: nn.Module,
    batch: Any,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    learning_rate: float | None = None,
) -> SignalReport:
    """Measure every activation and parameter of a model on a batch, forward and backward.

    >>> from torch import nn
    >>> import initlib.adapters.torch as init
    >>> model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    >>> report = init.signals(model, (32, 8))  # standard normal inputs of that shape
    >>> [row.name for row in report.activations], [row.name for row in report.parameters]
    (['0', '1', '2'], ['0.weight', '0.bias', '2.weight', '2.bias'])

    `batch` is a tensor, a tuple or list of arguments, a dict of keyword arguments, or a shape: then it is standard
    normal, the same in every framework. `loss` takes the model's output; without it the loss is the output's mean
    square. With a `learning_rate` the report has the update:data ratio of a step of gradient descent.

    An activation is what a module gives, or an activation function (`torch.relu`, `F.gelu`, ...) that a module calls,
    named "block.relu()"; in the order of execution, those of modules or functions that run again as "relu#2", "relu#3".
    The model runs in the mode it is in. Hooks, gradients, buffers and the states of the random generators are, after
    it and after any exception, what they were. Raises ValueError for a model that has not made all its parameters,
    and where the loss is no scalar.
    """
    model = getattr(model, "_orig_mod", model)  # of a compiled one: what it was compiled from
    if learning_rate is not None:
        learning_rate = positive(learning_rate, "learning_rate")
    lazy = [name for name, p in model.named_parameters() if nn.parameter.is_lazy(p)]
    if lazy:
        raise ValueError(f"model has parameters that are made at its first call: {', '.join(lazy)}; call it once")
    arguments, keywords, leaves = _arguments(model, batch)
    with ExitStack() as stack:
        stack.enter_context(_restored(model))
        stack.enter_context(torch.enable_grad())
        recorder = stack.enter_context(_Recorder(model))
        output = model(*arguments, **keywords)
        recorder.stop()
        value = _loss(output, loss)
        named = dict(model.named_parameters())
        wanted = {name: p for name, p in named.items() if p.requires_grad}
        found: tuple[Tensor | None, ...] = ()
        if value.requires_grad:
            found = torch.autograd.grad(value, [*wanted.values(), *leaves], allow_unused=True)
    gradients = dict(zip(wanted, found, strict=False))
    transposed = {module.weight for module in model.modules() if getattr(module, "transposed", False)}
    parameters = [
        parameter(
            name,
            _array(p),
            _array(gradients.get(name)),
            units=1 if p in transposed else 0,
            learning_rate=learning_rate,
        )
        for name, p in named.items()
    ]
    return SignalReport(
        recorder.rows(),
        parameters,
        input_std=input_std([_array(x) for x in leaves]),
        loss=float(value.detach()),
        mean_square_loss=loss is None,
    )


def _arguments(model: nn.Module, batch: Any) -> tuple[list[Any], dict[str, Any], list[Tensor]]:
    """What to call the model with, and the floats in it.

    These ask for their gradients, so that gradients pass through layers that are frozen; the model gets copies, which
    it may change.
    """
    if isinstance(batch, tuple) and batch and all(type(size) is int for size in batch):
        like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
        noise = torch.from_numpy(initlib.normal()(batch, seed=0, name="batch"))
        batch = noise.to(like.device, like.dtype)
    leaves: list[Tensor] = []

    def copied(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            leaves.append(value.detach().clone().requires_grad_())
            with torch.enable_grad():
                return leaves[-1].clone()
        if isinstance(value, Mapping):
            return {name: copied(of) for name, of in value.items()}
        return type(value)(map(copied, value)) if type(value) in (tuple, list) else value

    given = copied(batch)
    if isinstance(given, dict):
        return [], given, leaves
    return list(given) if isinstance(given, (tuple, list)) else [given], {}, leaves


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in what a model takes or gives."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)


def _loss(output: Any, loss: Callable[[Any], Tensor] | None) -> Tensor:
    if loss is not None:
        value = loss(output)
    else:
        floats = [x for x in _tensors(output) if x.is_floating_point()]
        if not floats:
            raise ValueError(f"model gave {type(output).__name__}, which holds no floats: give loss=")
        value = floats[0].float().square().mean()
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"loss must give one number, got {got}")
    return value


def _array(tensor: Tensor | None) -> Any:
    """The numbers of a tensor, for NumPy."""
    if tensor is None:
        return None
    tensor = tensor.detach()
    tensor = tensor.to("cpu", torch.float64 if tensor.dtype == torch.float64 else torch.float32)
    return tensor.numpy()


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """Put buffers and random states back as they were."""
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
                    setattr(module, name, None)  # those that were not there before stay so
            for module, name, buffer, values in buffers:
                setattr(module, name, buffer)
                buffer.copy_(values)


class _Recorder(TorchFunctionMode):
    """Measures what modules and activation functions give while it is entered."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        # What computes a weight is no layer.
        self.names = {module: name for name, module in model.named_modules() if "parametrizations." not in name}
        self.running: list[str] = []  # the modules inside which we are, outermost first
        self.found: list[dict[str, Any]] = []
        self.known: dict[tuple[int, int], int] = {}  # of a tensor, at a version of its memory: which row it is
        self.kept: list[Tensor] = []  # as long as they live, nothing else has their ids
        self.handles: list[Any] = []

    def __enter__(self) -> "_Recorder":
        for module in self.names:
            self.handles.append(module.register_forward_pre_hook(self._enter))
            self.handles.append(module.register_forward_hook(self._leave, always_call=True))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def stop(self) -> None:
        """Record no more: what the loss computes is no layer."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()

    def __exit__(self, *error: Any) -> None:
        self.stop()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def _enter(self, module: nn.Module, arguments: Any) -> None:
        self.running.append(self.names[module])

    def _leave(self, module: nn.Module, arguments: Any, output: Any) -> None:
        name = self.running.pop()
        tensor = next(_tensors(output), None)
        if tensor is not None and tensor.is_floating_point():
            self._record(tensor, name or "model", module, type(module).__name__)

    def __torch_function__(self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "").rstrip("_")
        if self.handles and self.running and name in FUNCTIONS and isinstance(output, Tensor):
            self._record(output, f"{self.running[-1]}.{name}()".lstrip("."), None, name)
        return output

    def _record(self, tensor: Tensor, name: str, module: nn.Module | None, owner: str) -> None:
        at = id(tensor), version(tensor)
        row = self.known.get(at)
        if row is not None:
            known = self.found[row]
            # What a module gives on from a function is the module's; on from another module, it is that one's.
            if module is not None and known["name"].startswith(name) and known["module"] is None:
                self._name(known, name, module, owner)
            return
        self.known[at] = len(self.found)
        self.kept.append(tensor)
        known = {"axis": self._axis(tensor, module), "shape": tuple(tensor.shape)}
        self._name(known, name, module, owner)
        known["row"] = activation("", "", _array(tensor), known["axis"])
        self.found.append(known)
        if tensor.requires_grad:

            def measure(gradient: Tensor) -> None:
                known["gradient"] = gradient_of(_array(gradient))

            tensor.register_hook(measure)  # type: ignore[no-untyped-call]

    def _name(self, known: dict[str, Any], name: str, module: nn.Module | None, owner: str) -> None:
        known.update(name=name, module=module, owner=owner)

    def _axis(self, tensor: Tensor, module: nn.Module | None) -> int:
        """Where the units lie: what a layer with weights says, else as in the row before, else as images do."""
        if tensor.ndim < 3:
            return -1
        if module is not None and next(module.parameters(recurse=False), None) is not None:
            return 1 if type(module).__name__.startswith(CHANNELS_SECOND) else -1
        for row in reversed(self.found):
            if len(row["shape"]) == tensor.ndim:
                return int(row["axis"])
        return 1 if tensor.ndim > 3 else -1

    def rows(self) -> list[Activation]:
        """The activations, in the order of execution, with the names of those that ran again numbered."""
        return numbered(
            [
                replace(known["row"], name=known["name"], owner=known["owner"], **known.get("gradient", {}))
                for known in self.found
            ]
        )
