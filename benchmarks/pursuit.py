"""Sparse codes of many vectors in one dictionary: ours against sklearn's `orthogonal_mp`.

    python benchmarks/pursuit.py

Random unit atoms and random vectors, the hardest case: no two vectors share their atoms. sklearn
gets a part of the vectors, and its Gram matrix is timed by itself, so that its speed is given for
the whole batch (the Gram matrix shared by all) and without the Gram matrix. Ours are medians of
rounds that include the Gram matrix. Residuals are those of the vectors that sklearn has coded.
"""

import argparse
import statistics
import time

import numpy as np
from sklearn.linear_model import orthogonal_mp, orthogonal_mp_gram

from universality.steering.pursuit import (
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


def of_sklearn(x: np.ndarray, atoms: np.ndarray, l0: int, n: int) -> tuple[np.ndarray, float]:
    """Return sklearn's coefficients `(m, len(x))` and its seconds for `n` vectors, the better way.

    With the Gram matrix as it may overwrite it, or without one.
    """
    few = x[:4]
    _, direct = timed(orthogonal_mp, atoms.T, few.T, n_nonzero_coefs=l0, precompute=False)
    gram, for_gram = timed(lambda: atoms @ atoms.T)
    products = atoms @ x.T
    found, coding = timed(orthogonal_mp_gram, gram, products, n_nonzero_coefs=l0)
    with_gram = for_gram + coding * n / len(x)
    print(f"sklearn, orthogonal_mp without Gram matrix: {len(few) / direct:.1f} vectors/s")
    print(
        f"sklearn, with Gram matrix: {len(x) / coding:.1f} vectors/s, "
        f"{n / with_gram:.1f} with making it ({for_gram:.1f} s)"
    )
    return np.asarray(found), min(with_gram, direct * n / len(few))


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
    theirs, seconds = of_sklearn(some, atoms, args.l0, args.n)
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
            f"{seconds / whole:.1f}x sklearn; {args.n / shared:.0f} with it at hand; "
            f"residual {left(some, first.reconstruct(atoms)):.5f}"
        )


if __name__ == "__main__":
    main()
