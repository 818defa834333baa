"""Sparse feature activations: token x feature matrices in CSR form, with their positions."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from universality.activations import collect
from universality.corpora import Tokens


@torch.inference_mode()
def sparse_features(
    bridge: Any,
    tokens: Tokens,
    saes: dict[str, tuple[str, Any]],
    batch_tokens: int,
    mask_special: bool,
) -> tuple[np.ndarray, dict[str, sp.csr_matrix]]:
    """Encode `tokens` with all `saes` (id -> (hook, SAE)) in one forward pass.

    Returns the flat token index of each row `(n_positions,)`, ascending, and for each SAE the CSR
    matrix `(n_positions, d_sae)` in float32 with its rows in that order.
    """
    hooks = list(dict.fromkeys(hook for hook, _ in saes.values()))
    places: list[np.ndarray] = []
    parts: dict[str, list[sp.csr_matrix]] = {name: [] for name in saes}
    for part in collect(bridge, tokens, hooks, batch_tokens, mask_special):
        places.append(tokens.bounds[part.document] + part.position)
        for name, (hook, sae) in saes.items():
            parts[name].append(_to_csr(sae.encode(part.activations[hook])))
    place = np.concatenate(places)
    order = np.argsort(place, kind="stable")
    stacked = {name: sp.csr_matrix(sp.vstack(part))[order] for name, part in parts.items()}
    return place[order], stacked


def first_token_features(
    bridge: Any, tokens: Tokens, saes: dict[str, tuple[str, Any]]
) -> dict[str, sp.csr_matrix]:
    """Return what the SAEs make of BOS, `(1, d_sae)` each.

    Nothing stands before it, so it is the same in every document: one row says all.
    """
    _, matrices = sparse_features(bridge, tokens.first(0), saes, 1, mask_special=False)
    return {name: sp.csr_matrix(matrix[:1]) for name, matrix in matrices.items()}


def _to_csr(features: torch.Tensor) -> sp.csr_matrix:
    row, column = features.nonzero(as_tuple=True)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row.numpy(), minlength=len(features)))])
    data = features[row, column].numpy()
    indices = column.numpy().astype(np.int32)
    return sp.csr_matrix((data, indices, indptr.astype(np.int64)), shape=tuple(features.shape))


def position_table(tokens: Tokens, place: np.ndarray, tokenizer: Any) -> pd.DataFrame:
    """Return the positions of the rows: document, position, start, end, token, piece."""
    document = np.searchsorted(tokens.bounds, place, side="right") - 1
    ids = tokens.ids[place]
    piece = {int(token): tokenizer.id_to_token(int(token)) for token in np.unique(ids)}
    return pd.DataFrame(
        {
            "document": tokens.documents[document],
            "position": (place - tokens.bounds[document]).astype(np.int32),
            "start": tokens.start[place],
            "end": tokens.end[place],
            "token": ids,
            "piece": [piece[int(token)] for token in ids],
        }
    )


def write_features(
    folder: Path,
    table: pd.DataFrame,
    matrices: dict[str, sp.csr_matrix],
    bos: dict[str, sp.csr_matrix],
) -> None:
    """Write `tokens.parquet`, one `<sae id>.safetensors` per SAE, and its row of BOS in `bos/`."""
    from universality.io import write_sparse, write_table

    write_table(folder / "tokens.parquet", table)
    for name, matrix in matrices.items():
        write_sparse(folder / f"{name}.safetensors", matrix)
        write_sparse(folder / "bos" / f"{name}.safetensors", bos[name])
