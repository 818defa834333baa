import numpy as np
import pytest
import scipy.stats

from universality.core.intervals import mean_over_seeds, median, share_interval
from universality.studies.saes.study.clusters import _modes, clusters, delta_bic_null, split


def _two_clusters(rng):
    return np.concatenate([rng.normal(-5, 0.3, 60), rng.normal(-2, 0.4, 1140)])[:, None]


def test_a_small_low_cluster_is_found(rng):
    found = split(_two_clusters(rng), 0)
    assert found.separated
    assert np.count_nonzero(found.low[:60]) == 60
    assert np.count_nonzero(found.low[60:]) == 0


def test_one_hump_stays_one_cluster_even_if_it_is_skewed(rng):
    gaussian = split(rng.normal(-2, 0.5, (1000, 1)), 0)
    assert not gaussian.separated
    assert gaussian.delta_bic < 0
    skewed = split(-1 - rng.gamma(2, 0.5, (1000, 1)), 0)
    assert skewed.delta_bic > 20  # BIC alone would see two clusters
    assert skewed.n_modes == 1
    assert not skewed.separated


def test_repeated_counts_are_no_cluster(rng):
    """A tenth of the features fired exactly 30 times: a spike, but inside the hump."""
    points = rng.normal(-2, 0.5, (1000, 1))
    points[:100] = -2.1
    assert not split(points, 0).separated


def test_clusters_that_differ_in_all_three(rng):
    points = np.concatenate([rng.normal([-2, 1, -1], 0.4, (50, 3)), rng.normal(0.5, 0.5, (500, 3))])
    found = split(points, 0)
    assert found.separated
    assert found.low[:50].all()
    assert not found.low[50:].any()


@pytest.mark.parametrize(("distance", "modes"), [(1.95, 1), (2.05, 2)])
def test_equal_gaussians_have_two_modes_beyond_two_standard_deviations(distance, modes):
    for d in (1, 3):
        means = np.zeros((2, d))
        means[1, -1] = distance
        assert _modes(np.array([0.5, 0.5]), means, np.stack([np.eye(d)] * 2)) == modes


def test_null_of_delta_bic_is_below_zero_and_far_from_two_clusters(rng):
    points = _two_clusters(rng)
    null = delta_bic_null(points, 3, rng)
    assert null.shape == (3,)
    assert null.max() < 0 < split(points, 0).delta_bic


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="9 points are too few"):
        split(np.zeros((9, 1)), 0)


def test_names_of_clusters(rng):
    density = np.concatenate([[0.0], 10 ** _two_clusters(rng)[:, 0]])
    one = split(np.log10(density[1:, None]), 0)
    names = clusters(density, one)
    assert names[0] == "dead"
    assert (names[1:61] == "ultralow").all()
    assert (names[61:] == "high").all()
    assert clusters(np.array([0, 0.1]), None).tolist() == ["dead", "firing"]


def test_intervals_by_hand():
    z2 = scipy.stats.norm.ppf(0.975) ** 2
    low, high = share_interval(0, 50)
    assert low == pytest.approx(0, abs=1e-12)
    assert high == pytest.approx(z2 / (50 + z2))
    found = mean_over_seeds("x", np.array([1.0, 2, 3]))
    assert found["x"] == 2
    assert found["x_high"] - 2 == pytest.approx(4.302653 / 3**0.5)
    assert found["x_low"] + found["x_high"] == pytest.approx(4)
    values = median("m", np.arange(101.0))
    assert (values["m"], values["m_low"], values["m_high"]) == (50, 40, 60)
    with pytest.raises(ValueError, match="1 seed is too few"):
        mean_over_seeds("x", np.array([1.0]))
