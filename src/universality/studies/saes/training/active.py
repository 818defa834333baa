"""The active features of a batch: sparse while they are few, dense while they are many.

Both forms offer the same operations, so that each architecture's gradients are written once.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from universality.studies.saes.training import kernels

DENSE_ABOVE = 1 / 12
"""Share of active features from which the matrix products of the dense form are faster."""
_BLOCKS = 64


class SparseActive:
    """Active features as padded rows; see `kernels`. Values at the padding are never read."""

    def __init__(self, selected: tuple[np.ndarray, np.ndarray, np.ndarray], d_sae: int) -> None:
        """Take `index`, `pre` and `count` from one of the `kernels.select_*`."""
        self.index, pre, self.count = selected
        self.pre = torch.from_numpy(pre)
        self.order = kernels.by_feature(self.index, self.count, d_sae, _BLOCKS)

    def of_feature(self, vector: Tensor) -> Tensor:
        """Return the value of `vector` `(d_sae,)` for the feature of each entry."""
        return vector[torch.from_numpy(self.index).long()]

    def decode(
        self, value: Tensor, decoder: Tensor, b_dec: Tensor, x: Tensor, levels: np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
        """Return `kernels.decode` of `value`: error, last error, dot, loss."""
        error, last, dot, loss = kernels.decode(
            self.index, value.numpy(), self.count, decoder.numpy(), b_dec.numpy(), x.numpy(), levels
        )
        return torch.from_numpy(error), torch.from_numpy(last), torch.from_numpy(dot), loss

    def outer(
        self, weight: Tensor, vectors: Tensor, levels: np.ndarray, out: Tensor, add: bool = False
    ) -> None:
        """Set `out[f]`, or add to it, the sum over its entries of weight times vector `(d,)`."""
        arrays = weight.numpy(), vectors.numpy(), levels, out.numpy()
        kernels.outer_sums(*self.order, *arrays, add)

    def total(self, weight: Tensor) -> Tensor:
        """Return the sum of `weight` over each feature's entries, `(d_sae,)`."""
        return torch.from_numpy(kernels.feature_sums(*self.order, weight.contiguous().numpy()))


class DenseActive:
    """The same as full `(B, d_sae)` matrices with a mask, for one level."""

    def __init__(self, pre: Tensor, mask: Tensor) -> None:
        """Take `pre` and which of its entries are active, both `(B, d_sae)`."""
        self.pre, self.mask = pre, mask.float()

    def of_feature(self, vector: Tensor) -> Tensor:
        """See `SparseActive`."""
        return vector

    def decode(
        self, value: Tensor, decoder: Tensor, b_dec: Tensor, x: Tensor, levels: np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
        """See `SparseActive`; `levels` has one entry."""
        error = torch.addmm(b_dec - x, value * self.mask, decoder)
        loss = error.double().square().sum(1).numpy()[None]
        return error[None], error, error @ decoder.t(), loss

    def outer(
        self, weight: Tensor, vectors: Tensor, levels: np.ndarray, out: Tensor, add: bool = False
    ) -> None:
        """See `SparseActive`."""
        torch.addmm(out, (weight * self.mask).t(), vectors[0], beta=float(add), out=out)

    def total(self, weight: Tensor) -> Tensor:
        """See `SparseActive`."""
        return (weight * self.mask).sum(0)


Active = SparseActive | DenseActive


def active_above(pre: Tensor, bias: Tensor, cut: Tensor) -> Any:
    """Return the features with `pre + bias > cut`, in the form that is faster for so many."""
    one = torch.ones_like(bias)
    arrays = pre.numpy(), bias.numpy(), one.numpy(), cut.numpy()
    count = kernels.count_above(*arrays)
    if count.mean() > DENSE_ABOVE * pre.shape[1]:
        return DenseActive(pre, pre + bias > cut)
    capacity = max(1, int(count.max()))
    return SparseActive(kernels.select_above(*arrays, capacity), pre.shape[1])


def active_topk(pre: Tensor, bias: Tensor, norm: Tensor, k: int) -> SparseActive:
    """Return the k features of each row with the largest `(pre + bias) * norm`."""
    return SparseActive(
        kernels.select_topk(pre.numpy(), bias.numpy(), norm.numpy(), k), pre.shape[1]
    )


def active_batch_topk(
    pre: Tensor, bias: Tensor, norm: Tensor, n: int, guess: float
) -> tuple[SparseActive, float]:
    """Return the `n` entries of the batch with the largest positive `(pre + bias) * norm`.

    Also the least of these values, near which the search starts in the next batch (`guess`).
    """
    arrays = pre.numpy(), bias.numpy(), norm.numpy()
    width = pre.shape[1]
    count = kernels.count_above(*arrays, np.full(width, guess, dtype=np.float32))
    if count.sum() < n and guess > 0:
        guess = 0.0
        count = kernels.count_above(*arrays, np.zeros(width, dtype=np.float32))
    cut = np.full(width, guess, dtype=np.float32)
    index, value, count = kernels.select_above(*arrays, cut, max(1, int(count.max())))
    used = np.arange(index.shape[1]) < count[:, None]
    score = (value + bias.numpy()[index]) * norm.numpy()[index]
    score[~used] = -np.inf
    least, spare = guess, int(count.sum()) - n
    if spare > 0:
        kth = np.partition(score[used], spare)[spare]
        least = float(np.nextafter(kth, np.float32(-np.inf)))
        index, value, count = kernels.compress(index, value, score > least)
    return SparseActive((index, value, count), width), least
