"""The best partners of sparse features in another set, exactly and in both directions at once.

Most features are 0 almost everywhere, so the sums S = A' B behind every measure need only the
positions where both fire: the cost follows the number of co-firings. S is made one feature of A at
a time, in as much memory as B has features, which stays in the processor's cache; its scores are
ranked for A and for B on the spot and forgotten. Sums are in float64.

pearson: (S / n - m_a m_b) / (s_a s_b), means m and standard deviations s over all n positions;
cosine: S / (|a| |b|); jaccard: co-firings / positions where either fires.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Literal, TypeVar

import numba
import numpy as np

from universality.core.engine import kernels
from universality.core.engine.moments import PARTS, Moments, Sparse, moments, passes
from universality.core.errors import InputError
from universality.core.io import read_arrays, write_arrays
from universality.core.progress import progress

Measure = Literal["pearson", "cosine", "jaccard"]
Held = TypeVar("Held", bound=tuple[np.ndarray, ...])
_SHARE_OF_B = 2 / 3
"""Share of the memory that goes to B: it is read again for every block of A."""


@dataclass(frozen=True)
class Matches:
    """The k best partners of every feature, best first, `(d, k)` each.

    Where there is no partner (the feature is constant, or fewer than k are left) `found` is
    false, `partner` -1 and `r`, the score, 0.
    """

    partner: np.ndarray
    r: np.ndarray
    found: np.ndarray


class Matcher:
    """Two sets of features over the same positions, ready to be matched in several ways.

    `a` is `(n, d_a)` and `b` `(n, d_b)`. Features that are constant (pearson) or never fire have
    no partners and are nobody's. `exclude_self` bars feature i from partner i (for one set of
    features against itself). `memory_mb` bounds what is held beside the matrices themselves, which
    may lie in files; more of it means fewer passes over them.
    """

    def __init__(
        self,
        a: Sparse,
        b: Sparse,
        measure: Measure = "pearson",
        *,
        exclude_self: bool = False,
        memory_mb: float = 1024,
    ) -> None:
        """Raise ValueError if the positions differ in number, or on NaN or infinity."""
        if a.shape[0] != b.shape[0]:
            raise ValueError(f"A has {a.shape[0]} positions and B {b.shape[0]}")
        self.measure, self.exclude_self = measure, exclude_self
        moments_a = moments(a)
        moments_b = moments_a if b is a else moments(b)
        self.a = _Side(a, moments_a, measure, memory_mb * (1 - _SHARE_OF_B))
        self.b = _Side(b, moments_b, measure, memory_mb * _SHARE_OF_B)

    def partners(
        self, k: int = 1, shift: int = 0, checkpoint: Path | None = None
    ) -> tuple[Matches, Matches]:
        """Return the k best partners in B of A's features, and in A of B's features.

        Best is the highest signed score; of equal ones the lower feature. A's row i meets B's row
        i - `shift`, circularly. With a `checkpoint`, a file, the state is kept there after every
        block and taken up again; it goes when all is done. InputError if it is of another matching.
        """
        d_a, d_b = self.a.matrix.shape[1], self.b.matrix.shape[1]
        found = _Best(1, min(k, d_b), d_a), _Best(1, min(k, d_a), d_b)
        steps = [(b, a) for b in self.b.blocks for a in self.a.blocks]
        state = _Checkpoint(checkpoint, self._fingerprint(k, shift), found) if checkpoint else None
        done = state.restore() if state else 0
        with progress(total=len(steps), desc="blocks", initial=done, leave=False) as bar:
            for step, (b, a) in enumerate(steps[done:], done):
                self._scan(a, b, shift, *found)
                if state and step + 1 < len(steps):
                    state.save(step + 1)
                bar.update()
        if state:
            state.path.unlink(missing_ok=True)
        return found[0].finish(), found[1].finish()

    def all_scores(self, shift: int = 0) -> np.ndarray:
        """Return the score of every pair `(d_a, d_b)`, NaN where there is none.

        For sets whose full matrix fits into memory: an assignment needs it.
        """
        scores = np.full((self.a.matrix.shape[1], self.b.matrix.shape[1]), np.nan)
        for a, b in product(self.a.blocks, self.b.blocks):
            sums = np.zeros((len(self.a.order[a]), len(self.b.order[b])))
            kernels.sum_products(*self.a.columns(a), *self.b.rows(b), shift, sums)
            scale_a, scale_b = self.a.scale[a, None], self.b.scale[b]
            if self.measure == "jaccard":
                found = sums / (scale_a + scale_b - sums)
            else:
                found = sums * scale_a * scale_b - self.a.offset[a, None] * self.b.offset[b]
            scores[np.ix_(self.a.order[a], self.b.order[b])] = np.clip(found, -1, 1)
        if self.exclude_self:
            np.fill_diagonal(scores, np.nan)
        return scores

    def _scan(self, a: slice, b: slice, shift: int, forward: "_Best", backward: "_Best") -> None:
        """Let the features of two blocks compete for being the best of each other."""
        names_a, names_b = self.a.order[a], self.b.order[b]
        own = np.full(len(names_a), -1)
        if self.exclude_self:
            place = np.full(max(self.a.matrix.shape[1], self.b.matrix.shape[1]), -1)
            place[names_b] = np.arange(len(names_b))
            own = place[names_a]
        name, score = (np.ascontiguousarray(part[0][:, names_a].T) for part in forward.both)
        others = _Best(numba.get_num_threads(), backward.name.shape[1], len(names_b))
        kernels.scan(
            *self.a.columns(a), self.a.scale[a], self.a.offset[a], names_a, own,
            *self.b.rows(b), self.b.scale[b], self.b.offset[b], names_b,
            shift, self.measure == "jaccard", name, score, *others.both,
        )  # fmt: skip
        forward.name[0][:, names_a], forward.score[0][:, names_a] = name.T, score.T
        name, score = (part[0][:, names_b] for part in backward.both)
        kernels.merge(name, score, *others.both)
        backward.name[0][:, names_b], backward.score[0][:, names_b] = name, score

    def _fingerprint(self, k: int, shift: int) -> str:
        parts = [self.measure, self.exclude_self, k, shift, self.a.blocks, self.b.blocks]
        digest = hashlib.sha256(repr(parts).encode())
        for side in (self.a, self.b):
            for array in (side.order, side.scale, side.offset):
                digest.update(array.tobytes())
        return digest.hexdigest()


class _Side:
    """One set of features, the most frequent first; constant ones are left out.

    Frequent features hold most of the co-firings: numbered first, their sums share few cache lines.
    """

    def __init__(self, matrix: Sparse, found: Moments, measure: Measure, memory_mb: float) -> None:
        self.matrix, self.measure = matrix, measure
        self.dtype = np.dtype(np.float32 if matrix.data.dtype.itemsize <= 4 else np.float64)
        n, d = matrix.shape
        valid = (found.sd if measure == "pearson" else found.count) > 0
        self.order = np.argsort(-found.count, kind="stable")[: np.count_nonzero(found.count)]
        self.order = self.order[valid[self.order]]
        mean, sd, count = (array[self.order] for array in (found.mean, found.sd, found.count))
        self.offset = np.zeros(len(mean))
        if measure == "pearson":
            self.scale, self.offset = 1 / (np.sqrt(n) * sd), mean / sd
        elif measure == "cosine":
            self.scale = 1 / np.sqrt(n * (sd**2 + mean**2))
        else:
            self.scale = count.astype(np.float64)
        self.rank = np.full(d, -1, dtype=np.int32)
        self.rank[self.order] = np.arange(len(self.order))
        self.blocks = _blocks(count * (4 + self.dtype.itemsize), memory_mb * 2**20)
        self._held: tuple[slice, Any] | None = None

    def rows(self, block: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return the features of a block position by position: row starts, and entries."""
        return self._hold(block, self._make_rows)

    def columns(self, block: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the features of a block one by one: starts, positions, values."""
        return self._hold(block, self._make_columns)

    def _hold(self, block: slice, make: Callable[[int, int], Held]) -> Held:
        if self._held is None or self._held[0] != block:
            self._held = None  # before the next is made: both might not fit
            self._held = block, make(block.start, block.stop)
        return self._held[1]

    def _make_rows(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        wanted = (self.rank, first, last)
        count = np.zeros(self.matrix.shape[0], dtype=np.int64)
        for arrays, bounds, _ in passes(self.matrix):
            kernels.count_rows(*arrays, bounds, *wanted, count)
        start = _starts(count)
        number = np.uint16 if last - first <= 2**16 else np.uint32
        entries = np.empty(start[-1], dtype=[("feature", number), ("value", self.dtype)])
        for arrays, bounds, _ in passes(self.matrix):
            kernels.fill_rows(*arrays, bounds, *wanted, start, entries)
        if self.measure == "jaccard":
            entries["value"] = 1
        return start, entries

    def _make_columns(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        wanted = (self.rank, first, last)
        count = np.zeros((PARTS, last - first), dtype=np.int64)
        for arrays, bounds, part in passes(self.matrix):
            kernels.count_columns(*arrays, bounds, *wanted, count[part])
        start = _starts(count.sum(0))
        rows = np.empty(start[-1], dtype=np.uint32)
        values = np.empty(start[-1], dtype=self.dtype)
        place = start[:-1] + count.cumsum(0) - count
        for arrays, bounds, part in passes(self.matrix):
            kernels.fill_columns(*arrays, bounds, *wanted, place[part], rows, values)
        if self.measure == "jaccard":
            values.fill(1)
        return start, rows, values


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])


def _blocks(sizes: np.ndarray, most: float) -> list[slice]:
    """Cut `sizes` into runs that sum to `most` at most, or have one member; at least one run."""
    bounds, total = [0], 0.0
    for place, size in enumerate(sizes.tolist()):
        if total + size > most and place > bounds[-1]:
            bounds.append(place)
            total = 0.0
        total += size
    return [slice(a, b) for a, b in pairwise([*bounds, len(sizes)])]


class _Best:
    """Partners by name and score, best first, `(m, k, d)` each, at first none."""

    def __init__(self, m: int, k: int, d: int) -> None:
        self.name = np.full((m, k, d), -1, dtype=np.int64)
        self.score = np.full((m, k, d), kernels.NONE)

    @property
    def both(self) -> tuple[np.ndarray, np.ndarray]:
        return self.name, self.score

    def finish(self) -> Matches:
        name, score = self.name[0].T, self.score[0].T
        found = score > kernels.NONE
        return Matches(np.where(found, name, -1), np.where(found, score, 0.0), found)


_DONE = "done_of_"


class _Checkpoint:
    """The state of a matching in a file: which blocks are done, and the best so far."""

    def __init__(self, path: Path, fingerprint: str, found: tuple[_Best, _Best]) -> None:
        self.path, self.fingerprint = path, fingerprint
        self.arrays = {
            f"{side}_{part}": array
            for side, best in zip(("a", "b"), found, strict=True)
            for part, array in zip(("name", "score"), best.both, strict=True)
        }

    def save(self, done: int) -> None:
        """Write the state after `done` blocks."""
        write_arrays(self.path, {**self.arrays, f"{_DONE}{self.fingerprint}": np.array([done])})

    def restore(self) -> int:
        """Take the state up again; return how many blocks are done."""
        if not self.path.exists():
            return 0
        kept = read_arrays(self.path)
        done = kept.get(f"{_DONE}{self.fingerprint}")
        if done is None:
            raise InputError(f"{self.path}: the state of another matching; delete it to start anew")
        for name, array in self.arrays.items():
            array[...] = kept[name]
        return int(done[0])


def best_matches(
    a: Sparse, b: Sparse, k: int = 1, measure: Measure = "pearson", *, exclude_self: bool = False
) -> tuple[Matches, Matches]:
    """Return the k best partners of A's features and of B's: see `Matcher`."""
    return Matcher(a, b, measure, exclude_self=exclude_self).partners(k)
