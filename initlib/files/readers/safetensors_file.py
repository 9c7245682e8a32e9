"""Reader of a safetensors file, of an index of several files, or of a folder that holds one of the two."""

from collections.abc import Iterator
from pathlib import Path

from ..folder import checkpoint_files
from ..header import BITS, Header
from .stored_tensor import StoredTensor


def tensors(path: Path) -> Iterator[StoredTensor]:
    """Yield the tensors, in the order of their bytes. Raises as `Header.read` does."""
    for file in checkpoint_files(path):
        header = Header.read(file)
        for name, stored in header.tensors.items():
            shape, dtype = stored.shape, stored.dtype_name
            if BITS[stored.dtype] % 8:
                yield StoredTensor.without(name, shape, dtype, "the numbers are narrower than a byte")
            else:
                yield StoredTensor.in_file(name, shape, dtype, file, header.data + stored.start)
