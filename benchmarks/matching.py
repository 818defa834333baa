"""The matching engine against scipy and BLAS, and against what memory allows.

    python benchmarks/matching.py            # 16,384 x 16,384 features, 1M tokens; curves
    python benchmarks/matching.py --large    # 131,072 x 131,072 features, 10M tokens, from files

Features are synthetic: how often they fire is log-normal, as of real SAEs; half of B's firings are
those of partners of A's. The engine finds the best 5 partners in both directions. scipy's product
is made for some of A's features and BLAS' for some of the tokens, each with the same ranking, and
scaled to the whole by what its cost follows; all in one run, medians.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import scipy.sparse as sp

from universality.core.engine.partners import Matcher
from universality.core.engine.sparse_file import open_sparse
from universality.core.io import write_sparse

K = 5
SPREAD = 1.5  # standard deviation of the log of the firing rates


@numba.njit
def _uniform(state):
    """Return a number in [0, 1) and the next state (splitmix64)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * 2.0**-53, state


@numba.njit(parallel=True)
def _draw(n, l0, cumulative, partner, a_index, a_value, b_index, b_value):
    """Fill rows of `l0` different features each; half of B's are partners of A's."""
    for row in numba.prange(n):
        state = np.uint64(row + 1) * np.uint64(0xD1342543DE82EF95)
        for side in range(2):
            index, value = (a_index, a_value) if side == 0 else (b_index, b_value)
            used = row * l0
            while used < (row + 1) * l0:
                chance, state = _uniform(state)
                size, state = _uniform(state)
                if side == 1 and chance < 0.5:
                    place = row * l0 + int(chance * 2 * l0)
                    feature, x = partner[a_index[place]], a_value[place] * (0.75 + size / 2)
                else:
                    pick, state = _uniform(state)
                    feature = min(np.searchsorted(cumulative, pick), len(cumulative) - 1)
                    x = 0.1 - np.log(1 - size)
                at = used
                while at > row * l0 and index[at - 1] > feature:
                    at -= 1
                if at > row * l0 and index[at - 1] == feature:
                    continue
                for other in range(used, at, -1):
                    index[other], value[other] = index[other - 1], value[other - 1]
                index[at], value[at] = feature, x
                used += 1


def synthetic(n: int, d: int, l0: int) -> list[sp.csr_matrix]:
    """Return A and B, `(n, d)` each with `l0` features a row."""
    rng = np.random.default_rng(0)
    rate = np.exp(SPREAD * rng.normal(size=d))
    partner = rng.permutation(d)
    arrays = [np.empty(n * l0, dtype) for dtype in (np.int32, np.float32) * 2]
    _draw(n, l0, np.cumsum(rate / rate.sum()), partner, *arrays)
    start = np.arange(n + 1, dtype=np.int64) * l0
    if start[-1] < 2**31:
        start = start.astype(np.int32)
    matrices = []
    for index, value in (arrays[:2], arrays[2:]):
        matrix = sp.csr_matrix((n, d), dtype=np.float32)
        matrix.data, matrix.indices, matrix.indptr = value, index, start
        matrix.has_sorted_indices = True
        matrices.append(matrix)
    return matrices


def seconds(run: Callable[[], object], rounds: int) -> float:
    """Return the median time of `run` in seconds."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def engine(a: sp.csr_matrix, b: sp.csr_matrix, rounds: int) -> float:
    """Return the seconds of everything: moments, preparation, sums, ranking both ways."""
    return seconds(lambda: Matcher(a, b).partners(K), rounds)


def cofirings(a: sp.csr_matrix, b: sp.csr_matrix) -> float:
    """Return the number of pairs of entries that meet at a position."""
    return float(np.diff(a.indptr).astype(np.float64) @ np.diff(b.indptr))


def rank(scores: np.ndarray) -> None:
    """Find the best of every row and column: what is left to do once there is a full matrix."""
    for axis in (0, 1):
        np.argpartition(scores, -K, axis=axis)


def correlate(sums: np.ndarray, n: int) -> np.ndarray:
    """Turn sums into something like correlations: one pass to scale, one to subtract means."""
    sums *= np.float32(1 / n)
    sums -= np.full(
        (len(sums), 1), 1e-3, np.float32
    )  # broadcast: nothing of the sums' size is made
    return sums


def scipy_seconds(a: sp.csr_matrix, b: sp.csr_matrix, rounds: int) -> float:
    """Return the seconds of scipy's product with ranking, from 512 features of A."""
    rng = np.random.default_rng(1)
    chosen = np.sort(rng.choice(a.shape[1], 512, replace=False))
    columns = a[:, chosen].tocsr()
    transposed = sp.csr_matrix(columns.T)
    share = cofirings(columns, b) / cofirings(a, b)
    product = seconds(lambda: transposed @ b, rounds)
    sums = np.asarray((transposed @ b).todense())
    ranking = seconds(lambda: rank(correlate(sums.copy(), a.shape[0])), rounds)
    return product / share + ranking * a.shape[1] / 512


def blas_seconds(a: sp.csr_matrix, b: sp.csr_matrix, rounds: int) -> float:
    """Return the seconds of float32 BLAS with ranking, from 4096 tokens and 2048 features of A."""
    rows, features = 4096, min(2048, a.shape[1])
    x = np.ascontiguousarray(a[:rows, :features].toarray().T)
    y = b[:rows].toarray()
    product = seconds(lambda: x @ y, rounds) * (a.shape[0] / rows) * (a.shape[1] / features)
    sums = x @ y
    ranking = seconds(lambda: rank(correlate(sums.copy(), a.shape[0])), rounds)
    return product + ranking * a.shape[1] / features


@numba.njit(parallel=True, fastmath=True)
def _total(array):
    total = np.float32(0)
    for i in numba.prange(len(array)):
        total += array[i]
    return total


def bandwidth() -> float:
    """Return the bytes/s at which all threads read memory in order."""
    array = np.ones(2**28, dtype=np.float32)
    _total(array)
    return array.nbytes / seconds(lambda: _total(array), 5)


def standard(n: int, d: int, l0: int, rounds: int) -> None:
    """Compare with scipy and BLAS, and with the limit of memory."""
    a, b = synthetic(n, d, l0)
    mine, meetings = engine(a, b, rounds), cofirings(a, b)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    theirs, dense = scipy_seconds(a, b, rounds), blas_seconds(a, b, rounds)
    rate = bandwidth()
    entry = (2 if d <= 2**16 else 4) + 4
    limit = meetings * entry / rate
    print(f"{d} x {d} features, {n} tokens, L0 {l0}: {meetings:.3g} co-firings")
    print(
        f"  engine {mine:.2f} s ({meetings / mine / 1e9:.2f} G co-firings/s), at most {peak:.1f} GB"
    )
    print(f"  scipy.sparse {theirs:.0f} s: {theirs / mine:.1f} times as long")
    print(f"  float32 BLAS {dense:.0f} s: {dense / mine:.0f} times as long")
    print(
        f"  reading {entry} bytes a co-firing at {rate / 1e9:.1f} GB/s: {limit:.2f} s, "
        f"{limit / mine:.0%} of the engine's time"
    )


def curves(n: int, d: int, l0: int) -> None:
    """Show how the time grows with tokens, features and L0."""
    print("tokens features L0: seconds, ns a co-firing")
    shapes = [(n * m // 4, d, l0) for m in (1, 2, 4)]
    shapes += [(n, d * m // 8, l0) for m in (1, 2, 4, 16)]
    shapes += [(n, d, l0 // m) for m in (4, 2)]
    for shape in shapes:
        a, b = synthetic(*shape)
        took = engine(a, b, 1)
        print(f"{shape[0]:9d} {shape[1]:7d} {shape[2]:3d}: {took:6.2f} s, "
              f"{1e9 * took / cofirings(a, b):.2f} ns")  # fmt: skip


LARGE = (10_000_000, 131_072, 50)
MEMORY_MB = 5500


def write_large(folder: Path) -> None:
    """Write the large matrices."""
    for name, matrix in zip("ab", synthetic(*LARGE), strict=True):
        write_sparse(folder / name, matrix)


def match_large(folder: Path) -> None:
    """Match the large matrices from their files and say what that took."""
    n, d, l0 = LARGE
    begin = time.perf_counter()
    matcher = Matcher(open_sparse(folder / "a"), open_sparse(folder / "b"), memory_mb=MEMORY_MB)
    forward, _ = matcher.partners(K)
    took = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    dense = 2 * n * d * d / 790e12
    print(f"{d} x {d} features, {n} tokens, L0 {l0}, from files")
    print(
        f"  engine {took:.0f} s on {numba.get_num_threads()} cores, at most {peak:.1f} GB resident"
    )
    print(f"  median best r {np.median(forward.r[:, 0]):.3f}")
    print(f"  dense bf16 at 790 TFLOP/s: {dense:.0f} s, without ranking")


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=16_384)
    parser.add_argument("--l0", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="also the large case, 10 GB of disk")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        {"write": write_large, "match": match_large}[options.part](options.folder)
        return
    engine(*synthetic(1000, 300, 5), 1)  # compiles
    standard(options.tokens, options.features, options.l0, options.rounds)
    curves(options.tokens, options.features, options.l0)
    if options.large:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            for part in ("write", "match"):  # each its own process: its memory is its own
                command = [sys.executable, __file__, "--part", part, "--folder", folder]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
