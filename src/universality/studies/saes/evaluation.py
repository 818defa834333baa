"""How good SAEs are: sparsity, reconstruction, and what their reconstruction costs the model.

Special tokens are left out: an SAE neither reads nor replaces the activation at BOS.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from universality.core.activations import collect
from universality.core.corpora import Tokens
from universality.core.io import require
from universality.core.models import document_losses
from universality.core.randomness import generator
from universality.core.stats import ratio_interval
from universality.studies.saes.params.saes import SaeEvaluation


def load_sae(path: Path, device: str = "cpu") -> Any:
    """Open an SAE in SAELens format for inference."""
    from sae_lens import SAE

    require(path / "cfg.json")
    return SAE.load_from_disk(path, device=device).eval()


class Reconstruction:
    """Streaming sums over documents that L0, explained variance and density are made of."""

    def __init__(self, sae: Any, n_documents: int) -> None:
        self.sae = sae
        self.count = np.zeros(n_documents)
        self.active = np.zeros(n_documents)
        self.residual = np.zeros(n_documents)
        self.square = np.zeros(n_documents)
        self.total = torch.zeros(n_documents, sae.cfg.d_in, dtype=torch.float64)
        self.fired = np.zeros(sae.cfg.d_sae, dtype=np.int64)

    @torch.inference_mode()
    def add(self, document: np.ndarray, x: Tensor) -> None:
        """Add activations `x` `(n, d_in)` of the documents `document` `(n,)`."""
        features = self.sae.encode(x)
        error = (self.sae.decode(features) - x).double().square().sum(1)
        fires = features > 0
        self.fired += fires.sum(0).numpy()
        np.add.at(self.count, document, 1)
        np.add.at(self.active, document, fires.sum(1).numpy())
        np.add.at(self.residual, document, error.numpy())
        np.add.at(self.square, document, x.double().square().sum(1).numpy())
        self.total.index_add_(0, torch.from_numpy(document), x.double())

    @property
    def mean(self) -> np.ndarray:
        """Mean activation, shape `(d_in,)`."""
        return self.total.sum(0).numpy() / self.count.sum()

    @property
    def variance(self) -> np.ndarray:
        """Squared distance to the mean activation, summed over each document, `(n_documents,)`."""
        mean = self.mean
        return self.square - 2 * self.total.numpy() @ mean + self.count * (mean @ mean)

    @property
    def density(self) -> np.ndarray:
        """Share of positions on which each feature fires, `(d_sae,)`."""
        return self.fired / self.count.sum()


def reconstruct(
    bridge: Any, tokens: Tokens, saes: dict[str, list[Any]], batch_tokens: int
) -> dict[str, list[Reconstruction]]:
    """Run all SAEs (hook -> SAEs) over `tokens` in one forward pass of the model."""
    sums = {
        hook: [Reconstruction(sae, tokens.n_documents) for sae in group]
        for hook, group in saes.items()
    }
    for part in collect(bridge, tokens, list(saes), batch_tokens, mask_special=True):
        for hook, group in sums.items():
            for reconstruction in group:
                reconstruction.add(part.document, part.activations[hook])
    return sums


def replaced_losses(
    bridge: Any, tokens: Tokens, hook: str, change: Callable[[Tensor], Tensor], batch_tokens: int
) -> np.ndarray:
    """Summed cross-entropy of each document with `change` applied to the hook, BOS left alone."""

    def replace(value: Tensor, **_: Any) -> Tensor:
        new = change(value)
        new[:, 0] = value[:, 0]
        return new

    return document_losses(bridge, tokens, batch_tokens, [(hook, replace)])[0]


def judge_hook(
    bridge: Any,
    tokens: Tokens,
    hook: str,
    reconstructions: list[Reconstruction],
    clean: tuple[np.ndarray, np.ndarray],
    params: SaeEvaluation,
) -> list[dict[str, float]]:
    """Metrics of each SAE of a hook; `clean` are sums and counts from `document_losses`.

    Cross-entropies are in nats per token. Intervals are 95% by bootstrap over documents.
    """
    mean = torch.from_numpy(reconstructions[0].mean).float()
    losses = {"ce": clean[0]}
    size = params.batch_tokens
    losses["ce_zero"] = replaced_losses(bridge, tokens, hook, torch.zeros_like, size)
    losses["ce_mean"] = replaced_losses(
        bridge, tokens, hook, lambda value: mean.expand_as(value).clone(), size
    )
    rows = []
    for index, reconstruction in enumerate(reconstructions):
        sae = reconstruction.sae
        with_sae = replaced_losses(
            bridge, tokens, hook, lambda value, sae=sae: sae.decode(sae.encode(value)), size
        )
        random = generator(params.seed, "judge", hook, index)
        rows.append(
            _metrics(reconstruction, losses | {"ce_sae": with_sae}, clean[1], params, random)
        )
    return rows


def _metrics(
    reconstruction: Reconstruction,
    losses: dict[str, np.ndarray],
    counts: np.ndarray,
    params: SaeEvaluation,
    random: np.random.Generator,
) -> dict[str, float]:
    clean, with_sae = losses["ce"], losses["ce_sae"]
    ratios = {
        "l0": (reconstruction.active, reconstruction.count),
        "explained_variance": (
            reconstruction.variance - reconstruction.residual,
            reconstruction.variance,
        ),
        "ce": (clean, counts),
        "ce_with_sae": (with_sae, counts),
        "ce_zero": (losses["ce_zero"], counts),
        "ce_mean": (losses["ce_mean"], counts),
        "ce_difference": (with_sae - clean, counts),
        "ce_loss_recovered": (losses["ce_zero"] - with_sae, losses["ce_zero"] - clean),
        "ce_loss_recovered_mean": (losses["ce_mean"] - with_sae, losses["ce_mean"] - clean),
    }
    row: dict[str, float] = {}
    for name, (numerators, denominators) in ratios.items():
        row[name] = float(numerators.sum() / denominators.sum())
        interval = ratio_interval(numerators, denominators, params.n_bootstrap, random)
        row[f"{name}_low"], row[f"{name}_high"] = interval
    row["dead_fraction"] = float((reconstruction.fired == 0).mean())
    row["n_positions"] = int(reconstruction.count.sum())
    row["n_tokens_ce"] = int(counts.sum())
    return row
