"""Read and write what the stages exchange: JSON, parquet, safetensors, sparse matrices.

Every write goes to a temporary neighbour and is renamed, so a killed stage leaves nothing that
looks finished.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from universality.core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import scipy.sparse as sp


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` for a file or a directory; rename it on success."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _remove(temporary)
    try:
        yield temporary
        if temporary.is_file():
            temporary.chmod(0o644)  # safetensors makes files that only the owner can read
        if temporary.is_dir() or path.is_dir():
            _remove(path)
        temporary.replace(path)
    finally:
        _remove(temporary)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary directory beside `path`; it takes its place on success."""
    with atomic_path(path) as temporary:
        temporary.mkdir()
        yield temporary


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def require(path: Path) -> Path:
    """Return `path` if it exists; otherwise say which stage output is missing."""
    if not path.exists():
        raise InputError(f"{path}: no such file or directory; `make repro` or `make pull` makes it")
    return path


def write_text(path: Path, text: str) -> None:
    """Write `path` in UTF-8, as a whole or, when killed, not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys; NaN and infinity are errors, since JSON has neither."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(require(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a parquet table without its index."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False, engine="pyarrow", compression="zstd")


def read_table(path: Path) -> "pd.DataFrame":
    """Read a parquet table."""
    import pandas as pd

    return pd.read_parquet(require(path), engine="pyarrow")


def read_tables(directory: Path, pattern: str) -> "pd.DataFrame":
    """Read the parquet tables of `directory` that match `pattern`, one below the other."""
    import pandas as pd

    tables = [read_table(path) for path in table_paths(directory, pattern)]
    return pd.concat(tables, ignore_index=True)


def tables_by_name(directory: Path) -> "dict[str, pd.DataFrame]":
    """Return the parquet tables of `directory` by their file names without the ending."""
    return {path.stem: read_table(path) for path in table_paths(directory, "*.parquet")}


def table_paths(directory: Path, pattern: str) -> list[Path]:
    """Return the files of `directory` that match `pattern`, in order, and at least one."""
    paths = sorted(directory.glob(pattern))
    if not paths:
        raise InputError(f"{directory}: no {pattern} in it; `make repro` or `make pull` makes them")
    return paths


def write_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays as one safetensors file.

    At most one metadata key: safetensors writes several in random order.
    """
    from safetensors.numpy import save_file

    if metadata and len(metadata) > 1:
        raise ValueError("safetensors metadata of more than one key has no fixed order")
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with atomic_path(path) as temporary:
        save_file(contiguous, temporary, metadata=dict(metadata) if metadata else None)


@contextmanager
def open_arrays(path: Path, framework: str = "numpy") -> Iterator[Any]:
    """Open a safetensors file; InputError if it is none, is cut off, or lies about its sizes.

    The library reads at most 100 MB of header, and no tensor that does not lie within the file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(require(path), framework=framework) as file:
            yield file
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({error})") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read every array of a safetensors file into memory."""
    with open_arrays(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def write_sparse(path: Path, matrix: "sp.csr_matrix | sp.csr_array") -> None:
    """Write a CSR matrix `(n_samples, n_features)` as safetensors (data, indices, indptr)."""
    matrix.sort_indices()
    arrays = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
    write_arrays(path, arrays, {"shape": json.dumps(matrix.shape)})


def read_sparse(path: Path) -> "sp.csr_matrix":
    """Read a CSR matrix written by `write_sparse`."""
    import scipy.sparse as sp

    with open_arrays(path) as file:
        shape = tuple(json.loads(file.metadata()["shape"]))
        parts = [file.get_tensor(name) for name in ("data", "indices", "indptr")]
    return sp.csr_matrix(tuple(parts), shape=shape)
