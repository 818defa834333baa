"""Resampling of dead features: Bricken et al. 2023 (Towards Monosemanticity), appendix."""

import numpy as np
import torch
from torch import Tensor

ENCODER_SHARE = 0.2
"""Norm of a new encoder direction, as a share of the mean norm of the living ones."""


def squared_errors(weights: dict[str, Tensor], x: Tensor, chunk: int = 4096) -> Tensor:
    """Return the squared error of a standard SAE on each row of `x` `(n, d_in)`.

    `weights` has W_enc and W_dec `(d_sae, d_in)`, b_enc and b_dec.
    """
    parts = []
    for rows in x.split(chunk):
        pre = torch.addmm(weights["b_enc"], rows - weights["b_dec"], weights["W_enc"].t())
        error = torch.addmm(weights["b_dec"], pre.relu_(), weights["W_dec"]) - rows
        parts.append(error.square().sum(1))
    return torch.cat(parts)


def resample(
    weights: dict[str, Tensor],
    moments: list[dict[str, Tensor]],
    dead: Tensor,
    x: Tensor,
    random: np.random.Generator,
) -> int:
    """Give each dead feature the direction of an input that is badly reconstructed; in place.

    The input is drawn from `x` `(n, d_in)` with probability proportional to its loss squared, the
    loss being its squared error. The decoder direction gets norm 1, the encoder direction a fifth
    of the mean norm of the living ones, the bias 0, and Adam forgets its `moments` of all three.
    Returns how many features were dead; where all are, nothing is done.
    """
    features = dead.nonzero()[:, 0]
    if not len(features) or len(features) == len(dead):
        return len(features)
    loss = squared_errors(weights, x).double().numpy() ** 2
    rows = random.choice(len(x), len(features), p=loss / loss.sum())
    direction = torch.nn.functional.normalize(x[torch.from_numpy(rows)] - weights["b_dec"])
    living = weights["W_enc"][~dead].norm(dim=1).mean()
    weights["W_dec"][features] = direction
    weights["W_enc"][features] = direction * (ENCODER_SHARE * living)
    weights["b_enc"][features] = 0
    for moment in moments:
        for name in ("W_dec", "W_enc", "b_enc"):
            moment[name][features] = 0
    return len(features)
