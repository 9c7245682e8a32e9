"""Machine code of the Triton kernel, compiled as a launch compiles it, also without a GPU."""

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget

from initlib import Initializer, Key
from initlib.adapters.torch.drawing import triton_kernel
from initlib.adapters.torch.drawing.triton_engine import TritonEngine
from initlib.stream.engine import DrawRequest

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}


class Case(NamedTuple):
    """A draw."""

    initializer: Initializer
    shape: tuple[int, ...]
    axes: str
    dtype: str = "float32"
    memory: str | None = None  # the axes as they lie in memory, outermost first; None: as they are stored
    apart: int = 1  # the distance of two neighbours in memory

    def launch(self) -> None:
        """Draw with the engine."""
        order = [self.axes.index(axis) for axis in self.memory] if self.memory else list(range(len(self.shape)))
        memory = torch.empty(*(self.shape[axis] for axis in order), self.apart, dtype=getattr(torch, self.dtype))
        tensor = memory[..., 0].permute([order.index(axis) for axis in range(len(order))])
        engine = TritonEngine(torch.device("cpu"))  # the address of the tensor does not matter
        self.initializer.fill(tensor, DrawRequest(self.shape, self.axes, self.dtype, Key(0)), engine)


class PaperDriver:
    """A driver for Triton that compiles and records each launch, and runs nothing."""

    def __init__(self, target: GPUTarget) -> None:
        self.target = target
        self.launches: list[tuple[Any, ...]] = []  # the arguments of each
        self.utils = SimpleNamespace(
            load_binary=lambda *_: (None, None, 0, 0, 1024), get_device_properties=lambda _: {"max_shared_mem": 2**16}
        )

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> Any:
        return self  # a device of its own: Triton caches compiled kernels for each device

    def get_current_stream(self, device: Any) -> int:
        return 0

    def launcher_cls(self, source: Any, metadata: Any) -> Callable[..., None]:
        return lambda *arguments: self.launches.append(arguments)

    @property
    def kernels(self) -> list[Any]:
        """Return the compiled kernels."""
        return list(triton_kernel.draw.device_caches[self][0].values())


@contextmanager
def on_paper(target: str) -> Iterator[PaperDriver]:
    """Launch with that driver."""
    before, driver = triton.runtime.driver._active, PaperDriver(TARGETS[target])
    triton.runtime.driver.set_active(driver)
    try:
        yield driver
    finally:
        triton.runtime.driver._active = before


class Code(NamedTuple):
    """A kernel compiled for a target."""

    instructions: tuple[str, ...]  # their names, in order
    weights: int  # that a thread draws
    registers: int  # of a thread
    spills: int  # bytes of a thread's stack, and registers that went there
    shared: int  # bytes of a program
    text: str  # the assembly of every stage

    @property
    def per_weight(self) -> float:
        """Return the instructions per weight."""
        return len(self.instructions) / self.weights

    def share(self, pattern: str) -> float:
        """Return the instructions per weight whose name begins with a prefix."""
        return sum(re.match(pattern, name) is not None for name in self.instructions) / self.weights


def compiled(target: str, case: Case) -> Code:
    """Compile the kernel of a case."""
    with on_paper(target) as driver:
        case.launch()
    (kernel,) = driver.kernels
    return (_amd if "amdgcn" in kernel.asm else _nvidia)(kernel)


def _weights(kernel: Any) -> int:
    return int(triton_kernel.BLOCK // (kernel.metadata.num_warps * kernel.metadata.target.warp_size))


def _nvidia(kernel: Any) -> Code:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        sass, usage = (
            subprocess.run([tool.path, *flags, file.name], capture_output=True, text=True, check=True).stdout
            for tool, *flags in ((triton.knobs.nvidia.nvdisasm,), (triton.knobs.nvidia.cuobjdump, "-res-usage"))
        )
    names = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ +)?([A-Z][\w.]*)", sass[sass.index(".text.draw:") :])
    end = len(names) - names[::-1].index("EXIT")  # the rest is padding
    numbers = {name: int(number) for name, number in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}
    spills = numbers["STACK"] + numbers["LOCAL"]
    text = kernel.asm["ptx"] + sass
    return Code(tuple(names[:end]), _weights(kernel), numbers["REG"], spills, kernel.metadata.shared, text)


def _amd(kernel: Any) -> Code:
    text = kernel.asm["amdgcn"]
    body = text[text.index("\ndraw:") : text.index(".Lfunc_end0:")]
    names = re.findall(r"^\s+((?:[sv]|global|flat|buffer|scratch|ds)_\w+)", body, re.MULTILINE)
    numbers = {name: int(number) for name, number in re.findall(r"\.(\w+):\s+(\d+)$", text, re.MULTILINE)}
    spills = numbers["vgpr_spill_count"] + numbers["sgpr_spill_count"] + numbers["private_segment_fixed_size"]
    return Code(
        tuple(names), _weights(kernel), numbers["vgpr_count"], spills, numbers["group_segment_fixed_size"], text
    )
