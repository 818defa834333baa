"""The features of two models from their directories: which SAEs meet, on which positions."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from universality.core.alignment import Alignment, align
from universality.core.engine.moments import Sparse
from universality.core.errors import InputError
from universality.core.io import read_json, read_sparse, read_table
from universality.core.shared_tokens import Vocabulary

SAE_ID = re.compile(r"l(\d+)_(.+)_seed(\d+)")


@dataclass(frozen=True)
class Directories:
    """Where a model, its SAEs and their features are, and which SAE seed is meant."""

    features: Path
    model: Path
    saes: Path
    seed: int


def find_saes(directory: Path, seed: int) -> dict[int, Path]:
    """Return the feature matrix of each layer of `directory` for SAE seed `seed`."""
    ids = {path: SAE_ID.fullmatch(path.stem) for path in sorted(directory.glob("*.safetensors"))}
    found: dict[int, Path] = {}
    for path, match in ids.items():
        if match is None or int(match[3]) != seed:
            continue
        layer = int(match[1])
        if layer in found:
            raise InputError(
                f"{directory}: {found[layer].name} and {path.name} are of one layer and seed; "
                "matching takes one hook of each layer"
            )
        found[layer] = path
    if not found:
        seeds = sorted({int(match[3]) for match in ids.values() if match})
        raise InputError(f"{directory}: no SAE with seed {seed}; there are seeds: {seeds}")
    return dict(sorted(found.items()))


def hook_name(sae: Path) -> str:
    """Return the hook of the SAE in the directory `sae`."""
    return read_json(sae / "cfg.json")["metadata"]["hook_name"]


def align_directories(a: Path, b: Path) -> tuple[Alignment, np.ndarray]:
    """Return the positions that two feature directories share, and the document of each."""
    tokens_a, tokens_b = (read_table(directory / "tokens.parquet") for directory in (a, b))
    return shared_positions(tokens_a, tokens_b, f"{a} and {b}")


def shared_positions(
    tokens_a: pd.DataFrame, tokens_b: pd.DataFrame, where: str
) -> tuple[Alignment, np.ndarray]:
    """Return the positions of two tables (`features.position_table`) that are the same place.

    Also the document of each. InputError, about `where`, if they are in fewer than two documents.
    """
    documents = tokens_a["document"].to_numpy()
    aligned = align(
        documents,
        tokens_a["end"].to_numpy(),
        tokens_b["document"].to_numpy(),
        tokens_b["end"].to_numpy(),
    )
    documents = documents[aligned.rows_a]
    if len(np.unique(documents)) < 2:
        raise InputError(
            f"{where}: {len(documents)} shared positions in {len(np.unique(documents))} "
            "documents; at least 2 documents are needed"
        )
    return aligned, documents


def read_features(path: Path, rows: np.ndarray) -> Sparse:
    """Read the rows `rows` of a feature matrix."""
    matrix: Sparse = read_sparse(path)
    if len(rows) and rows[-1] >= matrix.shape[0]:
        raise InputError(f"{path}: {matrix.shape[0]} rows, fewer than tokens.parquet has")
    if not np.isfinite(matrix.data).all():
        raise InputError(f"{path}: holds NaN or infinite activations")
    return matrix if len(rows) == matrix.shape[0] else matrix[rows]


@dataclass(frozen=True)
class PairInputs:
    """The features of two models at the positions that both have read."""

    a: dict[int, Sparse]
    """Layer -> `(n, d_a)`."""
    b: dict[int, Sparse]
    paths_a: dict[int, Path]
    paths_b: dict[int, Path]
    aligned: Alignment
    documents: np.ndarray
    """Document of every row, `(n,)`."""
    vocabulary: Vocabulary
    token_a: np.ndarray
    """Number (`vocabulary`) of A's token at every row, `(n,)`."""
    token_b: np.ndarray

    def same_sae(self, layer_a: int, layer_b: int) -> bool:
        """Return whether two layers are one and the same file."""
        return self.paths_a[layer_a].resolve() == self.paths_b[layer_b].resolve()

    def with_bos(self, layer: int, side: str) -> Sparse:
        """Return the features with a row of BOS for every document, below the other rows."""
        paths, features = (self.paths_a, self.a) if side == "a" else (self.paths_b, self.b)
        path = paths[layer]
        row = read_sparse(path.parent / "bos" / path.name)
        copies = [row] * len(np.unique(self.documents))
        return sp.vstack([features[layer], *copies], format="csr")


def read_pair(a: Path, b: Path, a_seed: int, b_seed: int) -> PairInputs:
    """Read the features of SAE seeds of two models from their directories."""
    paths_a, paths_b = find_saes(a, a_seed), find_saes(b, b_seed)
    aligned, documents = align_directories(a, b)
    pieces = [
        read_table(folder / "tokens.parquet")["piece"].to_numpy()[rows]
        for folder, rows in ((a, aligned.rows_a), (b, aligned.rows_b))
    ]
    vocabulary = Vocabulary(*map(set, pieces))
    return PairInputs(
        {layer: read_features(path, aligned.rows_a) for layer, path in paths_a.items()},
        {layer: read_features(path, aligned.rows_b) for layer, path in paths_b.items()},
        paths_a,
        paths_b,
        aligned,
        documents,
        vocabulary,
        *map(vocabulary.encode, pieces),
    )
