"""Similarity measures: exact cases, invariances, other implementations, nulls by theory."""

import numpy as np
import pytest
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.distance import pdist, squareform
from scipy.stats import ortho_group, spearmanr
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import NearestNeighbors

from universality.studies.spaces import labels
from universality.studies.spaces.similarity import cka, distances, linear
from universality.studies.spaces.similarity.measures import LINKED, MEASURES, Options, span
from universality.studies.spaces.similarity.null import kernels, straight

TOLD = Options(n_neighbours=5)


def measured(name, x, y):
    """Measure `name` of two representations."""
    if name in LINKED:
        return LINKED[name].of(linked(x, y), TOLD)
    return straight(kernels(x, TOLD, [name]), kernels(y, TOLD, [name]))[name]


def linked(x, y):
    return linear.link(linear.basis(x), linear.basis(y))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def related(rng, n=300, d1=6, d2=8, noise=1.0):
    shared = rng.standard_normal((n, 3))
    x = shared @ rng.standard_normal((3, d1)) + noise * rng.standard_normal((n, d1))
    return x, shared @ rng.standard_normal((3, d2)) + noise * rng.standard_normal((n, d2))


# Every measure by its record.


@pytest.mark.parametrize("name", MEASURES)
def test_a_representation_is_like_itself(rng, name):
    x, _ = related(rng)
    found = measured(name, x, x)
    if name == "regularised_cca":  # shrinks itself too
        s = linear.basis(x).s
        assert found == pytest.approx(np.mean(s**2 / (s**2 + 0.1 * np.mean(s**2))))
    else:
        assert found == pytest.approx(1)


CHANGES = {
    "scale": lambda x, _: 3 * x + 5,
    "rotation": lambda x, _: x @ ortho_group.rvs(x.shape[1], random_state=1),
    "linear": lambda x, rng: x @ (rng.standard_normal((x.shape[1],) * 2) * np.logspace(0, 1, 6)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_is_blind_to_what_it_says_and_to_nothing_else(rng, name, change):
    x, y = related(rng, d2=6)
    changed = CHANGES[change](x, rng), CHANGES[change](y, rng)
    for side, blind_to in enumerate(MEASURES[name].blind_to):
        sides = (changed[0], y) if side == 0 else (x, changed[1])
        same = abs(measured(name, *sides) - measured(name, x, y)) < 1e-8
        assert same == (list(CHANGES).index(change) <= list(CHANGES).index(blind_to)), side


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_is_symmetric_if_it_says_so(rng, name):
    x, y = related(rng)
    same = measured(name, x, y) == pytest.approx(measured(name, y, x), abs=1e-10)
    assert same == MEASURES[name].symmetric


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_stays_in_its_range(rng, name):
    """One that may be below 0 is so for some of many independent samples."""
    low, high = span(name)
    values = [measured(name, *rng.standard_normal((2, 12, 2))) for _ in range(60)]
    assert all(low <= value <= high + 1e-12 for value in values)
    assert any(value < 0 for value in values) == MEASURES[name].signed


@pytest.mark.parametrize("name", MEASURES)
def test_shuffling_the_samples_lowers_every_measure(rng, name):
    x, y = related(rng, noise=0.3)
    shuffled = np.mean([measured(name, x, y[rng.permutation(len(y))]) for _ in range(5)])
    assert measured(name, x, y) > shuffled + 0.02


def test_every_measure_has_a_name():
    assert set(labels.MEASURES) == set(MEASURES)
    keys = ["svcca_r2", "rbf_cka_0.4", "rsa_cosine", "pwcca_of_query", "cca", "cca"]
    assert [labels.measure(key) for key in labels.in_order(keys)] == [
        "RSA (Spearman), cosine", "CCA (mean)", "SVCCA (99%, R²)", "PWCCA, of i",
        "RBF CKA (unbiased), 0.4",
    ]  # fmt: skip


def test_linear_measures_by_hand():
    # X is one column; Y holds it at an angle of 60 degrees, and a larger column apart from both.
    n = 4
    e = np.linalg.qr(np.column_stack([np.ones(n), np.eye(n)[:, :3]]))[0][:, 1:]  # centred
    x = e[:, :1]
    y = np.column_stack([e[:, 0] * 0.5 + e[:, 1] * np.sqrt(0.75), 2 * e[:, 2]])
    found = linked(x, y)
    np.testing.assert_allclose(linear.canonical_correlations(found), [0.5])
    assert linear.cca_r2(found) == pytest.approx(0.25)
    assert linear.svcca_k1_as_published(found) == pytest.approx(0)  # the first is the larger one
    assert linear.svcca(found, 0.79) == pytest.approx(0)
    assert linear.svcca(found, 0.81) == pytest.approx(0.5)
    assert linear.regression_r2(found) == pytest.approx(0.25 / 5)
    assert linear.regression_r2(linked(y, x)) == pytest.approx(0.25)
    assert linear.linear_cka(found) == pytest.approx(0.25 / np.sqrt(1 + 16))
    assert linear.procrustes(found) == pytest.approx(0.5 / np.sqrt(5))


def test_canonical_correlations_are_those_of_sklearn_and_of_qr(rng):
    x, y = related(rng, n=200)
    own = linear.canonical_correlations(linked(x, y))
    u, v = CCA(n_components=3, scale=False, max_iter=5000, tol=1e-12).fit_transform(x, y)
    theirs = np.array([np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(3)])
    np.testing.assert_allclose(own[:3], theirs, atol=1e-6)
    q = [np.linalg.qr(side - side.mean(0))[0] for side in (x, y)]
    np.testing.assert_allclose(own, np.linalg.svd(q[0].T @ q[1])[1], atol=1e-12)


def test_ill_conditioned_samples_lose_nothing(rng):
    x, y = related(rng, n=500)
    q = [np.linalg.qr(side - side.mean(0))[0] for side in (x, y)]
    expected = np.linalg.svd(q[0].T @ q[1], compute_uv=False)
    bad = x @ (rng.standard_normal((6, 6)) * np.logspace(0, 6, 6))
    np.testing.assert_allclose(linear.canonical_correlations(linked(bad, y)), expected, atol=1e-8)


def test_constant_and_repeated_columns_are_left_out(rng):
    x, y = related(rng)
    more = np.column_stack([x, np.full(len(x), 7.0), x[:, 0]])
    assert len(linear.basis(more).s) == 6
    for name in ("cca", "cca_r2"):
        assert measured(name, more, y) == pytest.approx(measured(name, x, y))


def test_bad_samples_are_errors(rng):
    with pytest.raises(ValueError, match="NaN"):
        linear.basis(np.array([[1.0, np.nan], [2, 3]]))
    with pytest.raises(ValueError, match="no column"):
        linear.basis(np.ones((5, 2)))
    with pytest.raises(ValueError, match="5 samples of one and 6"):
        linear.link(linear.basis(rng.random((5, 2))), linear.basis(rng.random((6, 2))))
    with pytest.raises(ValueError, match="needs 4"):
        cka.u_centred(np.eye(3))
    with pytest.raises(ValueError, match="no bandwidth"):
        cka.rbf_kernel(np.zeros((8, 2)), 1)


@pytest.mark.parametrize("name", LINKED)
def test_comparing_once_gives_the_same(rng, name):
    x, y = related(rng)
    bad = x @ (rng.standard_normal((6, 6)) * np.logspace(0, 6, 6))  # takes the other way
    for side in (x, bad):
        expected = measured(name, side, y)
        assert LINKED[name].of(linear.compare(side, y), TOLD) == pytest.approx(expected)
    with pytest.raises(ValueError, match="300 samples of one and 299"):
        linear.compare(x, y[1:])


def test_a_permuted_link_is_the_link_of_permuted_samples(rng):
    x, y = related(rng)
    order = rng.permutation(len(y))
    permuted = linear.link(linear.basis(x), linear.basis(y), order)
    assert linear.cca(permuted) == pytest.approx(linear.cca(linked(x, y[order])))


def test_pwcca_by_its_definition(rng):
    x, y = related(rng)
    q = [np.linalg.qr(side - side.mean(0))[0] for side in (x, y)]
    left, rho, _ = np.linalg.svd(q[0].T @ q[1], full_matrices=False)
    variates = q[0] @ left
    alpha = np.abs(variates.T @ (x - x.mean(0))).sum(1)
    assert linear.pwcca(linked(x, y)) == pytest.approx(np.sum(alpha * rho) / alpha.sum())


def test_regularised_cca_by_its_definition(rng):
    x, y = related(rng)
    c = np.cov(np.hstack([x, y]).T, bias=True)
    halves = []
    for part in (slice(0, 6), slice(6, 14)):
        square = c[part, part]
        square = square + 0.1 * np.mean(np.linalg.eigvalsh(square)) * np.eye(len(square))
        values, vectors = np.linalg.eigh(square)
        halves.append(vectors / np.sqrt(values) @ vectors.T)
    expected = np.linalg.svd(halves[0] @ c[:6, 6:] @ halves[1])[1].mean()
    assert linear.regularised_cca(linked(x, y), 0.1) == pytest.approx(expected)


def test_regression_and_procrustes_are_those_of_sklearn_and_scipy(rng):
    x, y = related(rng, d1=5, d2=5)
    score = LinearRegression().fit(x, y)
    predicted = score.predict(x)
    r2 = 1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean(0)) ** 2)
    assert linear.regression_r2(linked(x, y)) == pytest.approx(r2)
    assert linear.procrustes(linked(x, y)) ** 2 == pytest.approx(1 - scipy_procrustes(x, y)[2])


def test_biased_cka_is_that_of_centred_kernels(rng):
    x, y = related(rng, n=60)
    h = np.eye(60) - 1 / 60
    centred = [h @ side @ side.T @ h for side in (x, y)]
    biased = np.sum(centred[0] * centred[1]) / np.prod([np.linalg.norm(k) for k in centred])
    assert linear.linear_cka(linked(x, y)) == pytest.approx(biased)


def test_rsa_is_that_of_scipy(rng):
    x, y = related(rng, n=50)
    for distance in ("euclidean", "correlation", "cosine"):
        a, b = (distances.dissimilarities(side, distance) for side in (x, y))
        np.testing.assert_allclose(squareform(a, checks=False), pdist(x, distance), atol=1e-7)
        one, other = pdist(x, distance), pdist(y, distance)
        assert distances.rsa(a, b) == pytest.approx(spearmanr(one, other)[0], abs=1e-6)
    assert np.isnan(distances.rsa(np.zeros((4, 4)), a[:4, :4]))
    with pytest.raises(ValueError, match="constant"):
        distances.dissimilarities(np.ones((3, 4)), "correlation")


def test_neighbours_are_those_of_sklearn(rng):
    x, _ = related(rng, n=80)
    found = distances.neighbours(distances.dissimilarities(x, "euclidean"), 8)
    theirs = NearestNeighbors(n_neighbors=8).fit(x).kneighbors(return_distance=False)
    np.testing.assert_array_equal(found, theirs)
    members = distances.neighbourhoods(distances.dissimilarities(x, "euclidean"), 8)
    assert [set(np.flatnonzero(row)) for row in members] == [set(row) for row in theirs]
    with pytest.raises(ValueError, match="80 neighbours of 80 samples"):
        distances.neighbours(np.zeros((80, 80)), 80)


def test_null_means_are_those_of_theory(rng):
    n, d1, d2, draws = 120, 6, 15, 300
    found = {
        name: []
        for name in (
            "cca_r2", "regression_r2", "svcca_k1_as_published", "linear_cka_unbiased", "mutual_knn",
        )
    }  # fmt: skip
    for _ in range(draws):
        x, y = rng.standard_normal((n, d1)), rng.standard_normal((n, d2))
        for name, values in found.items():
            values.append(measured(name, x, y))
    expected = {
        "cca_r2": max(d1, d2) / (n - 1),
        "regression_r2": d1 / (n - 1),
        "svcca_k1_as_published": np.sqrt(2 / (np.pi * n)),
        "linear_cka_unbiased": 0,
        "mutual_knn": 5 / (n - 1),
    }
    for name, value in expected.items():
        error = np.std(found[name]) / np.sqrt(draws)
        assert abs(np.mean(found[name]) - value) < 4 * error + 0.001, name


@pytest.mark.parametrize(("n", "expected"), [(16, 1.0), (35, 1.0), (158, 0.98), (1200, 0.72)])
def test_svcca_of_random_pairs_is_huge_when_samples_are_few(rng, n, expected):
    # What makes published numbers of few pairs meaningless: 512 and 768 dimensions, 99% kept.
    found = linked(rng.standard_normal((n, 512)), rng.standard_normal((n, 768)))
    assert linear.svcca(found) == pytest.approx(expected, abs=0.006)
    assert linear.svcca_k1_as_published(found) < 4 / n**0.5
