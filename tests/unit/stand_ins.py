"""Stand-ins for SAEs, and what tests of spliced models share."""

from types import SimpleNamespace

import numpy as np
import torch

from universality.core.splicing import Intervals

HOOKS = ["blocks.0.hook_mlp_out", "blocks.1.hook_mlp_out"]


class Signs:
    """An "SAE" whose features are the positive and negative parts, its decoder `length` long."""

    def __init__(self, length: float = 1.0) -> None:
        self.length = length
        self.cfg = SimpleNamespace(d_in=16, d_sae=32)
        self.W_dec = length * torch.cat([torch.eye(16), -torch.eye(16)])

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.relu(), (-x).relu()], dim=-1)

    def decode(self, features: torch.Tensor) -> torch.Tensor:
        return self.length * (features[..., :16] - features[..., 16:])


def intervals(documents: np.ndarray, n_bootstrap: int = 200) -> Intervals:
    """Return intervals over resampled `documents` `(n_positions,)`."""
    return Intervals(documents, n_bootstrap, np.random.default_rng(0))
