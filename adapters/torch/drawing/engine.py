"""PyTorch's engine: the reference stream in PyTorch's operations, on the device of the tensor."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from initlib.key import Key
from initlib.stream import reference as stream
from initlib.stream.boxes import Part
from initlib.stream.engine import Engine


class _Functions:
    """PyTorch's functions under the NumPy names that the schemes use."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    permute_dims = staticmethod(torch.permute)
    sign = staticmethod(torch.sgn)

    @staticmethod
    def sort(x: Tensor, axis: int) -> Tensor:
        return torch.sort(x, dim=axis).values

    @staticmethod
    def repeat(x: Tensor, times: int, axis: int) -> Tensor:
        return torch.repeat_interleave(x, times, dim=axis)

    @staticmethod
    def interp(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
        right = torch.searchsorted(knots, x.contiguous(), right=True).clamp(1, len(knots) - 1)
        left = right - 1
        share = (x - knots[left]) / (knots[right] - knots[left])
        return values[left] + share * (values[right] - values[left])


class TorchEngine(Engine):
    """An `Engine` of PyTorch, on one device."""

    xp: Any = _Functions()
    piece = 2**20  # takes about 60 MiB of temporary memory

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.columns = torch.from_numpy(stream.COLUMNS).to(device)

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        return x.to(getattr(torch, dtype))

    def bits(self, x: Tensor) -> Tensor:
        return x.view(torch.int32)

    def shift_right(self, x: Tensor, count: int) -> Tensor:
        return (x >> count) & ((1 << (32 - count)) - 1)

    def take(self, column: int, rows: Tensor) -> Tensor:
        return self.columns[column][rows.long()]

    def complex(self, real: Tensor, imaginary: Tensor) -> Tensor:
        return torch.complex(real, imaginary)

    def index(self, part: Part, axis: int, shape: tuple[int, ...]) -> Tensor:
        index = torch.arange(part.size, device=self.device) * part.step + part.start
        return index.view([-1 if axis == other else 1 for other in range(len(shape))])

    def array(self, values: NDArray[Any], dtype: str) -> Tensor:
        return self.cast(torch.tensor(np.asarray(values)), dtype).to(self.device)

    def words(self, key: Key) -> tuple[Tensor, Tensor]:
        high, low = (torch.tensor(stream.int32(word), dtype=torch.int32, device=self.device) for word in key.words)
        return high, low

    def fold_in(self, key: Key, data: str | int) -> Key:
        return key.fold_in(data)

    def widest(self, dtype: str) -> str:
        if self.device.type == "mps":  # which has no float64
            return super().widest(dtype)
        return "complex128" if dtype.startswith("complex") else "float64"

    def put(self, out: Tensor, values: Tensor, dtype: str) -> None:
        if dtype == "float16" and values.dtype is not torch.float16 and bool((values.abs() >= 65520).any()):
            raise ValueError(
                f"weights as large as {float(values.abs().max()):.3g} overflow float16. Pass a smaller scale, or a "
                "wider dtype"
            )
        out.copy_(values)
