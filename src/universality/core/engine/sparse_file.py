"""Sparse matrices in files, read as they are used."""

import json
import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from universality.core.io import require


@dataclass(frozen=True)
class SparseFile:
    """A CSR matrix `(n_samples, n_features)` in a file, whose parts are read when they are used."""

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    shape: tuple[int, int]
    mapped: mmap.mmap

    def let_go(self) -> None:
        """Free the memory of what was read; it is read again when it is used again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.mapped.madvise(mmap.MADV_DONTNEED)


def open_sparse(path: Path) -> SparseFile:
    """Open a CSR matrix written by `write_sparse` without reading it."""
    kinds = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
    kinds |= {"I32": np.int32, "I64": np.int64}
    with require(path).open("rb") as file:
        # https://github.com/huggingface/safetensors: length of the header, header, arrays.
        first = 8 + int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(first - 8))
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def part(name: str) -> np.ndarray:
        entry = header[name]
        begin, (count,) = first + entry["data_offsets"][0], entry["shape"]
        return np.frombuffer(mapped, kinds[entry["dtype"]], count, begin)

    rows, columns = json.loads(header["__metadata__"]["shape"])
    return SparseFile(part("data"), part("indices"), part("indptr"), (rows, columns), mapped)
