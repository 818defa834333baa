"""Compiled loops of sparse pursuit.

A vector is followed from its first atom to its last by one thread, in an order that does not depend
on how many there are. Atoms are unit rows; `c` `(m,)` holds the inner product of every atom with
the residual, and each atom costs one pass over `c` and over the rows of the atoms before it. These
are copied into scratch memory (20 rows of 16,384 atoms are 1.3 MB, about a core's second cache), so
that the Gram matrix, which lies in main memory, is read once per atom.
"""

import numba
import numpy as np

_single = numba.njit(cache=True)
_largest = numba.njit(fastmath={"nnan", "nsz"}, cache=True)  # a maximum in whole vectors, exact
_parallel = numba.njit(parallel=True, cache=True)
_PART = 2048
"""Atoms updated at a time, so that their part of `c` stays in the nearest cache."""
DEPENDENT = 1e-6
"""Share of an atom's squared length outside the span of the others, under which it adds nothing."""


@_largest
def _highest(c, signed):
    """Return the largest entry, or the largest absolute value."""
    best = np.float32(0)
    if signed:
        for j in range(len(c)):
            best = max(best, abs(c[j]))
    else:
        for j in range(len(c)):
            best = max(best, c[j])
    return best


@_single
def _choose(c, chosen, n, signed, least):
    """Return the best atom that is not among the first `n` of `chosen`, or -1; `c` is unchanged."""
    kept = np.empty(n, dtype=np.float32)
    for i in range(n):
        kept[i] = c[chosen[i]]
    for i in range(n):
        c[chosen[i]] = 0
    best, found = _highest(c, signed), -1
    if best > least:
        for j in range(len(c)):
            if c[j] == best or (signed and c[j] == -best):
                found = j
                break
    for i in range(n):
        c[chosen[i]] = kept[i]
    return found


@_single
def _subtract(c, rows, weights):
    """Subtract the rows `(n, m)` times `weights` `(n,)` from `c` `(m,)`."""
    n, m = rows.shape
    for first in range(0, m, _PART):
        part = c[first : min(first + _PART, m)]
        i = 0
        while i + 4 <= n:  # four at a time: `part` is read and written a quarter as often
            w0, w1, w2, w3 = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
            r0, r1, r2, r3 = (
                rows[i, first:], rows[i + 1, first:], rows[i + 2, first:], rows[i + 3, first:],
            )  # fmt: skip
            for j in range(len(part)):
                part[j] -= w0 * r0[j] + w1 * r1[j] + w2 * r2[j] + w3 * r3[j]
            i += 4
        while i < n:
            w, r = weights[i], rows[i, first:]
            for j in range(len(part)):
                part[j] -= w * r[j]
            i += 1


@_single
def _scale(row, factor):
    for j in range(len(row)):
        row[j] *= factor


@_single
def _orthogonal_step(c, rows, t, chosen, factor, projections):
    """Take atom `t` of `chosen` into the span; return whether it lay in the span already.

    With q the Gram-Schmidt basis of the chosen atoms, row i of `rows` is <q_i, atom_j> for all j.
    At the chosen atoms that is the Cholesky factor of their Gram matrix, which so grows by a row.
    """
    atom = chosen[t]
    weights = rows[:t, atom].copy()
    pivot = np.float64(rows[t, atom])
    for i in range(t):
        pivot -= np.float64(weights[i]) ** 2
    if pivot <= DEPENDENT:
        return True
    length = np.sqrt(pivot)
    _subtract(rows[t], rows[:t], weights)
    _scale(rows[t], np.float32(1 / length))
    factor[t, :t], factor[t, t] = weights, length
    projections[t] = c[atom] / length
    projection = projections[t : t + 1].astype(np.float32)
    _subtract(c, rows[t : t + 1], projection)
    return False


@_single
def back_substitute(chosen, factor, coefficients):
    """Turn projections on the Gram-Schmidt basis `(n, k)` into coefficients of the atoms."""
    for i in range(len(chosen)):
        n = 0
        while n < chosen.shape[1] and chosen[i, n] >= 0:
            n += 1
        for a in range(n - 1, -1, -1):
            for b in range(a + 1, n):
                coefficients[i, a] -= factor[i, b, a] * coefficients[i, b]
            coefficients[i, a] /= factor[i, a, a]


@_single
def _product(gram, n, x):
    out = np.zeros(n)
    for i in range(n):
        for j in range(n):
            out[i] += gram[i, j] * x[j]
    return out


@_single
def _decrease(gradient, step, moved):
    """Return by how much half the squared residual falls; `moved` is the Gram matrix times step."""
    return np.sum(gradient * step) - 0.5 * np.sum(step * moved)


@_single
def _descend(gram, n, gradient, coefficients, signed, n_gradient_steps):
    """Move the coefficients `(n,)` down the gradient; `gradient` and they are changed in place.

    Every step ends at the lowest point of its line. Without negative coefficients it is clipped at
    0 and, should that have raised the residual, ends where the first coefficient reaches 0: so the
    residual never grows.
    """
    for _ in range(n_gradient_steps):
        direction = gradient.copy()
        if not signed:
            for i in range(n):
                if coefficients[i] <= 0 and direction[i] < 0:
                    direction[i] = 0
        along = _product(gram, n, direction)
        slope, curvature = np.sum(direction * direction), np.sum(direction * along)
        if slope <= 0 or curvature <= 0:
            return
        length = slope / curvature
        moved_to = coefficients + length * direction
        if not signed and moved_to.min() < 0:
            moved_to = np.maximum(moved_to, 0)
            step = moved_to - coefficients
            if _decrease(gradient, step, _product(gram, n, step)) < 0:
                for i in range(n):
                    if direction[i] < 0:
                        length = min(length, coefficients[i] / -direction[i])
                moved_to = np.maximum(coefficients + length * direction, 0)
        step = moved_to - coefficients
        gradient -= _product(gram, n, step)
        coefficients[:] = moved_to


@_single
def _gradient_step(c, rows, t, chosen, small, coefficients, signed, n_gradient_steps):
    """Let atom `t` of `chosen` join the active set and move the coefficients of all of them.

    `small` `(k, k)` holds the Gram matrix of the active atoms, of which row and column t are new.
    """
    gradient = np.empty(t + 1)
    for i in range(t + 1):
        small[i, t] = small[t, i] = rows[t, chosen[i]]
        gradient[i] = c[chosen[i]]
    before = coefficients[: t + 1].copy()
    _descend(small, t + 1, gradient, coefficients[: t + 1], signed, n_gradient_steps)
    _subtract(c, rows[: t + 1], (coefficients[: t + 1] - before).astype(np.float32))


@_parallel
def first_atoms(c, signed, least, chosen):
    """Choose the first atom of every vector."""
    for i in numba.prange(len(c)):
        chosen[i, 0] = _choose(c[i], chosen[i], 0, signed, least[i])


@_parallel
def follow(
    gram, row_of, c, rows, chosen, coefficients, small, first, last, least, orthogonal, signed,
    n_gradient_steps,
):  # fmt: skip
    """Take steps `first` to `last` of the pursuit of every vector, and choose the atom after them.

    Shapes: `gram` `(r, m)`, row `row_of[j]` being of atom j; `c` `(n, m)`; `rows` `(slots, k, m)`,
    scratch memory that vectors share in turn, so that all steps must be taken at once unless every
    vector has a slot; `chosen` `(n, k)`, -1 where there is no atom; `coefficients` `(n, k)`, if
    `orthogonal` on the Gram-Schmidt basis; `small` `(n, k, k)`, the Cholesky factor or the Gram
    matrix of the chosen atoms; `least` `(n,)`, what an inner product must exceed to be worth one.
    """
    n, slots, k = len(c), len(rows), chosen.shape[1]
    for slot in numba.prange(slots):
        for i in range(slot, n, slots):
            for t in range(first, last):
                atom = chosen[i, t]
                if atom < 0:
                    break
                rows[slot, t] = gram[row_of[atom]]
                if orthogonal:
                    if _orthogonal_step(c[i], rows[slot], t, chosen[i], small[i], coefficients[i]):
                        chosen[i, t] = -1
                        break
                else:
                    _gradient_step(
                        c[i], rows[slot], t, chosen[i], small[i], coefficients[i], signed,
                        n_gradient_steps,
                    )  # fmt: skip
                if t + 1 < k:
                    chosen[i, t + 1] = _choose(c[i], chosen[i], t + 1, signed, least[i])
