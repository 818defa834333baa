"""Clusters of features, and whether they are more than noise would give.

Bricken et al. 2023 (Towards Monosemanticity) cluster decoder directions by HDBSCAN on a UMAP of
ten dimensions; Engels et al. 2024 (arXiv 2405.14860) by a graph of decoder cosines.
"""

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from universality.core.maps import left_out
from universality.core.nulls import permutation_p

NOISE = -1
"""Label of what is in no cluster."""
_BLOCK = 1024


def hdbscan(x: np.ndarray, min_size: int) -> np.ndarray:
    """Return the cluster of each row of `x` `(n, d)`, NOISE or 0, 1, ... from the largest."""
    from sklearn.cluster import HDBSCAN

    # scikit-learn's stubs call `copy` a string.
    found = HDBSCAN(min_cluster_size=min_size, copy=True)  # pyright: ignore[reportArgumentType]
    return by_size(found.fit(x).labels_)


def nearest_cosines(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the `k` other rows of largest cosine to each of `rows` `(n, d)`, and the cosines.

    Both `(n, k)`, in no order.
    """
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    n = len(rows)
    k = min(k, n - 1)
    nearest, near = np.empty((n, k), dtype=np.int64), np.empty((n, k), dtype=np.float32)
    for first in range(0, n, _BLOCK):
        block = np.arange(first, min(first + _BLOCK, n))
        cosine = unit[block] @ unit.T
        cosine[block - first, block] = -np.inf
        nearest[block] = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        near[block] = np.take_along_axis(cosine, nearest[block], axis=1)
    return nearest, near


def cosine_graph(rows: np.ndarray, k: int, least: float, min_size: int) -> np.ndarray:
    """Return the connected component of each of `rows` `(n, d)`; those below `min_size` are NOISE.

    A row is linked with those of its `k` nearest whose cosine is `least` or more, in either
    direction, as Engels et al. 2024 do for Mistral 7B.
    """
    nearest, near = nearest_cosines(rows, k)
    n = len(rows)
    linked = (near >= least).ravel()
    source, target = np.repeat(np.arange(n), nearest.shape[1])[linked], nearest.ravel()[linked]
    graph = sp.csr_matrix((np.ones(len(source)), (source, target)), shape=(n, n))
    labels = sp.csgraph.connected_components(graph, directed=False)[1]
    sizes = np.bincount(labels)
    return by_size(np.where(sizes[labels] >= min_size, labels, NOISE))


def by_size(labels: np.ndarray) -> np.ndarray:
    """Number clusters 0, 1, ... from the largest (of equal ones the first met); NOISE stays."""
    found, first, count = np.unique(labels, return_index=True, return_counts=True)
    order = [i for i in np.lexsort((first, -count)) if found[i] != NOISE]
    number = {found[i]: place for place, i in enumerate(order)}
    return np.array([number.get(label, NOISE) for label in labels], dtype=np.int64)


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float:
    """Return the adjusted Rand index (Hubert & Arabie 1985): 1 for equal, 0 for chance.

    What is in no cluster counts as one more cluster.
    """
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(a, b))


def rand_row(
    name: str, a: np.ndarray, b: np.ndarray, n_groups: int, n_null: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return the adjusted Rand index as `name`, its interval, and its null: b's labels permuted."""
    observed = adjusted_rand(a, b)
    low, high = left_out(lambda rows: adjusted_rand(a[rows], b[rows]), len(a), n_groups, (-1, 1))
    table = np.zeros((a.max() + 2, b.max() + 2))  # labels start at NOISE = -1
    null = np.empty(n_null)
    for draw in range(n_null):
        table[:] = 0
        np.add.at(table, (a + 1, rng.permutation(b) + 1), 1)
        null[draw] = _rand_of_counts(table)
    return {
        name: observed, f"{name}_low": low, f"{name}_high": high,
        f"{name}_null": float(null.mean()), f"{name}_p": permutation_p(observed, null),
    }  # fmt: skip


def _rand_of_counts(table: np.ndarray) -> float:
    """Return the adjusted Rand index of a table of counts; a permutation costs little by it."""
    pairs = [float(np.sum(x * (x - 1)) / 2) for x in (table, table.sum(1), table.sum(0))]
    n = table.sum()
    chance = pairs[1] * pairs[2] / (n * (n - 1) / 2)
    most = (pairs[1] + pairs[2]) / 2
    return (pairs[0] - chance) / (most - chance) if most > chance else 1.0


def purities(labels: np.ndarray, token: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the commonest token of each cluster and its share of the members, `(n_clusters,)`.

    `labels` and `token` are `(n,)`, both not negative.
    """
    width = int(token.max()) + 1
    count = np.bincount(labels * width + token, minlength=(int(labels.max()) + 1) * width)
    count = count.reshape(-1, width)
    return count.argmax(1), count.max(1) / count.sum(1)


def cluster_tables(
    labels: np.ndarray,
    token: np.ndarray,
    name_of: list[str],
    n_named: int,
    n_groups: int,
    n_null: int,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return a row per cluster, and what holds for all: how many, and whether tokens explain them.

    `token` `(n,)` numbers each feature's top token, named by `name_of`. `purity` is the share of a
    cluster's members with its commonest top token, over all clusters weighted by size; its null
    permutes tokens among the clustered features. No cluster: an empty table, purity left out.
    """
    inside = labels != NOISE
    summary: dict[str, float] = {
        "n_features": len(labels),
        "n_clusters": int(labels.max()) + 1,
        "share_clustered": float(inside.mean()),
    }
    if not inside.any():
        return pd.DataFrame(), summary
    own, tokens = labels[inside], token[inside]
    size = np.bincount(own)
    commonest, purity = purities(own, tokens)
    null = np.array([purities(own, rng.permutation(tokens))[1] for _ in range(n_null)])

    def overall(rows: np.ndarray) -> float:
        compact = np.unique(own[rows], return_inverse=True)[1]
        sizes = np.bincount(compact)
        return float(sizes @ purities(compact, tokens[rows])[1] / sizes.sum())

    low, high = left_out(overall, len(own), n_groups, (0, 1))
    weighted = null @ size / size.sum()
    summary |= {
        "purity": overall(np.arange(len(own))), "purity_low": low, "purity_high": high,
        "purity_null": float(weighted.mean()),
        "purity_p": permutation_p(float(purity @ size / size.sum()), weighted),
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    for cluster, n in enumerate(size):
        counts = np.bincount(tokens[own == cluster])
        best = [int(i) for i in np.argsort(-counts, kind="stable")[:n_named] if counts[i]]
        rows.append(
            {
                "cluster": cluster, "size": int(n),
                "top_tokens": " ".join(f"{name_of[i]}:{counts[i]}" for i in best),
                "top_token": name_of[commonest[cluster]], "purity": float(purity[cluster]),
                "purity_null": float(null[:, cluster].mean()),
                "purity_p": permutation_p(float(purity[cluster]), null[:, cluster]),
            }
        )  # fmt: skip
    return pd.DataFrame(rows), summary
