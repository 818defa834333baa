"""What an addition changes after its layer: activations, and the features of SAEs there.

The same tokens are read with and without the addition, so that every position has its counterpart.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from universality.core.stats import document_weights, percentile_interval
from universality.studies.steering.intervene import Addition, steered


class _AllFoundError(Exception):
    """Every hook has had its value."""


COUNTS = ("appear", "vanish", "grow", "shrink")


@torch.inference_mode()
def read(
    bridge: Any, ids: np.ndarray, hooks: Sequence[str], n_prompt: int,
    additions: Sequence[Addition] = (),
) -> dict[str, Tensor]:  # fmt: skip
    """Return hook -> activations from position `n_prompt` - 1 on, `(n_rows, n_positions, d)`.

    `ids` are `(n_rows, n_tokens)`; what is caught at the hook of an addition includes it.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(value: Tensor, **_: Any) -> None:
            found[name] = value[:, n_prompt - 1 :].clone()
            if len(found) == len(hooks):
                raise _AllFoundError

        return hook

    caught = [(name, keep(name)) for name in hooks]
    with (
        steered(bridge, additions, n_prompt),
        bridge.hooks(fwd_hooks=caught),
        suppress(_AllFoundError),  # the layers above them are not needed
    ):
        bridge.original_model.base_model(torch.from_numpy(ids))
    return found


@dataclass(frozen=True)
class Text:
    """How the text is read: the SAE of each hook, and the documents as it is read unsteered."""

    saes: Mapping[str, Any]
    plain: Mapping[str, Tensor]
    """Hook -> activations `(n_rows, n_positions, d)`."""
    centred: bool

    @torch.inference_mode()
    def encode(self, hook: str, x: Tensor) -> np.ndarray:
        """Return the features of activations `(..., d)`, `(..., d_sae)`."""
        return self.saes[hook].encode(self._read(x)).numpy()

    @torch.inference_mode()
    def error(self, hook: str, x: Tensor, features: np.ndarray) -> float:
        """Return the variance of `x` that the SAE leaves, as a share of all."""
        seen = self._read(x)
        left = seen - self.saes[hook].decode(torch.from_numpy(features))
        spread = seen - seen.mean((0, 1))
        return float(left.double().square().sum() / spread.double().square().sum())

    def _read(self, x: Tensor) -> Tensor:
        return x - x.mean(-1, keepdim=True) if self.centred else x


@dataclass(frozen=True)
class Change:
    """What one addition does to one hook."""

    before: np.ndarray
    """Features of every position as it is, `(n_rows, n_positions, d_sae)`."""
    after: np.ndarray
    length: np.ndarray
    """Length of the change of the activation, summed over positions, `(n_rows,)`."""
    plain_length: np.ndarray
    """Length of the activation as it is, `(n_rows,)`."""
    error: float
    """Variance that the SAE leaves of the steered activations."""

    def counts(self) -> dict[str, np.ndarray]:
        """Return how many features do what at the positions of each row, `(n_rows,)`.

        appear, vanish: start, stop to fire; grow, shrink: fire more, less; either: fire with or
        without the addition.
        """
        fired, fires = self.before > 0, self.after > 0
        both = fired & fires
        found = {
            "appear": ~fired & fires, "vanish": fired & ~fires,
            "grow": both & (self.after > self.before), "shrink": both & (self.after < self.before),
            "either": fired | fires,
        }  # fmt: skip
        return {name: mask.sum((1, 2)).astype(float) for name, mask in found.items()}

    @property
    def mean(self) -> np.ndarray:
        """Mean change of every feature over all positions, `(d_sae,)`."""
        return (self.after - self.before).mean((0, 1), dtype=np.float64)


def change(text: Text, hook: str, before: np.ndarray, x: Tensor) -> Change:
    """Return what became of `hook`, whose activations are now `x` and had the features `before`."""
    after, plain = text.encode(hook, x), text.plain[hook]
    moved = x - plain
    return Change(
        before,
        after,
        moved.double().norm(dim=-1).sum(1).numpy(),
        plain.double().norm(dim=-1).sum(1).numpy(),
        text.error(hook, x, after),
    )


def spread_row(
    own: Change, random: Sequence[Change], n_bootstrap: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return how far a change goes at one hook, beside random vectors of equal length.

    `relative_change`: summed length of the change over that of the activations. `changed`: share of
    the features that fire with or without the vector that do not fire with both. `appear`,
    `vanish`, `grow` and `shrink`: features per position. With 95% intervals over documents (`_low`,
    `_high`), and mean, lowest and highest of the random vectors (`_null`, `_null_low`,
    `_null_high`). `error`: the variance of the steered activations that the SAE leaves.
    """
    n_positions = own.before.shape[1]
    parts = [_parts(one) for one in (own, *random)]
    weights = document_weights(len(own.length), n_bootstrap, rng)
    row: dict[str, float] = {}
    for name in parts[0]:
        above, below = parts[0][name]
        row[name] = float(above.sum() / below.sum())
        row[f"{name}_low"], row[f"{name}_high"] = percentile_interval(
            (weights @ above) / (weights @ below)
        )
        row |= _range(name, [one[name][0].sum() / one[name][1].sum() for one in parts[1:]])
    return row | {
        "error": own.error, **_range("error", [one.error for one in random]),
        "n_documents": len(own.length), "n_positions": len(own.length) * n_positions,
        "n_random": len(random),
    }  # fmt: skip


def _range(name: str, random: Sequence[float]) -> dict[str, float]:
    return {
        f"{name}_null": float(np.mean(random)),
        f"{name}_null_low": float(min(random)),
        f"{name}_null_high": float(max(random)),
    }


def _parts(one: Change) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    counts = one.counts()
    positions = np.full(len(one.length), float(one.before.shape[1]))
    return {
        "relative_change": (one.length, one.plain_length),
        "changed": (counts["appear"] + counts["vanish"], counts["either"]),
        **{name: (counts[name], positions) for name in COUNTS},
    }


def top_features(values: np.ndarray, n: int) -> np.ndarray:
    """Return the features of the `n` largest of `values` that are above 0, the largest first."""
    ranked = np.argsort(-values, kind="stable")[:n]
    return ranked[values[ranked] > 0]


def changed_features(own: Change, random: Sequence[Change], n_top: int) -> pd.DataFrame:
    """Return the features that change most on average over all positions, the most changed first.

    Columns: rank, feature, change (of the mean activation), mean_before, mean_after,
    density_before, density_after, how (appears and vanishes are said of features that fire nowhere
    without, or with, the vector), and the same change under random vectors: null_change (mean of
    its size) and null_highest.
    """
    mean = own.mean
    null = np.abs(np.stack([one.mean for one in random]))
    chosen = top_features(np.abs(mean), n_top)
    before, after = own.before[..., chosen], own.after[..., chosen]
    density = [(values > 0).mean((0, 1)) for values in (before, after)]
    how = np.where(mean[chosen] > 0, "grows", "shrinks")
    how = np.where(density[0] == 0, "appears", np.where(density[1] == 0, "vanishes", how))
    return pd.DataFrame(
        {
            "rank": np.arange(len(chosen)), "feature": chosen, "change": mean[chosen],
            "mean_before": before.mean((0, 1), dtype=np.float64),
            "mean_after": after.mean((0, 1), dtype=np.float64),
            "density_before": density[0], "density_after": density[1], "how": how,
            "null_change": null.mean(0)[chosen], "null_highest": null.max(0)[chosen],
        }
    )  # fmt: skip
