"""How features and activations lie to the neurons: how many neurons a feature is, and kurtosis."""

from collections.abc import Iterator

import numpy as np

from universality.nulls import permutation_p
from universality.stats import jackknife_interval

_ROUNDING = 1e-6
_GROUPS = 50


def unit(rows: np.ndarray) -> np.ndarray:
    """Return `rows` `(n, d)` divided by their norms; a row of zeros stays."""
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1)


def matched_directions(rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `n` Gaussian directions with the second moment of unit `rows`, normalised, `(n, d)`."""
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    scales = np.sqrt(np.maximum(values, 0))
    return unit((rng.normal(size=(n, len(values))) * scales) @ vectors.T)


def neurons_needed(
    rows: np.ndarray, neurons: np.ndarray, explained: float, few: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the neurons that a direction is made of.

    `rows` `(n, d)` and `neurons` `(d_mlp, d)` are unit vectors; for an SAE on the neurons
    themselves, `neurons` is the identity. Orthogonal matching pursuit (Pati et al. 1993): add the
    neuron with the largest absolute cosine with what is left, project on all that were added,
    until `explained` of the squared norm is. Exact if the neurons are orthogonal, else an upper
    bound of the fewest. Returns the counts (`few + 1` means more than `few`), the first neuron and
    its cosine, each `(n,)`.
    """
    if neurons.shape == (rows.shape[1],) * 2 and np.array_equal(neurons, np.eye(len(neurons))):
        return _coordinates_needed(rows, explained, few)
    left, neurons = rows.astype(np.float32), neurons.astype(np.float32)
    n, d = rows.shape
    needed = np.full(n, few + 1)
    basis = np.zeros((n, few, d), dtype=np.float32)
    first, cosine = np.zeros(n, dtype=np.int64), np.zeros(n)
    for k in range(few):
        products = left @ neurons.T
        chosen = np.abs(products).argmax(1)
        if k == 0:
            first, cosine = chosen, products[np.arange(n), chosen].astype(np.float64)
        direction = neurons[chosen]
        for _ in range(2):  # once is not orthogonal enough when neurons are nearly parallel
            inside = basis[:, :k] @ direction[:, :, None]
            direction = direction - (inside * basis[:, :k]).sum(1)
        # A neuron within the span of the others adds nothing but rounding.
        direction = np.where(np.square(direction).sum(1, keepdims=True) > 1e-8, direction, 0)
        basis[:, k] = unit(direction)
        left -= (left * basis[:, k]).sum(1, keepdims=True) * basis[:, k]
        done = np.square(left).sum(1) <= 1 - explained + _ROUNDING
        needed[done & (needed > few)] = k + 1
    return needed, first, cosine


def _coordinates_needed(
    rows: np.ndarray, explained: float, few: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    square = np.square(rows)
    largest = -np.sort(-square, axis=1)[:, :few]
    short = np.cumsum(largest, axis=1) < explained - _ROUNDING
    first = square.argmax(1)
    return short.sum(1) + 1, first, rows[np.arange(len(rows)), first]


def neuron_classes(needed: np.ndarray, few: int) -> dict[str, np.ndarray]:
    """Return which features are one_neuron, few_neurons (2 to `few`) or dense, each `(n,)`."""
    return {
        "one_neuron": needed == 1,
        "few_neurons": (needed > 1) & (needed <= few),
        "dense": needed > few,
    }


def rotation_kurtosis(
    x: np.ndarray,
    document: np.ndarray,
    n_rotations: int,
    n_axes: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Compare the kurtosis of activations `x` `(n, d)` along neurons and along random axes.

    Returns the median excess kurtosis over neurons (0 for a Gaussian) with its 95% interval, a
    jackknife's over groups of the documents `document` `(n,)`; its null, the same median in
    `n_rotations` random rotations (of which `n_axes` axes, at most, are looked at), with their
    range; and p. Neurons above the null say that the basis is privileged; a null above 0 that
    positions differ in norm. With tails as long as these the kurtosis grows with `n`: compare it
    with its null and at equal `n`, not with a published number.
    """
    x = (x - x.mean(0, dtype=np.float64)).astype(np.float32)
    names, row = np.unique(document, return_inverse=True)
    group = (rng.permutation(len(names)) % min(len(names), _GROUPS))[row]
    x, counts = x[np.argsort(group, kind="stable")], np.bincount(group)
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = [np.add.reduceat(power, firsts, axis=0, dtype=np.float64) for power in _powers(x)]
    rest = (len(x) - counts)[:, None]
    without = np.median(_kurtosis([(one.sum(0) - one) / rest for one in sums]), axis=1)
    null = []
    for _ in range(n_rotations):
        axes = np.linalg.qr(rng.normal(size=(x.shape[1], min(x.shape[1], n_axes))))[0]
        powers = _powers(x @ axes.astype(np.float32))
        null.append(np.median(_kurtosis([power.mean(0, dtype=np.float64) for power in powers])))
    value = float(np.median(_kurtosis([one.sum(0) / len(x) for one in sums])))
    low, high = jackknife_interval(value, without)
    return {
        "kurtosis": value,
        "kurtosis_low": low,
        "kurtosis_high": high,
        "kurtosis_null": float(np.mean(null)),
        "kurtosis_null_low": float(np.min(null)),
        "kurtosis_null_high": float(np.max(null)),
        "kurtosis_p": permutation_p(value, np.array(null)),
        "n_positions": len(x),
        "n_neurons": x.shape[1],
    }


def _powers(x: np.ndarray) -> Iterator[np.ndarray]:
    square = x * x
    yield from (x, square, square * x, square * square)


def _kurtosis(moments: list[np.ndarray]) -> np.ndarray:
    """Return the excess kurtosis from the raw moments 1 to 4, arrays of one shape."""
    m1, m2, m3, m4 = moments
    variance = m2 - m1**2
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    return fourth / np.maximum(variance, 1e-30) ** 2 - 3
