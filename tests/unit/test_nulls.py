import numpy as np
import pandas as pd
import pytest

from universality.core.nulls import documents_meeting, judged, permutation_p, shift_offsets, with_q


def test_p_by_hand():
    null = np.array([0.1, 0.2, 0.3, 0.4])
    assert permutation_p(0.5, null) == pytest.approx(1 / 5)
    assert permutation_p(0.3, null) == pytest.approx(3 / 5)
    assert permutation_p(0.0, null) == 1


def test_p_of_a_true_null_is_uniform():
    rng = np.random.default_rng(0)
    p = [permutation_p(rng.normal(), rng.normal(size=19)) for _ in range(2000)]
    for level in (0.05, 0.25, 0.5):
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=0.03)


def test_a_number_stands_beside_its_interval_and_the_range_of_its_null():
    values, left_out = np.array([0.2, 0.6]), np.array([[0.2, 0.4], [0.2, 0.8]])
    null = [np.array([0.0, 0.2]), np.array([0.3]), np.array([0.1, 0.1, 0.4])]
    row = judged("mean_r", lambda x: x.mean(axis=-1), values, left_out, null)
    half = 12.7062047 * 0.1  # t(1) of the two means .3 and .5
    ends = {"low": max(-1, 0.4 - half), "high": 1, "null": 0.2, "null_low": 0.1, "null_high": 0.3}
    assert row == pytest.approx({"mean_r": 0.4} | {f"mean_r_{end}": x for end, x in ends.items()})
    bare = judged("mean_r", lambda x: x.mean(axis=-1), values, left_out[:0], null)
    assert set(row) - set(bare) == {"mean_r_low", "mean_r_high"}


def test_a_shift_leads_every_position_out_of_its_document():
    documents = np.repeat(np.arange(20), np.r_[[11] * 10, [4] * 10])
    offsets = shift_offsets(documents, 500, np.random.default_rng(0))
    assert len(set(offsets)) > 50
    for offset in offsets:
        assert (np.roll(documents, offset) != documents).all()


def test_few_documents_are_shifted_by_a_quarter_at_least():
    offsets = shift_offsets(np.repeat([0, 1], [30, 10]), 500, np.random.default_rng(0))
    assert (offsets.min(), offsets.max()) == (10, 30)
    with pytest.raises(ValueError, match="too few"):
        shift_offsets(np.zeros(3), 1, np.random.default_rng(0))


def test_documents_meet_others_from_their_first_positions_on():
    documents = np.array([7, 7, 7, 8, 9, 9])
    rows_a, rows_b = documents_meeting(documents, 1)
    assert rows_a.tolist() == [0, 3, 4, 5]
    assert rows_b.tolist() == [3, 4, 0, 1]
    rows_a, rows_b = documents_meeting(documents, 2)
    assert rows_a.tolist() == [0, 1, 3, 4]
    assert rows_b.tolist() == [4, 5, 0, 3]
    same = documents_meeting(documents, 3)
    assert np.array_equal(*same)
    assert len(same[0]) == 6


def test_q_is_over_the_rows_that_were_tested():
    nan = float("nan")
    table = pd.DataFrame({"m": ["a", "b", "a", "b"], "p": [0.01, 0.02, 0.5, nan], "x_p_low": nan})
    over_all = with_q(table, "p", "x_p_low", "absent_p")
    assert over_all["q"].tolist() == pytest.approx([0.03, 0.03, 0.5, nan], nan_ok=True)
    assert np.isnan(over_all["x_q_low"]).all()
    assert "absent_q" not in over_all
    by = with_q(table, "p", by="m")["q"]
    assert by.tolist() == pytest.approx([0.02, 0.02, 0.5, nan], nan_ok=True)
