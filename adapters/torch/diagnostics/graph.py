"""Operations of one run of a model on its signals, for `initlib.recipes.analytic`."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from initlib.adapters.common.follower import Follower
from initlib.theory.network import Operation, Times

from ..models.tensors import ModelTensor, model_tensors, walk
from .inputs import inputs, tensors
from .recorder import restored, uncompiled

# PyTorch's functions by their effect; names are lower case without underscores.
CONVOLUTIONS = {f"conv{transposed}{d}d" for transposed in ("", "transpose") for d in (1, 2, 3)}
PRODUCTS = {"linear", "matmul", "rmatmul", "mm", "bmm", "addmm", "baddbmm", "bilinear", "einsum"} | CONVOLUTIONS
SAME = set(
    """broadcastto clone contiguous cpu cuda detach double expand expandas flatten flip float get getitem half
    indexselect interpolate maskedfill movedim narrow pad permute pixelshuffle pixelunshuffle repeat repeatinterleave
    reshape roll select squeeze swapaxes swapdims t tile to transpose typeas unflatten unsqueeze upsample view viewas
    weightnorm""".split()
)
PARTS = {"chunk", "split", "tensorsplit", "unbind", "splitwithsizes"}
JOINS = {"cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack"}
SUMS = {"add": 1.0, "radd": 1.0, "iadd": 1.0, "sub": -1.0, "isub": -1.0}
SCALES = {"mul", "rmul", "imul", "multiply"}
NORMS = {"batchnorm", "instancenorm", "layernorm", "groupnorm", "rmsnorm"}
AVERAGES = {f"{kind}avgpool{d}d" for kind in ("", "adaptive") for d in (1, 2, 3)} | {"mean"}
MAXIMA = {f"{kind}maxpool{d}d" for kind in ("", "adaptive") for d in (1, 2, 3)} | {"amax"}
DROPS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alphadropout", "featurealphadropout"}
# Elementwise functions.
ALONE = set(
    """abs absolute add celu clamp clampmax clampmin clip cos div elu erf exp expm1 gelu hardshrink hardsigmoid
    hardswish hardtanh iadd idiv imul ipow isub itruediv leakyrelu log log1p logsigmoid maximum minimum mish mul
    multiply neg negative pow prelu radd reciprocal relu relu6 rmul rpow rrelu rsqrt rsub rtruediv selu sigmoid sign
    silu sin sinc softplus softshrink softsign sqrt square sub tanh tanhshrink threshold truediv truedivide
    """.split()
)
CONSTANT = {"zeroslike", "oneslike", "fulllike", "emptylike", "randlike", "randnlike", "newzeros", "newones", "newfull"}


def followed(model: nn.Module, batch: Any) -> tuple[list[Operation], list[str]]:
    """Return the operations of a run of the model, and the names of functions that are not known."""
    model = getattr(model, "_orig_mod", model)  # of a compiled model, the original model
    model_weights = model_tensors(walk(model))
    with uncompiled(), restored(model), torch.no_grad():
        arguments = inputs(model, batch)
        with _Follower(model_weights) as follower:
            inputs_of_model = tensors([arguments.positional, arguments.named])
            follower.add_each(filter(Tensor.is_floating_point, inputs_of_model), "input")
            arguments.passed_to(model, argument="input_shape")
    return follower.finished(), follower.unfollowed


class _Follower(Follower, TorchFunctionMode):
    """Record the operations on the inputs of a model while it is entered."""

    def __init__(self, model_weights: list[ModelTensor]) -> None:
        super().__init__()
        self.weights = {id(each.tensor): each for each in model_weights if each.role.kind not in ("bias", "scale")}
        self.scores: set[int] = set()  # the operations that return the weights of an average

    def __torch_function__(self, function: Any, types: object, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        before = {id(tensor): tensor.shape for tensor in tensors([args, kwargs])}
        output = function(*args, **kwargs)
        name = getattr(function, "__name__", "").replace("_", "").lower()
        results = [tensor for tensor in tensors(output) if tensor.is_floating_point()]
        if results and name not in CONSTANT:
            self._note(name, function, args, kwargs, results, before)
        return output

    def finished(self) -> list[Operation]:
        """Return the operations; a table that is tied to a kernel has the variance of the kernel."""
        kernels = {each.weight for each in self.operations if each.kind == "kernel"}
        return [
            Operation("constant", count=each.sizes[-1] ** -0.5)
            if each.kind == "table" and each.weight in kernels
            else each
            for each in self.operations
        ]

    def _note(
        self, name: str, function: Any, args: Sequence[Any], kwargs: Any, results: list[Tensor], before: Any
    ) -> None:
        operands = list(tensors([args, kwargs]))
        signals = [self.number_of[id(each)] for each in operands if id(each) in self.number_of]
        used = [each for each in operands if id(each) in self.weights]
        result, first = results[0], signals[0] if signals else -1
        if name == "embedding":
            weight = self.weights.get(id(args[1]))
            if weight is not None:
                self.add(result, "table", weight=weight.names[0], fan_in=1, sizes=tuple(args[1].shape))
        elif name == "multiheadattentionforward":
            self._attention(result, _bound(function, args, kwargs))
        elif not signals:
            if len(used) == 1 and name in SAME:  # a weight in another form
                self.weights[id(result)] = self.weights[id(used[0])]
                self.kept.append(result)
        elif name in PRODUCTS and len(used) == 1 and len(signals) == 1:
            source = next(each for each in operands if id(each) in self.number_of)
            self._kernel(result, first, used[0], name, before[id(source)])
        elif name in ("matmul", "bmm") and len(signals) == 2:
            if first in self.scores:  # an average of one value or of many: the variance of the values is kept
                self.add(result, "same", signals[1])
            else:
                self.add(result, "contraction", *signals, count=float(before[id(operands[0])][-1]))
        elif name == "scaleddotproductattention":
            self.add(result, "same", signals[-1])
        elif name in ("softmax", "logsoftmax"):
            share = result.numel() and 1 / result.shape[-1]
            self.scores.add(self.add(result, "function", first, function=lambda x: 0 * x + share))
        elif name == "glu":
            values, gate = (self.add(None, "part", first) for _ in range(2))
            gate = self.add(None, "function", gate, function=_Alone(torch.sigmoid, (_Slot(0),)))
            self.add(result, "product", values, gate)
        elif name in PARTS:
            self.add_each(results, "part", first)
        elif name in SAME:
            at = self.add(result, "same", first)
            self.scores |= {at} if first in self.scores else set()
        elif name in JOINS:
            parts = [each for each in operands if each.is_floating_point() and each.numel()]
            self.add(result, "concat", *map(self._as_signal, parts), sizes=tuple(each.numel() for each in parts))
        elif name in DROPS:
            bound = _bound(function, args, kwargs)
            kept = 1 - bound["p"] if bound.get("training", True) else 1.0  # dropout divides by this share
            at = self.add(result, "function", first, function=Times(kept**-0.5 if kept else 0.0))
            self.scores |= {at} if first in self.scores else set()
        elif name in NORMS:
            self._norm(result, name, first, _bound(function, args, kwargs))
        elif name in AVERAGES or name in MAXIMA:
            shape = before[id(operands[0])]
            count = math.prod(shape) / max(result.numel(), 1)
            if name.startswith(("avgpool", "maxpool")):  # windows may overlap
                count = float(math.prod(_sizes(args, kwargs, len(shape) - 2)))
            kind = "maximum" if name in MAXIMA else "average"
            if name == "mean" and result.ndim and result.shape[-1:] != shape[-1:] and len(shape) < 4:
                kind = "average of units"
            self.add(result, kind, first, count=count)
        elif name in ALONE:
            self._function(result, name, function, args, kwargs, signals)
        elif result.ndim:  # a single number is no signal: it may decide a branch
            self.unfollowed.append(getattr(function, "__name__", name))
            self.add_each(results, "same", first)

    def _kernel(self, result: Tensor | None, source: int, used: Tensor, name: str, shape: Sequence[int]) -> int:
        weight = self.weights[id(used)]
        fan_in = None if weight.role.axes else shape[-1]
        if weight.role.axes is None and (name in CONVOLUTIONS or name == "einsum"):
            self.unfollowed.append(f"{weight.names[0]}, whose axes are not known")
            return self.add(result, "same", source)
        share = 1.0
        if "transpose" in name and result is not None:
            share = math.prod(shape[2:]) / math.prod(result.shape[2:])
        return self.add(result, "kernel", source, weight=weight.names[0], count=share, fan_in=fan_in)

    def _attention(self, result: Tensor, bound: dict[str, Any]) -> None:
        """Record the projections of queries, keys and values, and the output projection."""
        signals = [self.number_of.get(id(bound[name]), -1) for name in ("query", "key", "value")]
        if -1 in signals:
            return
        apart = bound.get("use_separate_proj_weight", False)
        for signal, name in zip(signals, ("q_proj_weight", "k_proj_weight", "v_proj_weight"), strict=True):
            used = bound[name] if apart else bound["in_proj_weight"]
            at = self._kernel(None, signal, used, "linear", used.shape)
        self._kernel(result, at, bound["out_proj_weight"], "linear", bound["out_proj_weight"].shape)

    def _as_signal(self, tensor: Tensor) -> int:
        """Return the operation of a tensor: a table for a weight that is added or joined, else a constant."""
        if id(tensor) in self.number_of:
            return self.number_of[id(tensor)]
        weight = self.weights.get(id(tensor))
        if weight is not None and tensor.ndim >= 2:
            return self.add(None, "table", weight=weight.names[0], fan_in=1)
        return self.add(None, "constant", count=_root_mean_square(tensor))

    def _norm(self, result: Tensor, name: str, first: int, bound: dict[str, Any]) -> None:
        if name == "batchnorm" and not bound.get("training", False):
            at = self.add(result, "same", first)  # the running statistics are still 0 and 1
        else:
            at = self.add(result, "norm", first, count=0.0 if name == "batchnorm" else 1.0)
        scale = bound.get("weight")
        size = 1.0 if scale is None else _root_mean_square(scale)
        if size != 1:
            self.add(result, "function", at, function=Times(size))

    def _function(
        self, result: Tensor, name: str, function: Any, args: Sequence[Any], kwargs: Any, signals: list[int]
    ) -> None:
        others = [each for each in tensors([args, kwargs]) if id(each) not in self.number_of and each.numel() > 1]
        if name in SUMS and others:
            places = [self._as_signal(each) for each in others if each.ndim >= 2 or each.numel() != result.shape[-1]]
            self.add(result, "sum", *signals, *places) if places else self.add(result, "same", *signals)
        elif name in SUMS and len(signals) == 2 and kwargs.get("alpha", 1) == 1:
            if SUMS[name] < 0:
                signals = [signals[0], self.add(None, "function", signals[1], function=Times(-1.0))]
            self.add(result, "sum", *signals)
        elif name in SCALES and len(signals) == 2:
            self.add(result, "product", *signals)
        else:
            order: dict[int, int] = {}  # the places of signals among the arguments, by where they are

            def frozen(value: Any) -> Any:
                if isinstance(value, Tensor) and id(value) in self.number_of:
                    return _Slot(order.setdefault(id(value), len(order)))
                if isinstance(value, (tuple, list)):
                    return tuple(map(frozen, value))
                return _Constant(_root_mean_square(value)) if isinstance(value, Tensor) else value

            arguments = frozen(args), tuple((key, frozen(value)) for key, value in kwargs.items())
            self.add(
                result, "function", *(self.number_of[each] for each in order), function=_Alone(function, *arguments)
            )


class _Slot(int):
    """A number of the signal that stands at this place of the arguments."""


class _Constant(float):
    """Root mean square of a tensor argument, in its place."""


@dataclass(frozen=True)
class _Alone:
    """A function of PyTorch as a function of NumPy arrays; equal functions are measured once."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...] = ()

    def __call__(self, *arrays: Any) -> Any:
        def put(value: Any) -> Any:
            if isinstance(value, _Constant):
                return torch.full((1,), float(value), dtype=torch.float64)
            return torch.tensor(arrays[value], dtype=torch.float64) if isinstance(value, _Slot) else value

        with torch.no_grad():
            return self.function(*map(put, self.args), **{key: put(value) for key, value in self.kwargs}).numpy()


def _root_mean_square(tensor: Tensor) -> float:
    if tensor.numel() == 1:
        return float(tensor)
    return float(tensor.detach().double().square().mean().sqrt())


def _bound(function: Any, args: Sequence[Any], kwargs: Any) -> dict[str, Any]:
    """Return the arguments of a call by name, with defaults."""
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def _sizes(args: Sequence[Any], kwargs: Any, ndim: int) -> tuple[int, ...]:
    """Return the sizes of the window of a pooling function."""
    size = args[1] if len(args) > 1 else kwargs["kernel_size"]
    return (size,) * ndim if isinstance(size, int) else tuple(size)
