"""Activations in reading order, and sparse features: token x feature matrices in CSR form."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from universality.core.activations import collect
from universality.core.corpora import Tokens


@dataclass(frozen=True)
class HookRows:
    """Activations of every position but the special ones, in reading order."""

    place: np.ndarray
    """Flat token index of each row, `(n,)`, ascending."""
    activations: dict[str, torch.Tensor]
    """Hook -> `(n, d_in)`, float32."""


def hook_rows(bridge: Any, tokens: Tokens, hooks: list[str], batch_tokens: int) -> HookRows:
    """Run `tokens` through the model once and keep the activations of `hooks` in memory."""
    places: list[np.ndarray] = []
    parts: dict[str, list[torch.Tensor]] = {hook: [] for hook in hooks}
    for part in collect(bridge, tokens, hooks, batch_tokens, mask_special=True):
        places.append(tokens.bounds[part.document] + part.position)
        for hook in hooks:
            parts[hook].append(part.activations[hook])
    place, order = _in_reading_order(places)
    rows = torch.from_numpy(order)
    return HookRows(place, {hook: torch.cat(part)[rows] for hook, part in parts.items()})


@dataclass(frozen=True)
class Encoded:
    """What an SAE makes of some positions."""

    features: Any
    """CSR `(n, d_sae)`, float32."""
    explained_variance: float
    """1 - squared error / squared distance to the mean, both summed over all positions."""

    @property
    def l0(self) -> float:
        """Mean number of active features of a position."""
        return self.features.nnz / self.features.shape[0]


@torch.inference_mode()
def encode(sae: Any, x: torch.Tensor, chunk: int = 4096) -> Encoded:
    """Encode activations `x` `(n, d_in)`, `chunk` rows at a time."""
    parts, error = [], 0.0
    for rows in x.split(chunk):
        features = sae.encode(rows)
        error += (sae.decode(features) - rows).double().square().sum().item()
        parts.append(_to_csr(features))
    variance = (x.double() - x.double().mean(0)).square().sum().item()
    return Encoded(sp.csr_matrix(sp.vstack(parts)), 1 - error / variance)


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
            rows = part.activations[hook].to(sae.W_dec.device)
            parts[name].append(_to_csr(sae.encode(rows).cpu()))
    place, order = _in_reading_order(places)
    stacked = {name: sp.csr_matrix(sp.vstack(part))[order] for name, part in parts.items()}
    return place, stacked


def _in_reading_order(places: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return flat token indices, ascending, and the order of the rows that makes them so."""
    place = np.concatenate(places)
    order = np.argsort(place, kind="stable")
    return place[order], order


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
    from universality.core.io import write_sparse, write_table

    write_table(folder / "tokens.parquet", table)
    for name, matrix in matrices.items():
        write_sparse(folder / f"{name}.safetensors", matrix)
        write_sparse(folder / "bos" / f"{name}.safetensors", bos[name])
