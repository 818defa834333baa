"""Sparse pursuit: hand-computed and planted codes, parity with sklearn, and bad input."""

import numpy as np
import pytest
from sklearn.linear_model import orthogonal_mp

from universality.core.errors import InputError
from universality.core.pursuit import (
    Codes,
    gradient_pursuit,
    gram_matrix,
    least_squares,
    orthogonal_matching_pursuit,
)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def atoms(rng) -> np.ndarray:
    return unit(rng.standard_normal((300, 40)))


@pytest.fixture
def vectors(rng) -> np.ndarray:
    return rng.standard_normal((12, 40)) * rng.uniform(0.1, 50, (12, 1))


def dense(codes: Codes, m: int) -> np.ndarray:
    found = np.zeros((len(codes.atoms), m))
    for row, chosen, weights in zip(found, codes.atoms, codes.coefficients, strict=True):
        row[chosen[chosen >= 0]] = weights[chosen >= 0]
    return found


def residuals(codes: Codes, vectors: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors - codes.reconstruct(atoms), axis=1)


METHODS = {
    "omp": orthogonal_matching_pursuit,
    "signed": lambda *a, **o: gradient_pursuit(*a, signed=True, **o),
    "non-negative": gradient_pursuit,
}


def test_two_orthogonal_atoms_by_hand():
    # Of 3 e0 - 2 e1 + 1 e2, atoms e0, e1 (twice as long), e2 and -e2.
    atoms = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 1], [0, 0, -1]])
    vector = np.array([[3.0, -2, 1]])
    signed = gradient_pursuit(vector, atoms, 2, signed=True)
    np.testing.assert_array_equal(signed.atoms, [[0, 1]])
    np.testing.assert_allclose(signed.coefficients, [[3, -1]])
    positive = gradient_pursuit(vector, atoms, 3)
    np.testing.assert_array_equal(positive.atoms, [[0, 2, -1]])
    np.testing.assert_allclose(positive.coefficients, [[3, 1, 0]])
    np.testing.assert_allclose(residuals(positive, vector, atoms), [2])
    assert positive.l0 == [2]


def test_one_gradient_step_and_least_squares_by_hand():
    # Atoms at 60 degrees: to (1, 1), atom 1 = (1/2, s), s = sin 60, is the nearer, with coefficient
    # p = 1/2 + s. What is left has the product 1 - p/2 with atom 0 and 0 with atom 1, so that the
    # gradient step is along atom 0 alone, and leaves atom 1 too large.
    s = np.sqrt(3) / 2
    atoms, vector = np.array([[1, 0], [0.5, s]]), np.array([[1.0, 1]])
    p = 0.5 + s
    one = gradient_pursuit(vector, atoms, 2, signed=True)
    np.testing.assert_array_equal(one.atoms, [[1, 0]])
    np.testing.assert_allclose(one.coefficients, [[p, 1 - p / 2]], rtol=1e-6)
    exact = np.linalg.solve(atoms.T, vector[0])[::-1]
    np.testing.assert_allclose(
        orthogonal_matching_pursuit(vector, atoms, 2).coefficients, [exact], rtol=1e-6
    )
    many = gradient_pursuit(vector, atoms, 2, signed=True, n_gradient_steps=60)
    np.testing.assert_allclose(many.coefficients, [exact], rtol=1e-5)


def test_orthogonal_pursuit_is_sklearns(vectors, atoms):
    ours = dense(orthogonal_matching_pursuit(vectors, atoms, 15), len(atoms))
    theirs = np.asarray(orthogonal_mp(atoms.T, vectors.T, n_nonzero_coefs=15)).T
    np.testing.assert_array_equal(ours != 0, theirs != 0)
    scale = np.abs(theirs).max(axis=1, keepdims=True)
    np.testing.assert_allclose(ours / scale, theirs / scale, atol=2e-5)


@pytest.mark.parametrize("name", METHODS)
def test_rows_on_demand_are_the_gram_matrix(name, vectors, atoms):
    few = METHODS[name](vectors[:2], atoms, 10)  # 2 x 2 x 10 < 300: the rows alone
    whole = METHODS[name](vectors[:2], atoms, 10, gram=gram_matrix(atoms))
    np.testing.assert_array_equal(few.atoms, whole.atoms)
    np.testing.assert_allclose(few.coefficients, whole.coefficients, rtol=1e-3, atol=1e-4)
    batch = METHODS[name](vectors, atoms, 10)
    np.testing.assert_array_equal(few.atoms, batch.atoms[:2])


@pytest.mark.parametrize("name", METHODS)
def test_planted_codes_are_found(name, rng):
    atoms = unit(rng.standard_normal((500, 200))) * rng.uniform(0.5, 2, (500, 1))
    planted = np.zeros((20, 500))
    for row in planted:
        row[rng.choice(500, 5, replace=False)] = rng.uniform(1, 2, 5)
    if name != "non-negative":
        planted *= rng.choice([-1, 1], planted.shape)
    options = {} if name == "omp" else {"n_gradient_steps": 100}
    codes = METHODS[name](planted @ atoms, atoms, 5, **options)
    np.testing.assert_allclose(dense(codes, 500), planted, atol=1e-3)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("n_gradient_steps", [1, 4])
def test_the_residual_never_grows(name, n_gradient_steps, rng, vectors):
    # Features of SAEs point alike: with a common part, clipping at 0 has much to do.
    atoms = unit(rng.standard_normal((300, 40)) + 0.5)
    options = {} if name == "omp" else {"n_gradient_steps": n_gradient_steps}
    left = [np.linalg.norm(vectors, axis=1)] + [
        residuals(METHODS[name](vectors, atoms, l0, **options), vectors, atoms)
        for l0 in range(1, 25)
    ]
    assert (np.diff(left, axis=0) <= 1e-4 * left[0]).all()
    assert (left[-1] < left[1]).all()


def test_more_gradient_steps_approach_least_squares(vectors, atoms):
    found = {
        n: gradient_pursuit(vectors, atoms, 12, signed=True, n_gradient_steps=n) for n in (1, 60)
    }
    best = residuals(orthogonal_matching_pursuit(vectors, atoms, 12), vectors, atoms)
    left = {n: residuals(codes, vectors, atoms) for n, codes in found.items()}
    np.testing.assert_allclose(left[60], best, rtol=1e-3)
    assert left[1].mean() > 1.001 * best.mean()


def test_coefficients_without_sign_are_never_negative(vectors, atoms):
    codes = gradient_pursuit(vectors, atoms, 30, n_gradient_steps=3)
    assert (codes.coefficients >= 0).all()
    assert (codes.l0 > 10).all()
    signed = gradient_pursuit(vectors, atoms, 30, signed=True)
    assert (signed.coefficients < 0).any()


def test_least_squares_leaves_nothing_along_its_support(vectors, atoms):
    support = np.tile(np.array([4, 8, 15, -1]), (len(vectors), 1))
    codes = least_squares(vectors, atoms, support)
    left = vectors - codes.reconstruct(atoms)
    np.testing.assert_allclose(left @ atoms[[4, 8, 15]].T, 0, atol=1e-10)
    assert (codes.l0 == 3).all()
    none = least_squares(vectors, atoms, np.full((len(vectors), 2), -1))
    np.testing.assert_array_equal(none.reconstruct(atoms), 0)


@pytest.mark.parametrize("name", METHODS)
def test_zero_vectors_and_zero_atoms_give_nothing(name, vectors, atoms):
    vectors[3] = 0
    codes = METHODS[name](vectors, atoms, 5)
    assert (codes.atoms[3] == -1).all()
    assert codes.l0.tolist() == [5, 5, 5, 0] + [5] * 8
    dead = np.concatenate([np.zeros((3, 40)), atoms])
    assert METHODS[name](vectors, dead, 5).atoms.min() == -1
    np.testing.assert_array_equal(
        METHODS[name](np.delete(vectors, 3, 0), dead, 5).atoms, np.delete(codes.atoms, 3, 0) + 3
    )


def test_an_atom_in_the_span_of_others_ends_the_code(rng):
    atoms = unit(rng.standard_normal((2, 6)))
    twice = np.concatenate([atoms, atoms])
    vectors = rng.standard_normal((3, 6))
    assert (orthogonal_matching_pursuit(vectors, twice, 4).l0 <= 2).all()


def test_bad_input_is_an_error(vectors, atoms):
    for l0 in (0, 301):
        with pytest.raises(InputError, match=f"l0 is {l0}; expected 1 to 300"):
            gradient_pursuit(vectors, atoms, l0)
    for bad in (np.full_like(vectors, np.nan), np.full_like(vectors, np.inf)):
        with pytest.raises(InputError, match="NaN or infinity"):
            orthogonal_matching_pursuit(bad, atoms, 3)
    with pytest.raises(ValueError, match="no common width"):
        gradient_pursuit(vectors[:, :-1], atoms, 3)
    with pytest.raises(ValueError, match="n_gradient_steps is 0"):
        gradient_pursuit(vectors, atoms, 3, n_gradient_steps=0)
    with pytest.raises(ValueError, match="Gram matrix"):
        gradient_pursuit(vectors, atoms, 3, gram=np.eye(3))
    with pytest.raises(ValueError, match="does not name atoms"):
        least_squares(vectors, atoms, np.full((12, 2), 300))
