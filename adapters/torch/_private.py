"""Everything private of PyTorch that this adapter needs: found here and nowhere else.

PyTorch promises none of these names. One that has vanished is replaced by what is safe, if slower, or, where nothing
is, by an error that names it when it is needed.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import init

VANISHED: list[str] = []  # the names that this PyTorch does not have


def find(path: str, fallback: Any = None) -> Any:
    """What PyTorch has under a dotted name below `torch`; else the fallback, or a function that raises."""
    try:
        return reduce(getattr, path.split("."), torch)
    except AttributeError:
        VANISHED.append(f"torch.{path}")

    def unavailable(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"PyTorch {torch.__version__} has no torch.{path}, which initlib needs here")

    return fallback or unavailable


# The functions of `torch.nn.init` that code bases import although their names are private.
calculate_fan_in_and_fan_out = find("nn.init._calculate_fan_in_and_fan_out")
calculate_correct_fan = find("nn.init._calculate_correct_fan")
no_grad_fill_ = find("nn.init._no_grad_fill_", init.constant_)
no_grad_zero_ = find("nn.init._no_grad_zero_", init.zeros_)
no_grad_trunc_normal_ = find("nn.init._no_grad_trunc_normal_", init.trunc_normal_)
make_deprecate = find("nn.init._make_deprecate", lambda function: function)

# Whether modes see what is done to tensors. Where that is not known, as if they did: nothing is then written behind
# their back.
_dispatch_modes = find("_C._len_torch_dispatch_stack", lambda: 1)
_key_included = find("_C._dispatch_tls_is_dispatch_key_included", lambda key: True)
_before_dispatch = find("_C.DispatchKey.PreDispatch", "PreDispatch")
_innermost_transform = find("_C._functorch.peek_interpreter_stack", lambda: NotImplemented)
in_jit_trace = find("_C._is_tracing", find("jit.is_tracing", lambda: True))  # whether `torch.jit.trace` is running
without_transforms = find("_C._DisableFuncTorch", nullcontext)  # a context in which no transform sees what is done
# What a tensor is outside of the vmap of a level, and along which axis its members lie.
unbatched = find("_C._functorch._unwrap_batched")


def seen_by_modes() -> bool:
    """Whether dispatch modes, which trace or fake, follow what is done to tensors."""
    return bool(_dispatch_modes() or _key_included(_before_dispatch))


def in_transform() -> bool:
    """Whether a transform of `torch.func`, such as vmap or grad, is running."""
    return _innermost_transform() is not None


def vmaps() -> list[tuple[int, str]]:
    """The vmaps that are running, innermost first: the level of each, and its `randomness`."""
    from torch._C import _functorch as functorch

    transforms = functorch.get_interpreter_stack() or []
    return [
        (transform.level(), functorch.CVmapInterpreterPtr(transform).randomness().name.lower())
        for transform in reversed(transforms)
        if transform.key() == functorch.TransformType.Vmap
    ]


def without_modes() -> Any:
    """A context in which no mode sees what is done."""
    if not seen_by_modes():
        return nullcontext()
    from torch.utils._python_dispatch import _disable_current_modes

    return _disable_current_modes()


def is_dtensor(tensor: Any) -> bool:
    """Whether it is a DTensor; nobody has one before that module is loaded."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def is_fake(tensor: Tensor) -> bool:
    """Whether it is a tensor of a FakeTensorMode, which has no memory; nobody has one before that module is loaded."""
    fakes = sys.modules.get("torch._subclasses.fake_tensor")
    return fakes is not None and isinstance(tensor, fakes.FakeTensor)


def is_observed() -> bool:
    """Whether modes or transforms follow what is done to tensors."""
    # Every draw asks this, so it calls no other function of ours.
    return bool(_dispatch_modes() or _key_included(_before_dispatch) or _innermost_transform() is not None)


def is_traced() -> bool:
    """Whether a function is being traced to a graph, as by `make_fx`."""
    proxies = sys.modules.get("torch.fx.experimental.proxy_tensor")
    return proxies is not None and proxies.get_proxy_mode() is not None


def local_tensor(tensor: Any) -> Tensor:
    """A DTensor's own memory; `to_local` would record it for autograd."""
    memory: Tensor = tensor._local_tensor
    return memory


def version(tensor: Tensor) -> int:
    """How often the tensor's memory was written to by PyTorch's functions."""
    return tensor._version


def is_lost(tensor: Any) -> bool:
    """Whether it is a DTensor that stands for a part of another and is a copy: what is written to it is lost.

    To index an axis that is sharded gathers it; autograd takes the result for a view all the same.
    """
    if not is_dtensor(tensor) or not tensor._is_view():
        return False
    whole = tensor._base
    mine, its = (local_tensor(each).untyped_storage().data_ptr() for each in (tensor, whole))
    return mine != its


def strided_shard() -> Any:
    """The placement of FSDP over tensor parallelism, for `isinstance`: PyTorch means to do without it."""
    from torch.distributed.tensor import placement_types

    return getattr(placement_types, "_StridedShard", ())


class _Vanished:
    """Takes the place of a class that has vanished: nothing is one."""


# What `torch.nn.utils.parametrizations.weight_norm` and `.spectral_norm` register.
WeightNorm = find("nn.utils.parametrizations._WeightNorm", _Vanished)
SpectralNorm = find("nn.utils.parametrizations._SpectralNorm", _Vanished)


# A mode that sees every operation on tensors of this thread.
TorchDispatchMode = find("utils._python_dispatch.TorchDispatchMode", _Vanished)
StorageRef = Any  # what `storage_ref` returns


def storage_ref(tensor: Tensor) -> StorageRef:
    """Return a weak, hashable reference to a tensor's storage, equal for all views of it."""
    from torch.multiprocessing.reductions import StorageWeakRef

    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def singular_vectors(parametrization: Any) -> tuple[Tensor, Tensor]:
    """The estimates that a spectral norm keeps of the first left and right singular vector."""
    return parametrization._u, parametrization._v


def iterate(parametrization: Any, weight: Tensor, count: int) -> None:
    """Improve these estimates for a weight, by so many steps of the power method."""
    parametrization._power_method(parametrization._reshape_weight_to_matrix(weight), count)


def calls_before_forward(module: Any) -> list[Any]:
    """The hooks that a module calls before its `forward`."""
    return list(module._forward_pre_hooks.values())


def replace_tensors(module: Any, function: Callable[[Tensor], Tensor]) -> None:
    """Replace every parameter and buffer of a module, as `to_empty` does: what shards the model follows."""
    module._apply(function)


FLAT = "_flat_param"  # under which FullyShardedDataParallel keeps what it has made of several parameters


class FlatRange(NamedTuple):
    """A row-major range of a parameter in the flat tensor of FullyShardedDataParallel, and the module that owns it."""

    module: Any
    name: str
    shape: tuple[int, ...]
    memory: Tensor  # one axis: the range
    start: int  # the position of its first weight in the parameter


def flat_ranges(module: Any) -> Iterator[FlatRange]:
    """Return the ranges of the parameters that such a wrapper has joined into one flat tensor."""
    flat = getattr(getattr(module, "_handle", None), "flat_param", None)
    if flat is None or not hasattr(flat, "_shard_param_infos"):
        return
    memory = getattr(flat, "_local_shard", flat).detach()
    summoned = flat.data_ptr() != memory.data_ptr()  # as by `summon_full_params`, which then writes the shards itself
    ranges: dict[tuple[int, str], FlatRange] = {}
    for info, shape, part in zip(flat._param_infos, flat._shapes, flat._shard_param_infos, strict=True):
        offset, size = (part.offset_in_shard, part.numel_in_shard) if part.in_shard else (0, 0)
        local, start = memory[offset : offset + size], part.intra_param_start_idx or 0
        if summoned:
            local, start = getattr(info.module, info.param_name).detach().view(-1), 0
        ranges[id(info.module), info.param_name] = FlatRange(info.module, info.param_name, tuple(shape), local, start)
    yield from ranges.values()
    for info in flat._shared_param_infos:
        first = ranges[id(info.prim_module), info.prim_param_name]
        yield first._replace(module=info.module, name=info.param_name)


def outside_of_graphs(reason: str) -> Callable[[Any], Any]:
    """Mark a function that `torch.compile` calls instead of tracing it.

    It is what `torch.compiler.disable` sets; itself, that would load the compiler for those who never use it.
    """

    def mark(function: Any) -> Any:
        function._torchdynamo_disable = True
        function._torchdynamo_disable_msg = reason
        return function

    return mark
