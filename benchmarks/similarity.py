"""CCA of two representations: ours against sklearn's `CCA`, and against QR with an SVD.

    python benchmarks/similarity.py

Synthetic samples that share a third of their variance. sklearn finds 20 components one after
another by iteration; ours and QR find all of them. The correlations of ours are held against those
of a float64 QR and SVD. Medians of alternating runs; sklearn, which takes minutes, runs once.
"""

import argparse
import statistics
import time
import warnings

import numpy as np
from sklearn.cross_decomposition import CCA
from sklearn.exceptions import ConvergenceWarning

from universality.studies.spaces.similarity import linear


def samples(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two `(n, d)` that share `d // 3` directions, with variances that fall off."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((n, d // 3))
    sides = [
        (shared @ rng.standard_normal((d // 3, d)) / d**0.5 + rng.standard_normal((n, d)))
        * np.logspace(0, -1.5, d)
        for _ in range(2)
    ]
    return sides[0], sides[1]


def ours(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the canonical correlations as the project finds them."""
    return linear.canonical_correlations(linear.compare(x, y))


def by_qr(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return them from orthonormal bases by QR."""
    q = [np.linalg.qr(side - side.mean(0))[0] for side in (x, y)]
    return np.linalg.svd(q[0].T @ q[1], compute_uv=False)


def timed(run, *args):
    """Return what `run` gives, and its seconds."""
    start = time.perf_counter()
    found = run(*args)
    return found, time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--d", type=int, default=288)
    parser.add_argument("--components", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    x, y = samples(args.n, args.d, 0)
    ours(x[:1000], y[:1000])
    seconds: dict[str, list[float]] = {"ours": [], "QR + SVD": []}
    found: dict[str, np.ndarray] = {}
    for _ in range(args.rounds):
        for name, run in (("ours", ours), ("QR + SVD", by_qr)):
            found[name], took = timed(run, x, y)
            seconds[name].append(took)
    error = np.abs(found["ours"] - found["QR + SVD"]).max()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model, took = timed(CCA(n_components=args.components, scale=False).fit, x, y)
    u, v = model.transform(x, y)
    theirs = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(args.components)]
    print(f"n {args.n}, d {args.d}: largest difference from QR + SVD {error:.1e}")
    print(f"sklearn, {args.components} components: {took:.1f} s")
    off = np.abs(np.array(theirs) - found["ours"][: args.components]).max()
    print(f"  its correlations differ by up to {off:.1e}")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name}, all components: {1000 * median:.0f} ms, {took / median:.0f}x sklearn")
    long = [side.astype(np.float32) for side in samples(100_000, 768, 1)]
    _, took = timed(lambda: linear.svcca(linear.compare(*long)))
    print(f"SVCCA of two 100,000 x 768: {took:.1f} s")


if __name__ == "__main__":
    main()
