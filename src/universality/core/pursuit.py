"""Sparse codes of vectors in a dictionary: gradient pursuit and orthogonal matching pursuit.

Atoms are added one at a time, each time the one with the largest inner product with what is left of
the vector. Orthogonal matching pursuit (Pati et al. 1993) then takes the least-squares coefficients
of all chosen atoms; gradient pursuit (Blumensath & Davies 2008) moves them along the gradient, to
the lowest point of that line. The non-negative form, clipped at 0, is the inference-time
optimisation of SAEs of Smith et al. 2024 (GDM's progress update 1); the signed form also takes
atoms that point the other way, which an SAE's ReLU cannot.

What limits it: a product of every residual with every atom, 2 d m operations for each vector and
atom of its code. The Gram matrix of the dictionary, 2 d m^2 / 2 operations once, replaces all but
the first of these by sums of its rows, which a core reads from its cache. So it pays when a batch
will choose more than m / 2 atoms, all in all; below, only the rows of chosen atoms are made, one
product for the whole batch at each step. Either way choices and sums are the same but for rounding.
"""

from dataclasses import dataclass

import numpy as np

from universality.core import pursuit_kernels as kernels
from universality.core.errors import InputError

_BLOCK = 256
"""Vectors whose inner products with all atoms are held at once."""
_SCRATCH = 2**28
"""Bytes of scratch memory where the Gram matrix is not made: it limits the block further."""
_NEGLIGIBLE = 1e-5
"""Inner product over the vector's length under which an atom adds nothing but rounding."""


@dataclass(frozen=True)
class Codes:
    """Sparse codes of `n` vectors, at most `k` atoms each, in the order of their choice."""

    atoms: np.ndarray
    """Index of each chosen atom, `(n, k)`, int64; -1 where a code has fewer."""
    coefficients: np.ndarray
    """Their coefficients `(n, k)`, float64; 0 where there is none."""

    @property
    def l0(self) -> np.ndarray:
        """Number of atoms with a coefficient other than 0, `(n,)`."""
        return np.count_nonzero(self.coefficients, axis=1)

    def reconstruct(self, atoms: np.ndarray) -> np.ndarray:
        """Return the vectors that the codes stand for, `(n, d)`, of atoms `(m, d)`, float64."""
        found = np.zeros((len(self.atoms), atoms.shape[1]))
        for row, chosen, weights in zip(found, self.atoms, self.coefficients, strict=True):
            used = chosen >= 0
            row += weights[used] @ atoms[chosen[used]].astype(np.float64)
        return found


def gradient_pursuit(
    vectors: np.ndarray,
    atoms: np.ndarray,
    l0: int,
    *,
    signed: bool = False,
    n_gradient_steps: int = 1,
    gram: np.ndarray | None = None,
) -> Codes:
    """Return codes of `vectors` `(n, d)` of at most `l0` atoms `(m, d)`, by gradient pursuit.

    Without `signed`, coefficients are never negative and only atoms with a positive inner product
    are chosen. After each atom come `n_gradient_steps` steps with exact line search; 1 is the
    published algorithm, more approach least squares. A step that clipping at 0 would make worse is
    shortened instead, so that the residual never grows. Atoms need not have length 1 (they are
    chosen as if they had); those of length 0 are never chosen. `gram` is `gram_matrix(atoms)`, if
    it is at hand. InputError for NaN, or if there are fewer atoms than `l0`.
    """
    if n_gradient_steps < 1:
        raise ValueError(f"n_gradient_steps is {n_gradient_steps}; at least 1 is needed")
    return _pursue(vectors, atoms, l0, gram, False, signed, n_gradient_steps)


def orthogonal_matching_pursuit(
    vectors: np.ndarray, atoms: np.ndarray, l0: int, *, gram: np.ndarray | None = None
) -> Codes:
    """Return codes of `vectors` `(n, d)` of at most `l0` atoms `(m, d)`, with least squares.

    Coefficients have either sign. An atom in the span of those before it ends a code. Else as
    `gradient_pursuit`.
    """
    return _pursue(vectors, atoms, l0, gram, True, True, 1)


def least_squares(vectors: np.ndarray, atoms: np.ndarray, support: np.ndarray) -> Codes:
    """Return the best coefficients of given atoms: `support` `(n, k)`, -1 for none.

    Of dependent atoms the shortest coefficients are taken.
    """
    support = np.asarray(support, dtype=np.int64)
    if support.ndim != 2 or len(support) != len(vectors) or support.max(initial=-1) >= len(atoms):
        raise ValueError(
            f"support {support.shape} does not name atoms, of {len(atoms)}, "
            f"for each of {len(vectors)} vectors"
        )
    coefficients = np.zeros(support.shape)
    for row, chosen, vector in zip(coefficients, support, vectors, strict=True):
        used = chosen >= 0
        if used.any():
            columns = atoms[chosen[used]].astype(np.float64).T
            row[used] = np.linalg.lstsq(columns, vector.astype(np.float64))[0]
    return Codes(support, coefficients)


def gram_matrix(atoms: np.ndarray) -> np.ndarray:
    """Return the inner products of all atoms `(m, d)` made unit length, `(m, m)`, float32."""
    units, _ = _unit(atoms)
    return units @ units.T  # numpy makes one half of a product with itself and copies it


def _unit(atoms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return atoms of length 1, float32, and their lengths; an atom 0 stays 0, of length 1."""
    length = np.linalg.norm(atoms.astype(np.float64), axis=1)
    length[length == 0] = 1
    return (atoms / length[:, None]).astype(np.float32), length


def _pursue(
    vectors: np.ndarray,
    atoms: np.ndarray,
    l0: int,
    gram: np.ndarray | None,
    orthogonal: bool,
    signed: bool,
    n_gradient_steps: int,
) -> Codes:
    _check(vectors, atoms, l0, gram)
    n, m = len(vectors), len(atoms)
    units, length = _unit(atoms)
    if gram is None and 2 * n * l0 >= m:
        gram = units @ units.T
    chosen, coefficients = np.full((n, l0), -1), np.zeros((n, l0))
    block = _BLOCK if gram is not None else max(1, min(_BLOCK, _SCRATCH // (4 * l0 * m)))
    for first in range(0, n, block):
        part = slice(first, first + block)
        x = np.ascontiguousarray(vectors[part], dtype=np.float32)
        small = np.zeros((len(x), l0, l0))
        least = (_NEGLIGIBLE * np.linalg.norm(x, axis=1)).astype(np.float32)
        c = x @ units.T
        kernels.first_atoms(c, signed, least, chosen[part])
        state = chosen[part], coefficients[part], small
        options = least, orthogonal, signed, n_gradient_steps
        if gram is not None:
            _with_gram(gram, c, state, options)
        else:
            _with_rows(units, c, state, options)
        if orthogonal:
            kernels.back_substitute(state[0], small, state[1])
    used = chosen >= 0
    coefficients[used] /= length[chosen[used]]
    return Codes(chosen, coefficients)


_State = tuple[np.ndarray, np.ndarray, np.ndarray]
_Options = tuple[np.ndarray, bool, bool, int]


def _with_gram(gram: np.ndarray, c: np.ndarray, state: _State, options: _Options) -> None:
    """Take all steps of every vector at once; threads have scratch memory, vectors none."""
    import numba

    k, m = state[0].shape[1], c.shape[1]
    rows = np.empty((min(len(c), numba.get_num_threads()), k, m), dtype=np.float32)
    kernels.follow(gram, np.arange(m), c, rows, *state, 0, k, *options)


def _with_rows(units: np.ndarray, c: np.ndarray, state: _State, options: _Options) -> None:
    """Take step after step of all vectors, making the Gram matrix's rows of what they chose."""
    chosen, k = state[0], state[0].shape[1]
    rows = np.empty((len(c), k, c.shape[1]), dtype=np.float32)
    row_of = np.zeros(len(units), dtype=np.int64)
    for step in range(k):
        wanted = np.unique(chosen[:, step])
        wanted = wanted[wanted >= 0]
        if len(wanted) == 0:
            break
        row_of[wanted] = np.arange(len(wanted))
        gram = units[wanted] @ units.T
        kernels.follow(gram, row_of, c, rows, *state, step, step + 1, *options)


def _check(vectors: np.ndarray, atoms: np.ndarray, l0: int, gram: np.ndarray | None) -> None:
    if vectors.ndim != 2 or atoms.ndim != 2 or vectors.shape[1] != atoms.shape[1]:
        raise ValueError(f"vectors {vectors.shape} and atoms {atoms.shape} have no common width")
    if not 1 <= l0 <= len(atoms):
        raise InputError(f"l0 is {l0}; expected 1 to {len(atoms)}, the number of atoms")
    if gram is not None and gram.shape != (len(atoms), len(atoms)):
        raise ValueError(f"the Gram matrix {gram.shape} is not that of {len(atoms)} atoms")
    if not (np.isfinite(vectors).all() and np.isfinite(atoms).all()):
        raise InputError("a vector or an atom holds NaN or infinity")
