import numpy as np
import pytest

from universality.core.stats import (
    document_weights,
    jackknife_interval,
    kept_documents,
    percentile_interval,
    ratio_interval,
)


def test_weights_draw_as_many_documents_as_there_are():
    weights = document_weights(7, 50, np.random.default_rng(0))
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.std() > 0


def test_percentile_interval_by_hand():
    assert percentile_interval(np.arange(101), level=0.9) == pytest.approx((5, 95))


def test_jackknife_of_a_mean_is_the_t_interval():
    x = np.array([1.0, 2.0, 4.0, 9.0])
    without = (x.sum() - x) / 3
    # 4 -+ t(3) s / sqrt(4) with s^2 = 38 / 3
    half = 3.1824463 * np.sqrt(38 / 3 / 4)
    assert jackknife_interval(4.0, without) == pytest.approx((4 - half, 4 + half))


def test_the_interval_keeps_to_the_range_of_the_measure_and_holds_its_value():
    left_out = np.array([0.80, 0.99, 0.90, 0.99])
    low, high = jackknife_interval(0.95, left_out, (0, 1))
    assert (high, low) == (1, jackknife_interval(0.95, left_out)[0])
    assert jackknife_interval(0.0, np.zeros(5), (0, 1)) == (0, 0)
    # A value that rounding put just outside of the range is still in its interval.
    assert jackknife_interval(1 + 1e-12, np.ones(5), (-1, 1))[1] >= 1 + 1e-12


def test_every_document_is_left_out_once():
    kept = kept_documents(11, 4, np.random.default_rng(0))
    assert kept.shape == (4, 11)
    assert (kept.sum(axis=0) == 3).all()
    assert sorted((1 - kept).sum(axis=1)) == [2, 3, 3, 3]
    assert kept_documents(3, 20, np.random.default_rng(0)).sum(axis=1).tolist() == [2, 2, 2]


def test_ratio_of_proportional_documents_is_certain():
    tokens = np.array([10, 20, 5])
    low, high = ratio_interval(2.5 * tokens, tokens, 100, np.random.default_rng(0))
    assert low == pytest.approx(2.5)
    assert high == pytest.approx(2.5)


def test_ratio_interval_covers_the_truth_as_often_as_it_says():
    # Losses differ by document, so resampling tokens instead would cover far too rarely.
    rng = np.random.default_rng(1)
    hits, trials = 0, 200
    for _ in range(trials):
        tokens = rng.integers(20, 60, size=60)
        totals = tokens * rng.normal(2.0, 0.5, size=60)
        low, high = ratio_interval(totals, tokens, 200, rng)
        hits += low <= 2.0 <= high
    assert 0.88 <= hits / trials <= 0.99


def test_empty_documents_do_not_divide_by_zero():
    low, high = ratio_interval(
        np.array([0.0, 4.0]), np.array([0, 2]), 100, np.random.default_rng(0)
    )
    assert (low, high) == (2, 2)
    with pytest.raises(ValueError, match="denominators"):
        ratio_interval(np.zeros(2), np.zeros(2), 100, np.random.default_rng(0))
