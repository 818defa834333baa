"""Activations of a model in reading order, and their sparse features, one SAE at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from universality.activations import collect
from universality.corpora import Tokens
from universality.matching.engine.moments import Sparse


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
    place = np.concatenate(places)
    order = np.argsort(place, kind="stable")
    rows = torch.from_numpy(order)
    return HookRows(place[order], {hook: torch.cat(part)[rows] for hook, part in parts.items()})


@dataclass(frozen=True)
class Encoded:
    """What an SAE makes of some positions."""

    features: Sparse
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
        parts.append(sp.csr_matrix(features.numpy()))
    variance = (x.double() - x.double().mean(0)).square().sum().item()
    return Encoded(sp.csr_matrix(sp.vstack(parts)), 1 - error / variance)
