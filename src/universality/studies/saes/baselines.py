"""Baselines that an SAE of the same L0 must beat."""

from types import SimpleNamespace

import torch
from torch import Tensor


class PrincipalComponents:
    """The top `k` principal components behind an SAE's interface: k numbers a token, not sparse.

    Each component is two features, its positive and its negative part, of which one is active.
    """

    def __init__(self, x: Tensor, k: int) -> None:
        """Fit to activations `x` `(n, d_in)`, k at most d_in."""
        self.mean = x.mean(0)
        centred = x - self.mean
        values, vectors = torch.linalg.eigh((centred.t() @ centred).double() / len(x))
        self.directions = vectors[:, values.argsort(descending=True)[:k]].float()
        self.cfg = SimpleNamespace(d_in=x.shape[1], d_sae=2 * k)  # SAELens' name for it

    def encode(self, x: Tensor) -> Tensor:
        """Return features `(..., 2 k)`."""
        scores = (x - self.mean) @ self.directions
        return torch.cat([scores.relu(), (-scores).relu()], dim=-1)

    def decode(self, features: Tensor) -> Tensor:
        """Return reconstructions `(..., d_in)`."""
        positive, negative = features.chunk(2, dim=-1)
        return (positive - negative) @ self.directions.t() + self.mean
