"""Concept vectors of a hierarchy: ours against the formula as it is written.

    python benchmarks/hierarchy.py

Synthetic rows of a vocabulary, whitened as they are, and synthetic concepts that lie in each other,
with as many tokens as WordNet's have under a large tokenizer. The peer is `numpy.linalg.pinv` of
sklearn's `ledoit_wolf`, concept by concept. It gets a random few of them, half with at least d
tokens and half with fewer, and its time for all follows from the means of both kinds.
"""

import argparse
import resource
import time

import numpy as np
from sklearn.covariance import ledoit_wolf

from universality.studies.hierarchy.claims import family
from universality.studies.hierarchy.graph import Concepts
from universality.studies.hierarchy.vectors import concept_vectors, shared_moments

TARGET = 60
SMALLEST, LARGEST = 51, 17_000


def sizes_like_wordnets(n: int, largest: int, tail: float = 0.95) -> np.ndarray:
    """Return `n` descending numbers of tokens; a share of about s^-tail has more than s."""
    share = np.linspace((SMALLEST / largest) ** tail, 1, n)
    return np.round(SMALLEST * share ** (-1 / tail)).astype(int)


def problem(n_rows: int, d: int, k: int, seed: int) -> tuple[np.ndarray, Concepts]:
    """Return rows `(n_rows, d)`, and `k` concepts, each of a random larger one's tokens."""
    rng = np.random.default_rng(seed)
    mixed = rng.permutation(n_rows)
    rows = rng.standard_normal((n_rows, d))
    runs: list[tuple[int, int]] = []
    parents: list[list[int]] = []
    for size in sizes_like_wordnets(k, min(LARGEST, n_rows)).tolist():
        larger = [node for node, (start, end) in enumerate(runs) if end - start > size]
        parents.append([int(rng.choice(larger))] if larger else [])
        low, high = runs[parents[-1][0]] if larger else (0, n_rows)
        start = int(rng.integers(low, high - size + 1))
        runs.append((start, start + size))
        rows[mixed[start : start + size]] += rng.standard_normal(d) / d**0.5
    names = [str(node) for node in range(k)]
    members = [np.sort(mixed[start:end]) for start, end in runs]
    return rows, Concepts(names, [[name] for name in names], members, parents)


def as_written(rows: np.ndarray) -> np.ndarray:
    """Return the vector of the concept of these rows: equation 8."""
    mean = rows.mean(axis=0)
    direction = np.linalg.pinv(ledoit_wolf(rows)[0]) @ mean
    direction /= np.linalg.norm(direction)
    return (direction @ mean) * direction


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--d", type=int, default=2304)
    parser.add_argument("--concepts", type=int, default=1000)
    parser.add_argument("--peer-n", type=int, default=4)
    args = parser.parse_args()
    rows, concepts = problem(args.rows, args.d, args.concepts, 0)
    members = concepts.members
    sizes = np.array([len(some) for some in members])
    large = sizes >= args.d
    print(
        f"synthetic: {args.rows} x {args.d}, {len(sizes)} concepts of {sizes.min()} to "
        f"{sizes.max()} tokens, median {np.median(sizes):.0f}, {large.sum()} of at least {args.d}"
    )
    part = family(concepts, np.random.default_rng(0)).largest_part
    start = time.perf_counter()
    moments = shared_moments(rows, members, part)
    shared = time.perf_counter() - start
    ours = concept_vectors(rows, members, moments=moments)
    took = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"ours: {took:.1f} s (target {TARGET} s), {shared:.1f} s of them the sums of large "
        f"concepts; {memory:.1f} GB at most on Linux"
    )
    del moments
    rng = np.random.default_rng(1)
    expected, error = 0.0, 0.0
    for kind in (np.flatnonzero(large), np.flatnonzero(~large)):
        drawn = rng.permutation(kind)[: args.peer_n // 2]
        start = time.perf_counter()
        theirs = [as_written(rows[members[concept]]) for concept in drawn]
        seconds = (time.perf_counter() - start) / max(1, len(drawn))
        expected += seconds * len(kind)
        print(f"as written: {seconds:.2f} s a concept, tokens {sizes[drawn].tolist()}")
        for concept, vector in zip(drawn, theirs, strict=True):
            off = np.linalg.norm(ours[concept] - vector) / np.linalg.norm(vector)
            error = max(error, float(off))
    print(f"as written, all concepts: {expected:.0f} s, {expected / took:.0f}x ours")
    print(f"largest relative difference {error:.1e}")


if __name__ == "__main__":
    main()
