import numpy as np
import pytest
import scipy.sparse as sp

from universality.core.shared_tokens import Vocabulary, normalised, top_tokens
from universality.core.stats import kept_documents
from universality.studies.matching.concepts import (
    concept_features,
    concept_rows,
    concept_table,
    subset_table,
    topic_rows,
)
from universality.studies.matching.filters import (
    ALL,
    Filters,
    filtered,
    removed_alone,
    share_a_token,
)
from universality.studies.matching.pairings import Pairing, Partners
from universality.studies.matching.study import LayerMatch, Sample
from universality.studies.matching.tables import POOLED, filter_table, meeting_table

NONE = np.zeros(0, dtype=np.int64)


def test_tokens_of_all_tokenizers_are_written_alike():
    assert [normalised(piece) for piece in ("▁Dog", "Ġdog", "dog", "DOG")] == ["dog"] * 4
    assert normalised("<0x0A>") == normalised("Ċ") == "\n"
    assert normalised("▁") == normalised("ĠĠ") == " "
    assert normalised("▁don't") == "don't"
    words = Vocabulary(["▁Dog", "."], ["Ġdog", "cat"])
    assert words.number == {".": 0, "cat": 1, "dog": 2}
    assert words.encode(["Ġdog", ".", "▁Dog"]).tolist() == [2, 0, 2]
    assert words.find(["DOG", "bird", "."]).tolist() == [0, 2]


def test_top_tokens_by_hand():
    features = sp.csr_matrix(
        np.array([[3, 0, 1], [5, 0, 0], [3, 0, 0], [0, 0, 0], [4, 2, 0]], dtype=np.float32)
    )
    features.data[features.data == 2] = 0  # stored, and not a firing
    tops = top_tokens(features, np.array([10, 11, 12, 13, 14]), 3)
    assert tops.tolist() == [[11, 14, 10], [-1, -1, -1], [10, -1, -1]]


TOPS_A = np.array([[1, 2], [3, 9], [4, 5], [6, -1]])
TOPS_B = np.array([[2, 7], [3, 8], [5, 9], [-1, -1]])
PAIRS = Pairing(np.arange(4), np.array([0, 1, 1, 3]), np.array([0.9, 0.8, 0.85, 0.05]))


def pairs_of(pairing):
    return list(zip(pairing.a.tolist(), pairing.b.tolist(), strict=True))


def test_filters_act_one_after_another():
    assert share_a_token(TOPS_A, TOPS_B).tolist() == [True, True, True, False]
    steps = Filters(np.array([9]), True, True, 0.1).steps(PAIRS, TOPS_A, TOPS_B)
    assert list(steps) == [ALL, "concept_tokens", "shared_token", "one_per_b", "min_r"]
    assert pairs_of(steps["concept_tokens"]) == [(0, 0), (2, 1), (3, 3)]
    # feature 2 of A and 1 of B have no token in common, feature 3 of B no token at all
    assert pairs_of(steps["shared_token"]) == [(0, 0)]
    free = Filters(NONE, False, True, 0.1).steps(PAIRS, TOPS_A, TOPS_B)
    assert list(free) == [ALL, "one_per_b", "min_r"]
    assert pairs_of(free["one_per_b"]) == [(0, 0), (2, 1), (3, 3)]
    assert pairs_of(free["min_r"]) == [(0, 0), (2, 1)]
    assert pairs_of(Filters(NONE, False, False, 0.85).steps(PAIRS, TOPS_A, TOPS_B)["min_r"]) == [
        (0, 0)
    ]


def layer_match(r, null_r, layers=(0, 0)):
    """Return a match of four alive features of A; a fifth is dead."""
    alive = np.array([True, True, True, True, False])
    partner = np.array([0, 1, 1, 3, -1])

    def partners(values):
        return Partners(partner, np.append(values, 0.0))

    back = Partners(np.array([0, 2, -1, 3]), np.zeros(4))
    layer_a, layer_b = layers
    nulls = [partners(values) for values in null_r]
    resampled = np.tile(np.asarray(r), (100, 1))
    return LayerMatch(
        layer_a, layer_b, alive, np.ones(4, bool), np.arange(5), np.arange(4), partners(r), back,
        nulls, [back] * len(nulls), resampled,
    )  # fmt: skip


MATCH = layer_match([0.9, 0.8, 0.85, 0.05], [[0.3, 0.2, 0.1, 0.05], [0.05, 0.2, 0.1, 0.3]])
TOPS = np.vstack([TOPS_A, [[-1, -1]]]), TOPS_B


def test_what_filters_take_away_with_the_null_under_the_same_filters():
    filters = Filters(np.array([9]), True, True, 0.2)
    steps = filtered(MATCH, *TOPS, filters)
    alone = removed_alone(MATCH, *TOPS, filters)
    assert alone == {"concept_tokens": 1, "shared_token": 2, "one_per_b": 1, "min_r": 1}
    table = filter_table(steps * 2, [alone], 0.7)
    pooled = table[table["layer_a"] == POOLED].set_index("filter")
    assert pooled["n_pairs"].tolist() == [8, 6, 2, 2, 2]
    table = filter_table(steps, [alone], 0.7)
    rows = table[table["layer_a"] == 0].set_index("filter")
    assert rows["n_pairs"].to_dict() == {
        ALL: 4, "concept_tokens": 3, "shared_token": 1, "one_per_b": 1, "min_r": 1,
    }  # fmt: skip
    assert rows["n_removed"].tolist() == [0, 1, 2, 0, 0]
    assert rows["n_removed_alone"].tolist() == [0, 1, 2, 1, 1]
    assert rows["share_left"].tolist() == [1, 0.75, 0.25, 0.25, 0.25]
    assert rows.loc["min_r", "share_left_low"] < 0.25 < rows.loc["min_r", "share_left_high"]
    assert rows.loc["min_r", "share_left_null"] == pytest.approx(0.5 / 4)
    assert rows.loc[ALL, "median_r"] == pytest.approx(0.825)
    assert rows.loc["shared_token", "median_r_low"] == pytest.approx(0.9)
    # Of the null pairs, 0 (0.3) is left under the first shift and none under the second.
    assert rows.loc["min_r", "n_pairs_null"] == pytest.approx(0.5)
    assert rows.loc["shared_token", "median_r_null"] == pytest.approx((0.3 + 0.05) / 2)


def test_concepts_are_judged_against_as_many_features_at_random():
    tops = TOPS[0]
    assert concept_features(tops, np.array([1, 2, 5]), 1).tolist() == [1, 0, 1, 0, 0]
    assert concept_features(tops, np.array([1, 2, 5]), 2).tolist() == [1, 0, 0, 0, 0]
    members = {"good": [np.array([1, 0, 1, 0, 1], bool)], "none": [np.zeros(5, bool)]}
    table = concept_table([MATCH], members, 199, np.random.default_rng(0)).set_index("concept")
    assert table["n_features"].to_dict() == {"good": 2, "none": 0}  # the dead one takes no part
    good = table.loc["good"]
    assert good["median_r"] == pytest.approx(0.875)
    assert good["median_r_null"] == pytest.approx((0.2 + 0.075) / 2)
    assert (good["median_r_null_low"], good["median_r_null_high"]) == pytest.approx((0.075, 0.2))
    # 1 of 6 ways of drawing two features is as good.
    assert good["median_r_random_p_higher"] == pytest.approx(1 / 6, abs=0.08)
    assert good["median_r_random_p_lower"] == pytest.approx(1)
    assert np.isnan(table.loc["none", "median_r"])


def test_q_is_over_the_concepts_that_have_features():
    masks = [np.eye(5, dtype=bool)[i] for i in range(4)]
    members = {f"c{i}": [mask] for i, mask in enumerate(masks)} | {"none": [np.zeros(5, bool)]}
    table = concept_table([MATCH], members, 199, np.random.default_rng(0))
    p = np.array(table["median_r_random_p_higher"])[:4]
    ranked = np.sort(p)
    expected = [min(4 * ranked[j] / (j + 1) for j in range(4) if ranked[j] >= one) for one in p]
    assert table["median_r_random_q_higher"][:4].tolist() == pytest.approx(expected)


def test_rows_of_a_concept_and_of_a_topic():
    token = np.array([1, 2, 1, 3, 3, 3, 1, 1, 2, 2])
    documents = np.repeat([5, 6, 7, 8], [3, 3, 2, 2])
    assert concept_rows(token, np.array([3, 1])).tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert topic_rows(token, documents, np.array([1]), 0.5).tolist() == [0, 1, 2, 6, 7]


def test_subsets_are_matched_anew_beside_as_many_random_positions():
    rng = np.random.default_rng(0)
    n, d = 600, 8
    fires = rng.random((n, d)) < 0.3
    x = np.where(fires, rng.random((n, d)), 0)
    y = np.where(rng.random((n, d)) < 0.3, rng.random((n, d)), 0)
    special = np.arange(0, n, 3)
    y[special] = x[special]  # they agree on these positions alone
    documents = np.repeat(np.arange(30), 20)

    def sample(of, *names):
        kept = kept_documents(len(np.unique(of)), 10, np.random.default_rng(1))
        return Sample(of, np.array([len(of) // 2]), kept, min_count=3)

    subsets = {("tokens", "agree"): special, ("topic", "all"): np.arange(n)}
    subsets |= {("tokens", "rare"): np.arange(5)}
    table = subset_table(
        sp.csr_matrix(x), sp.csr_matrix(y), documents, subsets, sample, rng, 0.7, 50
    ).set_index("concept")
    assert table.loc["agree", "median_r"] == pytest.approx(1)
    assert table.loc["agree", "median_r_random"] < 0.6
    assert table.loc["agree", "median_r_null"] < 0.5
    assert table.loc["all", "median_r"] == pytest.approx(table.loc["all", "median_r_random"])
    assert table["n_rows"].to_dict() == {"agree": 200, "all": 600, "rare": 5}
    assert np.isnan(table.loc["rare", "median_r"])


def test_meeting_table_pools_the_layers():
    nulls = [np.full((3, 4), 0.1), np.full((3, 4), 0.5)]
    other = layer_match([0.7, 0.6, 0.5, 0.4], [[0.1] * 4] * 2, (1, 2))
    table = meeting_table([MATCH, other], nulls, 0.7)
    assert table["layer_a"].tolist() == [0, 1, POOLED]
    assert table["n_features"].tolist() == [4, 4, 8]
    assert table["median_r_null"].tolist() == pytest.approx([0.1, 0.5, 0.3])
    assert table["median_r"].iloc[2] == pytest.approx(0.65)
