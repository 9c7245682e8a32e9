"""Private names of PyTorch that this adapter needs. No other file of the adapter uses one.

PyTorch promises none of these names. `find` replaces a name that has vanished by a fallback that is safe, if slower.
Where no fallback is safe, the name becomes a function that raises an error when it is called.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import init

VANISHED: list[str] = []  # the names that this PyTorch does not have


def find(path: str, fallback: Any = None) -> Any:
    """Return what PyTorch has under a dotted name below `torch`; else the fallback, or a function that raises."""
    try:
        return reduce(getattr, path.split("."), torch)
    except AttributeError:
        VANISHED.append(f"torch.{path}")

    def unavailable(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            f"PyTorch {torch.__version__} has no torch.{path}, which initlib needs here. Install another version of "
            "PyTorch"
        )

    return fallback or unavailable


# The functions of `torch.nn.init` that code bases import although their names are private.
calculate_fan_in_and_fan_out = find("nn.init._calculate_fan_in_and_fan_out")
calculate_correct_fan = find("nn.init._calculate_correct_fan")
no_grad_fill_ = find("nn.init._no_grad_fill_", init.constant_)
no_grad_zero_ = find("nn.init._no_grad_zero_", init.zeros_)
no_grad_trunc_normal_ = find("nn.init._no_grad_trunc_normal_", init.trunc_normal_)
make_deprecate = find("nn.init._make_deprecate", lambda function: function)

# The fallbacks of these assume that a mode is active: then nothing is written to memory without its knowledge.
_dispatch_modes = find("_C._len_torch_dispatch_stack", lambda: 1)
_key_included = find("_C._dispatch_tls_is_dispatch_key_included", lambda key: True)
_before_dispatch = find("_C.DispatchKey.PreDispatch", "PreDispatch")
_innermost_transform = find("_C._functorch.peek_interpreter_stack", lambda: NotImplemented)
_transforms = find("_C._functorch.get_interpreter_stack")
_as_vmap = find("_C._functorch.CVmapInterpreterPtr")
_vmap = find("_C._functorch.TransformType.Vmap")
_disable_modes = find("utils._python_dispatch._disable_current_modes")
in_jit_trace = find("_C._is_tracing", find("jit.is_tracing", lambda: True))  # is `torch.jit.trace` running?
without_transforms = find("_C._DisableFuncTorch", nullcontext)  # a context in which no transform is active
unbatched = find("_C._functorch._unwrap_batched")  # the tensor outside of a vmap level, and the axis of its members
_is_view = find("Tensor._is_view", lambda tensor: False)
_base = find("Tensor._base.__get__")
_owners = find("_C._storage_Use_Count", lambda storage: 0)  # the number of tensors and objects that own a storage
IS_META = find("Tensor.is_meta.__get__")  # the function that reads this public attribute
version = find("Tensor._version.__get__")  # how often PyTorch's functions wrote to a tensor's memory


def in_transform() -> bool:
    """Return whether a transform of `torch.func`, such as vmap or grad, is running."""
    return _innermost_transform() is not None


def vmaps() -> list[tuple[int, str]]:
    """Return the level and the `randomness` of each vmap that is running, innermost first."""
    return [
        (transform.level(), _as_vmap(transform).randomness().name.lower())
        for transform in reversed(_transforms() or [])
        if transform.key() == _vmap
    ]


def without_modes() -> AbstractContextManager[Any]:
    """Return a context in which no dispatch mode is active."""
    active = _dispatch_modes() or _key_included(_before_dispatch)
    return _disable_modes() if active else nullcontext()


# The modules of DTensor, of fake tensors and of tracing load slowly. Before they are loaded, no such tensor exists.


def is_dtensor(tensor: Any) -> bool:
    """Return whether the tensor is a DTensor."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def is_fake(tensor: Tensor) -> bool:
    """Return whether the tensor belongs to a FakeTensorMode, and has no memory."""
    module = sys.modules.get("torch._subclasses.fake_tensor")
    return module is not None and isinstance(tensor, module.FakeTensor)


def is_observed() -> bool:
    """Return whether modes or transforms follow the operations on tensors."""
    # Every draw calls this function, so it calls no other function of this file.
    return bool(_dispatch_modes() or _key_included(_before_dispatch) or _innermost_transform() is not None)


def is_traced() -> bool:
    """Return whether a function is being traced to a graph, as by `make_fx`."""
    proxies = sys.modules.get("torch.fx.experimental.proxy_tensor")
    return proxies is not None and proxies.get_proxy_mode() is not None


def local_tensor(tensor: Any) -> Tensor:
    """Return the memory of a tensor on this rank; DTensor's `to_local` would record the access for autograd."""
    return tensor._local_tensor if is_dtensor(tensor) else tensor


def is_lost(tensor: Any) -> bool:
    """Return whether the tensor is a copy of a slice of a DTensor, so that writes to it are lost.

    Indexing a sharded axis gathers it; autograd calls the result a view all the same.
    """
    if not is_dtensor(tensor) or not _is_view(tensor):
        return False
    copy, full = (local_tensor(each).untyped_storage().data_ptr() for each in (tensor, _base(tensor)))
    return copy != full


def is_alone(tensor: Tensor) -> bool:
    """Return whether no other tensor has the tensor's storage."""
    storage = tensor.untyped_storage()
    return bool(_owners(storage._cdata) == 2)  # the tensor, and `storage`


def is_computed(tensor: Tensor) -> bool:
    """Return whether autograd computed the tensor or its base, so that writes reach no parameter."""
    source = _base(tensor) if _is_view(tensor) else tensor
    return source.grad_fn is not None and source.grad_fn.name() != "CopySlices"  # its result has new memory


def strided_shard() -> Any:
    """Return the placement of FSDP over tensor parallelism, for `isinstance`; PyTorch plans to remove it."""
    from torch.distributed.tensor import placement_types

    return getattr(placement_types, "_StridedShard", ())


class _Vanished:
    """A class that takes the place of a vanished one, and has no instances."""


# The classes that `torch.nn.utils.parametrizations.weight_norm` and `.spectral_norm` register.
WeightNorm = find("nn.utils.parametrizations._WeightNorm", _Vanished)
SpectralNorm = find("nn.utils.parametrizations._SpectralNorm", _Vanished)


class OperationMode(find("utils._python_dispatch.TorchDispatchMode", _Vanished)):  # type: ignore[misc]
    """A mode that sees every operation on tensors of this thread."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise the first operation would load PyTorch's compiler, which takes seconds.
        return False


def storage_key(tensor: Tensor) -> int:
    """Return a number that all views of a tensor's storage share."""
    return tensor.untyped_storage()._cdata


def storage_ref(tensor: Tensor) -> Any:
    """Return a weak reference to a tensor's storage; as long as it exists, no other storage gets its key."""
    from torch.multiprocessing.reductions import StorageWeakRef

    return StorageWeakRef(tensor.untyped_storage())


def singular_vectors(parametrization: Any) -> tuple[Tensor, Tensor]:
    """Return the estimates of the first left and right singular vector that a spectral norm keeps."""
    return parametrization._u, parametrization._v


def iterate(parametrization: Any, weight: Tensor, count: int) -> None:
    """Improve the estimates of a spectral norm for a weight, by `count` steps of the power method."""
    parametrization._power_method(parametrization._reshape_weight_to_matrix(weight), count)


def calls_before_forward(module: Any) -> list[Any]:
    """Return the hooks that a module calls before its `forward`."""
    return list(module._forward_pre_hooks.values())


# The public functions for the facts below take several times as long, and each plan reads the facts of each module.

FLAT = "_flat_param"  # the name of the parameter into which FullyShardedDataParallel flattens several


def own_parameters(module: Any) -> dict[str, Any]:
    """Return the parameters that a module itself holds, by name, without the flat parameter of a sharding wrapper.

    A parameter with two names appears under both names.
    """
    return {name: each for name, each in module._parameters.items() if each is not None and name != FLAT}


def all_modules(module: Any) -> list[Any]:
    """Return a module and the modules in it, each once, in any order."""
    seen: dict[int, Any] = {}
    parts = [module]
    while parts:
        part = parts.pop()
        if part is not None and id(part) not in seen:
            seen[id(part)] = part
            parts += part._modules.values()
    return list(seen.values())


def children(module: Any) -> list[tuple[str, Any]]:
    """Return the names and modules that a module itself holds. A module with two names is returned twice."""
    return [(name, each) for name, each in module._modules.items() if each is not None] if module._modules else []


def held(modules: Iterable[Any]) -> list[Any]:
    """Return the parameters and modules that the modules hold themselves; None where None was registered."""
    contents: list[Any] = []
    for module in modules:
        contents += module._parameters.values()
        if module._modules:
            contents += module._modules.values()
    return contents


def own_buffers(module: Any) -> list[tuple[str, Tensor]]:
    """Return the names and buffers that a module itself holds, each buffer once."""
    return list(module.named_buffers(recurse=False)) if module._buffers else []


def is_stateful(module: Any) -> bool:
    """Return whether a module may hold buffers, or compute a weight from stored tensors."""
    return bool(module._buffers or module._forward_pre_hooks) or "parametrizations" in module._modules


def parametrizations(module: Any) -> Any:
    """Return the chains of parametrizations of a module, by the name of the weight that each computes."""
    return module.parametrizations if "parametrizations" in module._modules else {}


def attribute(module: Any, name: str, *default: Any) -> Any:
    """Return an attribute of a module, or the default, as `getattr` does. A parameter takes less time."""
    own = module._parameters
    return own[name] if name in own else getattr(module, name, *default)


def pruned_name(hook: Any) -> str:
    """Return the name of the weight that a hook of `torch.nn.utils.prune` computes."""
    return hook._tensor_name


def replace_tensors(module: Any, function: Callable[[Tensor], Tensor]) -> None:
    """Replace every parameter and buffer of a module as `to_empty` does, which sharding wrappers support."""
    module._apply(function)


class FlatRange(NamedTuple):
    """A row-major range of a parameter in the flat tensor of FullyShardedDataParallel, and the module that owns it."""

    module: Any
    name: str
    shape: tuple[int, ...]
    memory: Tensor  # one axis: the range
    start: int  # the position of its first weight in the parameter


def flat_ranges(modules: Iterable[Any]) -> Iterator[FlatRange]:
    """Yield the ranges of the parameters that FullyShardedDataParallel has joined into flat tensors."""
    if "torch.distributed.fsdp" not in sys.modules:
        return  # no wrapper can exist yet
    for module in modules:
        flat = getattr(vars(module).get("_handle"), "flat_param", None)
        if hasattr(flat, "_shard_param_infos"):
            yield from _ranges_of(flat)


def _ranges_of(flat: Any) -> Iterator[FlatRange]:
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


def outside_of_graphs(function: Any) -> Any:
    """Mark a function that `torch.compile` calls instead of tracing it.

    The marks are those of `torch.compiler.disable`, which would load the compiler at import.
    """
    function._torchdynamo_disable = True
    function._torchdynamo_disable_msg = "initlib draws outside of the graph"
    return function
