"""Record of a model's operations on its signals, for `initlib.recipes.analytic`."""

from collections.abc import Iterable
from typing import Any

from initlib.theory.network import Operation


class Follower:
    """Operations of a run, and the tensors that they returned."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.unfollowed: list[str] = []
        self.number_of: dict[int, int] = {}  # id of a tensor: the number of the operation that returned it
        self.kept: list[Any] = []  # while these tensors live, no other tensor has their ids

    def add(self, tensor: Any, kind: str, *operands: int, **more: Any) -> int:
        """Record an operation and the tensor that it returned, if any; return the number of the operation."""
        self.operations.append(Operation(kind, operands, **more))
        if tensor is not None:
            self.number_of[id(tensor)] = len(self.operations) - 1
            self.kept.append(tensor)
        return len(self.operations) - 1

    def add_each(self, tensors: Iterable[Any], kind: str, *operands: int) -> None:
        """Record an operation for each of several tensors."""
        for tensor in tensors:
            self.add(tensor, kind, *operands)
