"""How features lie to the neurons: of how many neurons each one is made."""

import numpy as np

_ROUNDING = 1e-6


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
