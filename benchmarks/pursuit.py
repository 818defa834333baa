"""Sparse codes of many vectors in one dictionary: ours against sklearn's `orthogonal_mp`.

    python benchmarks/pursuit.py

Random unit atoms and random vectors, the hardest case: no two vectors share their atoms. sklearn
gets a part of the vectors, since it takes them one by one. Ours are medians of rounds, all vectors
at once, with making the Gram matrix and with it at hand. Residuals are those of the vectors that
sklearn has coded.
"""

import argparse
import statistics
import time

import numpy as np
from sklearn.linear_model import orthogonal_mp, orthogonal_mp_gram

from universality.core.pursuit import (
    Codes,
    gradient_pursuit,
    gram_matrix,
    orthogonal_matching_pursuit,
)


def problem(n: int, m: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `n` vectors and `m` unit atoms of `d` dimensions, float32."""
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((m, d), dtype=np.float32)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return rng.standard_normal((n, d), dtype=np.float32), atoms


def timed(run, *args, **options):
    """Return what `run` gives, and its seconds."""
    start = time.perf_counter()
    found = run(*args, **options)
    return found, time.perf_counter() - start


def of_sklearn(x: np.ndarray, atoms: np.ndarray, l0: int) -> tuple[np.ndarray, float]:
    """Return sklearn's coefficients `(m, len(x))` and its vectors/s, by the better of its ways.

    With a Gram matrix, which it copies for every vector, it gets four vectors; making it is free.
    """
    found, seconds = timed(orthogonal_mp, atoms.T, x.T, n_nonzero_coefs=l0, precompute=False)
    gram, few = atoms @ atoms.T, x[:4]
    _, with_gram = timed(orthogonal_mp_gram, gram, atoms @ few.T, n_nonzero_coefs=l0)
    speeds = len(x) / seconds, len(few) / with_gram
    print(f"sklearn: {speeds[0]:.1f} vectors/s, with its Gram matrix at hand {speeds[1]:.1f}")
    return np.asarray(found), max(speeds)


def left(x: np.ndarray, reconstruction: np.ndarray) -> float:
    """Return the mean length of what is left of the vectors, of their length."""
    return float(np.mean(np.linalg.norm(x - reconstruction, axis=1) / np.linalg.norm(x, axis=1)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atoms", type=int, default=16_384)
    parser.add_argument("--d", type=int, default=768)
    parser.add_argument("--l0", type=int, default=20)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--sklearn-n", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    x, atoms = problem(args.n, args.atoms, args.d, 0)
    some = x[: args.sklearn_n]
    orthogonal_matching_pursuit(x[:3], atoms[:100], 2)  # compiled
    gradient_pursuit(x[:3], atoms[:100], 2)
    print(f"{args.atoms} atoms of {args.d} dimensions, L0 {args.l0}, {args.n} vectors")
    theirs, speed = of_sklearn(some, atoms, args.l0)
    print(f"  residual {left(some, theirs.T @ atoms):.5f}")
    runs = {
        "orthogonal matching pursuit": (orthogonal_matching_pursuit, {}),
        "signed gradient pursuit": (gradient_pursuit, {"signed": True}),
        "signed, 8 gradient steps": (gradient_pursuit, {"signed": True, "n_gradient_steps": 8}),
        "non-negative gradient pursuit": (gradient_pursuit, {}),
    }
    gram = gram_matrix(atoms)
    for name, (run, options) in runs.items():
        times: dict[str, list[float]] = {"whole": [], "shared": []}
        codes = Codes(np.empty((0, 0)), np.empty((0, 0)))
        for _ in range(args.rounds):
            codes, took = timed(run, x, atoms, args.l0, **options)
            times["whole"].append(took)
            times["shared"].append(timed(run, x, atoms, args.l0, gram=gram, **options)[1])
        whole, shared = (statistics.median(times[kind]) for kind in ("whole", "shared"))
        first = Codes(codes.atoms[: len(some)], codes.coefficients[: len(some)])
        print(
            f"ours, {name}: {args.n / whole:.0f} vectors/s with making the Gram matrix, "
            f"{args.n / whole / speed:.1f}x sklearn; with it at hand {args.n / shared:.0f}, "
            f"{args.n / shared / speed:.1f}x; "
            f"residual {left(some, first.reconstruct(atoms)):.5f}"
        )


if __name__ == "__main__":
    main()
