"""Two proposed remedies: a second SAE on what the first leaves, and decoders made orthogonal."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from universality.core.randomness import generator
from universality.core.splicing import Intervals
from universality.studies.saes.evaluation import load_sae
from universality.studies.saes.grid import find
from universality.studies.saes.params.remedies import SaeRemedies
from universality.studies.saes.params.saes import SaeGrid
from universality.studies.saes.study.neurons import unit


class ResidualPair:
    """An SAE and a second one that was trained on its error, used as one.

    Looks like an SAE to `evaluation`: the features are those of the first, then of the second.
    """

    def __init__(self, first: Any, second: Any) -> None:
        """Take two SAEs of one hook; the second reads x - first(x)."""
        if first.cfg.d_in != second.cfg.d_in:
            raise ValueError(f"d_in differs: {first.cfg.d_in} and {second.cfg.d_in}")
        self.first, self.second = first, second
        self.cfg = SimpleNamespace(
            d_in=first.cfg.d_in, d_sae=first.cfg.d_sae + second.cfg.d_sae
        )  # fmt: skip

    def encode(self, x: Tensor) -> Tensor:
        """Return the features `(..., d_sae)` of both for `x` `(..., d_in)`."""
        features = self.first.encode(x)
        left = x - self.first.decode(features)
        return torch.cat([features, self.second.encode(left)], dim=-1)

    def decode(self, features: Tensor) -> Tensor:
        """Return the sum of both reconstructions, `(..., d_in)`."""
        first, second = features.split([self.first.cfg.d_sae, self.second.cfg.d_sae], dim=-1)
        return self.first.decode(first) + self.second.decode(second)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return first(x) + second(x - first(x)) for `x` `(..., d_in)`."""
        return self.decode(self.encode(x))


def random_cosines(shape: tuple[int, ...], n_null: int, rng: np.random.Generator) -> np.ndarray:
    """Draw both means of `decoder_orthogonality` for `shape` random unit rows, `(n_null, 2)`."""
    draws = (unit(rng.normal(size=shape).astype(np.float32)) for _ in range(n_null))
    return np.array([[part.mean() for part in _cosines(rows)] for rows in draws])


def decoder_orthogonality(
    decoder: np.ndarray, null: np.ndarray, n_bootstrap: int, rng: np.random.Generator
) -> dict[str, float]:
    """Say how far the rows of a decoder `(d_sae, d)` are from orthogonal.

    `mean_squared_cosine`: mean over features of the mean squared cosine with all others (1 / d for
    random directions). `mean_max_cosine`: mean over features of the largest cosine with another.
    Intervals are by bootstrap over features; `_null` is the mean of `random_cosines`, between the
    least (`_null_low`) and the largest (`_null_high`) of its draws.
    """
    features = Intervals(np.arange(len(decoder)), n_bootstrap, rng)
    means = zip(_cosines(unit(decoder.astype(np.float32))), null.T, strict=True)
    found: dict[str, float] = {}
    names = ("mean_squared_cosine", "mean_max_cosine")
    for name, (values, draws) in zip(names, means, strict=True):
        found |= features.ratio(name, values)
        found |= {f"{name}_null": float(draws.mean())}
        found |= {f"{name}_null_low": float(draws.min()), f"{name}_null_high": float(draws.max())}
    return found


def _cosines(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each unit row's mean squared and largest cosine with the others, `(n,)`."""
    cosine = rows @ rows.T
    np.fill_diagonal(cosine, 0)
    squared = np.square(cosine, dtype=np.float64).sum(1) / (len(rows) - 1)
    np.fill_diagonal(cosine, -np.inf)
    return squared, cosine.max(1).astype(np.float64)


def orthogonality_table(
    grid: SaeGrid, section: SaeRemedies, saes: Path, n_bootstrap: int
) -> pd.DataFrame:
    """Return `decoder_orthogonality` of the SAEs in `saes` of both families, a row per SAE."""
    hook = grid.hooks[0]
    rows, null = [], None
    for family in (section.family, section.orthogonal_family):
        for one in find(grid, family, section.sparsity, section.expansion, hook):
            decoder = load_sae(saes / one.sae).W_dec.detach().numpy()
            rng = generator(section.seed, "cosines", one.sae)
            if null is None:  # all are of one shape
                null = random_cosines(decoder.shape, section.n_null, rng)
            found = decoder_orthogonality(decoder, null, n_bootstrap, rng)
            where = {"model": grid.model, "hook": hook, "seed": one.seed, "family": family}
            rows.append(where | {"orthogonality": one.recipe.orthogonality} | found)
    return pd.DataFrame(rows)
