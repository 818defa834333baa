"""Cross-entropy of every single token, as it is and with something else in a hook's place.

The judged tokens are those whose activation can matter for a prediction: neither BOS, which an SAE
neither reads nor replaces, nor the last token of a document, which predicts nothing. A loss stands
at the token that predicts, not at the one that is predicted.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from universality.core.activations import collect
from universality.core.corpora import Batch, Tokens, batches
from universality.core.errors import InputError
from universality.core.models import token_losses
from universality.core.stats import ratio_interval


class SplicedModel:
    """A model on a text, of which the activations of one hook can be replaced.

    All arrays have one row per judged token, in reading order.
    """

    def __init__(self, bridge: Any, tokens: Tokens, hooks: list[str], batch_tokens: int) -> None:
        """Run the model once, as it is; `batch_tokens` go into a forward pass, about."""
        last = np.zeros(len(tokens.ids), dtype=bool)
        last[tokens.bounds[1:] - 1] = True
        self.bridge, self.tokens, self.batch_tokens = bridge, tokens, batch_tokens
        self.place = np.flatnonzero(~(tokens.special | last))
        """Index of each judged token in `tokens.ids`, `(n,)`."""
        if len(self.place) < 4:
            raise InputError(f"{len(self.place)} tokens to judge are too few; 4 are needed")
        self.documents = np.searchsorted(tokens.bounds, self.place, side="right") - 1
        """Document of each, from 0, `(n,)`."""
        self._whole = hook_activations(bridge, tokens, hooks, batch_tokens)
        self.activations = {hook: whole[self.place] for hook, whole in self._whole.items()}
        """Hook -> `(n, d)`, float32."""
        self.clean = self.losses()
        """Cross-entropy of each prediction of the model as it is, in nats, `(n,)`."""

    def losses(self, hook: str | None = None, new: np.ndarray | None = None) -> np.ndarray:
        """Cross-entropy of each prediction with `new` `(n, d)` in the place of the activations.

        Every judged token is replaced at once: a prediction also suffers from what was replaced
        before it in its document.
        """
        hooks, place = [], np.empty(0)
        if hook is not None and new is not None:
            whole = self._whole[hook].copy()
            whole[self.place] = new
            source = torch.from_numpy(whole)

            def replace(value: Tensor, **_: Any) -> Tensor:
                return source[torch.from_numpy(place)]

            hooks = [(hook, replace)]
        losses = np.full(len(self.tokens.ids), np.nan)
        with torch.inference_mode(), self.bridge.hooks(fwd_hooks=hooks):
            for batch in batches(self.tokens, self.batch_tokens):
                place = _places(self.tokens, batch)
                logits = self.bridge(torch.from_numpy(batch.ids))
                predicts = batch.valid[:, 1:]
                losses[place[:, :-1][predicts]] = token_losses(logits, batch).numpy()[predicts]
        found = losses[self.place]
        if not np.isfinite(found).all():
            bad = self.tokens.documents[self.documents[~np.isfinite(found)][0]]
            raise InputError(f"the cross-entropy of document {bad} is not finite")
        return found


def hook_activations(
    bridge: Any, tokens: Tokens, hooks: list[str], batch_tokens: int
) -> dict[str, np.ndarray]:
    """Return hook -> activations `(n_tokens, d)`, float32, in reading order, BOS included."""
    whole: dict[str, np.ndarray] = {}
    for part in collect(bridge, tokens, hooks, batch_tokens, mask_special=False):
        place = tokens.bounds[part.document] + part.position
        for hook, value in part.activations.items():
            if hook not in whole:
                whole[hook] = np.zeros((len(tokens.ids), value.shape[1]), dtype=np.float32)
            whole[hook][place] = value.numpy()
    return whole


def _places(tokens: Tokens, batch: Batch) -> np.ndarray:
    """Return the index in `tokens.ids` of each token of a batch; padding repeats the last."""
    column = np.minimum(np.arange(batch.ids.shape[1]), tokens.lengths[batch.rows][:, None] - 1)
    return tokens.bounds[batch.rows][:, None] + column


class Intervals:
    """Ratios of sums over tokens, with 95% intervals by bootstrap over documents."""

    def __init__(self, documents: np.ndarray, n_bootstrap: int, rng: np.random.Generator) -> None:
        """Take the document of every token, `(n,)`."""
        self.documents, self.n_bootstrap, self.rng = documents, n_bootstrap, rng

    def ratio(
        self, name: str, numerators: np.ndarray, denominators: np.ndarray | None = None
    ) -> dict[str, float]:
        """Return `name`, `name`_low and `name`_high of sum / sum, by default of the mean."""
        if denominators is None:
            denominators = np.ones(len(numerators))
        above, below = (
            np.bincount(self.documents, weights=values) for values in (numerators, denominators)
        )
        low, high = ratio_interval(above, below, self.n_bootstrap, self.rng)
        return {
            name: float(above.sum() / below.sum()), f"{name}_low": low, f"{name}_high": high
        }  # fmt: skip


class Outcomes:
    """What replacing one hook's activations does, measured alike for every replacement."""

    def __init__(self, model: SplicedModel, hook: str, intervals: Intervals) -> None:
        """Take the zero ablation, the lower end of `ce_loss_recovered`."""
        self.model, self.hook, self.intervals = model, hook, intervals
        self.x = model.activations[hook]
        self.zero = model.losses(hook, np.zeros_like(self.x))
        self.variance = np.square(self.x - self.x.mean(0), dtype=np.float64).sum(1)
        """Squared distance to the mean activation, `(n,)`."""

    def losses(self, new: np.ndarray) -> np.ndarray:
        """Cross-entropy of each prediction with `new` `(n, d)` in place, nats, `(n,)`."""
        return self.model.losses(self.hook, new)

    def row(self, new: np.ndarray, losses: np.ndarray) -> dict[str, float]:
        """Return ce_difference (nats/token), ce_loss_recovered, mse and explained_variance.

        `mse` is the squared error per token, summed over dimensions. All have intervals.
        """
        error = np.square(self.x - new, dtype=np.float64).sum(1)
        clean, ratio = self.model.clean, self.intervals.ratio
        return {
            **ratio("ce_difference", losses - clean),
            **ratio("ce_loss_recovered", self.zero - losses, self.zero - clean),
            **ratio("mse", error),
            **ratio("explained_variance", self.variance - error, self.variance),
        }


@torch.inference_mode()
def encode(sae: Any, x: np.ndarray, block: int = 4096) -> sp.csr_matrix:
    """Return the feature activations of `x` `(n, d_in)`, sparse, `(n, d_sae)`."""
    parts = [
        sp.csr_matrix(sae.encode(torch.from_numpy(x[first : first + block])).numpy())
        for first in range(0, len(x), block)
    ]
    return sp.csr_matrix(sp.vstack(parts))


class LinearDecoder:
    """The decoder of an SAE as what it is for every architecture: a matrix and an offset."""

    def __init__(self, sae: Any) -> None:
        """Ask the SAE itself, since its class may rescale its weights."""
        normalization = getattr(sae.cfg, "normalize_activations", "none")
        if normalization in ("layer_norm", "constant_norm_rescale"):
            raise InputError(
                f"the SAE's normalize_activations is {normalization!r}: its decoder is not affine"
            )
        with torch.inference_mode():
            self.offset = sae.decode(torch.zeros(1, sae.cfg.d_sae)).numpy()[0]
            self.rows = sae.decode(torch.eye(sae.cfg.d_sae)).numpy() - self.offset
            """Shape `(d_sae, d_in)`."""

    def decode(self, features: sp.csr_matrix) -> np.ndarray:
        """Return `(n, d_in)`, float32, of features `(n, d_sae)`."""
        return np.asarray(features @ self.rows + self.offset, dtype=np.float32)
