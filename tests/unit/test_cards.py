"""Cards of matched features: who contains whom, which pairs, which contexts."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from universality.core.errors import InputError
from universality.core.params.base import validate
from universality.core.stats import document_weights
from universality.studies.matching.cards.asymmetry import (
    Asymmetry,
    asymmetry,
    label,
    measures,
    summary_table,
)
from universality.studies.matching.cards.cards import (
    GROUPS,
    choose_pairs,
    context_table,
    habits,
    layer_cards,
    reading,
)
from universality.studies.matching.params.cards import Cards

SECTION = {
    "n_top": 2, "n_random": 1, "n_contexts": 2, "n_alone": 2, "context": 2,
    "max_position_share": 0.5, "contained": 0.5, "wider": 1.5,
    "min_documents": 5, "n_bootstrap": 200, "seed": 0,
}  # fmt: skip
N_DOCUMENTS, LENGTH = 40, 50


def section(**changes) -> Cards:
    return validate(Cards, SECTION | changes, "match_cards")


def pairs_table(n: int, **columns) -> pd.DataFrame:
    table = {"layer_a": 0, "layer_b": 1, "feature_a": np.arange(n), "partner": np.arange(n)}
    table |= {"r": 0.5, "null_r": 0.1, "alive": True, "mutual": True} | columns
    return pd.DataFrame(table)


def measure(a: np.ndarray, b: np.ndarray, pairs: pd.DataFrame | None = None) -> Asymmetry:
    """The asymmetry of the columns of `a` and `b`, over documents of `LENGTH` positions."""
    n_documents = len(a) // LENGTH
    weights = document_weights(n_documents, 200, np.random.default_rng(0))
    return asymmetry(
        sp.csr_matrix(a, dtype=np.float32), sp.csr_matrix(b, dtype=np.float32),
        pairs_table(a.shape[1]) if pairs is None else pairs,
        np.repeat(np.arange(n_documents), LENGTH), weights,
        contained=0.5, wider=1.5, min_documents=5, random=np.random.default_rng(1),
    )  # fmt: skip


# Asymmetry.


def test_measures_by_hand():
    found = measures(np.array([4.0, 2, 0]), np.array([8.0, 2, 5]), np.array([3.0, 0, 0]))
    np.testing.assert_array_equal(found["p_b_given_a"], [0.75, 0, np.nan])
    np.testing.assert_array_equal(found["p_a_given_b"], [0.375, 0, 0])
    np.testing.assert_array_equal(found["difference"], [0.375, 0, np.nan])
    np.testing.assert_array_equal(found["rate_ratio"], [2, 1, np.nan])


def planted(rng) -> tuple[np.ndarray, np.ndarray]:
    """Columns: A in B, B in A, nearly equal, independent, independent but dense, in 2 documents."""
    n = N_DOCUMENTS * LENGTH
    rare, other, dense, more = (rng.random((4, n)) < [[0.05], [0.1], [0.8], [0.9]]).astype(float)
    wide = np.maximum(rare, other)
    flipped = np.where(rng.random(n) < 0.1, other, rare)
    few = np.arange(n) < 2 * LENGTH
    a = np.column_stack([rare, wide, rare, rare, dense, rare * few])
    b = np.column_stack([wide, rare, flipped, other, more, wide * few])
    return a, b


def test_planted_labels_are_recovered(rng):
    table = measure(*planted(rng)).table
    assert table["label"].tolist() == [
        "b_more_general", "a_more_general", "alike", "apart", "apart", "undecided",
    ]  # fmt: skip
    rows = table.to_dict(orient="records")
    assert rows[0]["p_b_given_a"] == rows[1]["p_a_given_b"] == 1
    # Independent firing: P(B|A) is B's density, which the interval holds.
    for row in rows[3:5]:
        assert row["p_b_given_a_low"] < row["p_b_given_a_null"] < row["p_b_given_a_high"]
    # The dense pair fires together on most of A's positions, and its difference is plain.
    assert rows[4]["p_b_given_a"] > 0.5
    assert rows[4]["difference_low"] > 0


def test_labels_by_hand():
    """One pair a row: P(B|A), its lower end, null; P(A|B), the same; interval of the ratio."""
    rows = [
        (0.5, 0.4, 0.1, 0.2, 0.1, 0.1, 1.6, 9.0, "b_more_general"),
        (0.5, 0.4, 0.1, 0.2, 0.1, 0.1, 1.4, 9.0, "undecided"),
        (0.5, 0.4, 0.4, 0.2, 0.1, 0.1, 1.6, 9.0, "apart"),  # no more than B's density
        (0.4, 0.3, 0.1, 0.4, 0.3, 0.1, 0.9, 1.1, "apart"),
        (0.2, 0.1, 0.1, 0.9, 0.8, 0.1, 0.1, 0.6, "a_more_general"),
        (0.8, 0.7, 0.1, 0.9, 0.8, 0.1, 0.7, 1.5, "alike"),
        (0.8, 0.7, 0.1, 0.9, 0.8, 0.1, 0.6, 1.5, "undecided"),
    ]
    names = [
        f"p_{name}{part}" for name in ("b_given_a", "a_given_b") for part in ("", "_low", "_null")
    ]
    columns = list(zip(*rows, strict=True))
    found = dict(
        zip([*names, "rate_ratio_low", "rate_ratio_high"], map(np.array, columns), strict=False)
    )
    found |= {"n_documents_a": np.full(7, 9), "n_documents_b": np.array([5] * 7)}
    assert label(found, 0.5, 1.5, 5).tolist() == list(columns[-1])
    assert set(label(found, 0.5, 1.5, 6)) == {"undecided"}


def test_sides_swapped(rng):
    a, b = planted(rng)
    one, other = measure(a, b).table, measure(b, a).table
    np.testing.assert_allclose(one["difference"], -other["difference"], atol=1e-12)
    np.testing.assert_allclose(one["difference_low"], -other["difference_high"], atol=1e-12)
    np.testing.assert_array_equal(one["p_b_given_a_low"], other["p_a_given_b_low"])
    turned = {"a_more_general": "b_more_general", "b_more_general": "a_more_general"}
    assert one["label"].tolist() == [turned.get(name, name) for name in other["label"]]


def test_interval_is_that_of_resampled_documents(rng):
    a, b = planted(rng)
    one = measure(a[:, :1], b[:, :1]).table.loc[0]
    weights = document_weights(N_DOCUMENTS, 200, np.random.default_rng(0))
    by_document = [part.reshape(N_DOCUMENTS, LENGTH) for part in (a[:, 0], b[:, 0])]
    values = []
    for drawn in weights.astype(int):
        fires_a, fires_b = (np.repeat(part, drawn, axis=0).ravel() for part in by_document)
        values.append(fires_b[fires_a > 0].mean() - fires_a[fires_b > 0].mean())
    expected = np.quantile(values, [0.025, 0.975])
    np.testing.assert_allclose([one["difference_low"], one["difference_high"]], expected)
    assert one["n_a"] == a[:, 0].sum()
    assert one["n_both"] == (a[:, 0] * b[:, 0]).sum()


def test_resamples_without_the_feature_are_left_out():
    """A fires in one document of 10, on which B fires half of the time: always 1/2."""
    a, b = np.zeros((10 * LENGTH, 1)), np.zeros((10 * LENGTH, 1))
    a[:4] = b[:2] = 1
    found = measure(a, b)
    one = found.table.loc[0]
    assert set(found.resampled["p_b_given_a"].ravel()) == {0.5}
    assert one["p_b_given_a_low"] == one["p_b_given_a"] == one["p_b_given_a_high"] == 0.5
    assert one["label"] == "undecided"


def test_only_alive_features_with_a_partner_are_measured(rng):
    a, b = planted(rng)
    pairs = pairs_table(4, partner=[1, -1, 0, 0], alive=[True, True, False, True])
    table = measure(a, b, pairs).table
    assert table["feature_a"].tolist() == [0, 3]
    assert table["n_b"].tolist() == [b[:, 1].sum(), b[:, 0].sum()]
    assert len(measure(a, b, pairs.assign(alive=False)).table) == 0


def test_labels_under_the_null_are_those_of_dealt_partners(rng):
    n, d = N_DOCUMENTS * LENGTH, 30
    a = (rng.random((n, d)) < 0.05).astype(float)
    b = np.maximum(a, rng.random((n, d)) < 0.1)
    table = measure(a, b).table
    assert set(table["label"]) == {"b_more_general"}
    # A few may keep their own partner.
    assert table["label_null"].tolist().count("apart") > 25


def test_summary_by_hand(rng):
    labels = ["b_more_general", "alike", "alike", "apart"]
    table = pairs_table(4, partner=[0, 1, 1, 2], mutual=[True, True, False, False])
    table = table.assign(label=labels, label_null="apart", n_a=10)
    values = {"p_b_given_a": [1, 0.8, 0.6, 0.1], "p_a_given_b": [0.5, 0.8, 0.6, 0.1]}
    values["difference"] = [0.5, 0.0, 0.0, 0.0]
    table = table.assign(**values, **{f"{name}_null": 0.01 for name in values})
    resampled = {
        name: np.array([np.array(ends) - 0.1, np.array(ends) + 0.1])
        for name, ends in values.items()
    }
    layer = Asymmetry(table, resampled)
    summary = summary_table([layer, layer], 200, 0)
    assert summary[["layer_a", "layer_b", "subset", "n_pairs"]].to_numpy().tolist() == [
        [0, 1, "all", 4], [0, 1, "mutual", 2], [0, 1, "all", 4], [0, 1, "mutual", 2],
        [-1, -1, "all", 8], [-1, -1, "mutual", 4],
    ]  # fmt: skip
    row = summary.iloc[0]
    assert row["share_alike"] == 0.5
    # Partner 1 holds both: drawn k times of 3, 2 k / (3 + k) of the pairs are alike.
    assert row["share_alike_low"] == 0
    assert row["share_alike_high"] in (0.8, 1)
    assert (row["share_apart"], row["share_apart_null"], row["share_alike_null"]) == (0.25, 1, 0)
    shares = summary[[name for name in summary if name.count("_") <= 3 and "share_" in name]]
    shares = shares[[name for name in shares if not name.endswith(("low", "high", "null"))]]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert row["median_p_b_given_a"] == pytest.approx(0.7)
    low, high = row["median_p_b_given_a_low"], row["median_p_b_given_a_high"]
    assert (low, high) == pytest.approx((0.605, 0.795))
    assert summary.iloc[1]["median_difference"] == 0.25


# Which pairs.


def choosable(**columns) -> pd.DataFrame:
    """Two layers; r falls with the row."""
    table = pairs_table(6, layer_a=[0, 0, 0, 0, 1, 1], r=np.linspace(0.9, 0.4, 6))
    table["top_token"] = ["once", "cat", "cat", "dog", "cat", "sun"]
    table["position_share"] = [1.0, 0.1, 0.1, 0.1, 0.5, 0.1]
    return table.assign(**columns)


def test_top_pairs_take_turns_and_do_not_repeat():
    # Row 0 is the first word of a text; 2 and 4 are of a token that row 1 has shown.
    chosen, passed = choose_pairs(choosable(), section(n_top=3, n_random=0))
    assert list(chosen) == [1, 5, 3]
    assert passed == 3
    assert chosen[5] == "among the highest r of layer 1"
    chosen, passed = choose_pairs(choosable(), section(n_top=1, n_random=0))
    assert (list(chosen), passed) == ([1], 1)
    everything, passed = choose_pairs(choosable(), section(n_top=9, n_random=0))
    assert (sorted(everything), passed) == ([1, 3, 5], 3)


def test_random_pairs_are_drawn_from_all():
    chosen, _ = choose_pairs(choosable(), section(n_top=0, n_random=6))
    assert chosen == dict.fromkeys(range(6), "drawn at random")
    both, _ = choose_pairs(choosable(), section(n_top=1, n_random=6))
    assert both[1] == "among the highest r of layer 0, drawn at random"
    draws = {
        tuple(choose_pairs(choosable(), section(n_top=0, n_random=1, seed=seed))[0])
        for seed in range(60)
    }
    assert draws == {(i,) for i in range(6)}
    with pytest.raises(InputError, match="no pair is chosen"):
        section(n_top=0, n_random=0)


# Contexts in two tokenizations.

TEXTS = {3: "one cat ran", 5: "a cät sat on"}
WORDS = [(3, ["one", " cat", " ran"]), (5, ["a", " cät", " sat", " on"])]
HALVES = [(3, ["on", "e", " ca", "t", " ran"]), (5, ["a", " c", "ä", "ä", "t s", "at", " on"])]
"""Two bytes of ä, and a token of two words' parts."""


def tokens(documents: list[tuple[int, list[str]]]) -> pd.DataFrame:
    rows = []
    for document, texts in documents:
        start = 0
        for i, text in enumerate(texts):
            place = TEXTS[document].index(text, max(0, start - 1))
            rows.append((document, i + 1, place, place + len(text), i, f"<{text}>"))
            start = place + len(text)
    columns = ["document", "position", "start", "end", "token", "piece"]
    return pd.DataFrame(rows, columns=columns)


def readings():
    from universality.core.alignment import align

    tables = tokens(WORDS), tokens(HALVES)
    arrays = [table[name].to_numpy() for table in tables for name in ("document", "end")]
    aligned = align(*arrays)
    assert aligned.rows_a.tolist() == [0, 1, 2, 3, 5, 6]
    assert aligned.rows_b.tolist() == [1, 3, 4, 5, 10, 11]
    return (reading(tables[0], TEXTS, aligned.rows_a), reading(tables[1], TEXTS, aligned.rows_b))


def one_card(columns_a: dict[int, float], columns_b: dict[int, float], **changes):
    texts = readings()
    a, b = (np.zeros((len(text.end), 2), np.float32) for text in texts)
    for dense, values in ((a, columns_a), (b, columns_b)):
        for row, value in values.items():
            dense[row, 1] = value
    pairs = pairs_table(1, feature_a=[1], partner=[1])
    weights = document_weights(2, 200, np.random.default_rng(0))
    sides = sp.csr_matrix(a), sp.csr_matrix(b)
    return layer_cards(*sides, texts, pairs, {0: "why"}, weights, section(**changes))[0]


def shown(example) -> str:
    return "".join(text for text, _ in example.tokens)


def test_contexts_are_the_same_text_in_both_tokenizations():
    # A fires on cat and sat; B on the end of cat, more on a token that A has no end at.
    card = one_card({1: 3.0, 5: 2.0}, {3: 1.0, 9: 8.0}, context=1)
    first, second = card.contexts["top_a"]
    assert [text for text, _ in first.a.tokens] == ["one", " cat", " ran"]
    assert [text for text, _ in first.b.tokens] == ["on", "e", " ca", "t", " ran"]
    assert (first.a.peak, first.b.peak) == (1, 3)
    assert (first.a.value, first.b.value) == (3, 1)
    # In the other document the window begins after "a", within a token of neither.
    assert shown(second.a) == " cät sat on"
    assert [text for text, _ in second.b.tokens] == [" c", "<ä>", "ä", "t s", "at", " on"]
    assert second.b.tokens[second.b.peak] == ("at", 0.0)
    assert [value for _, value in second.b.tokens] == [0, 0, 0, 8, 0, 0]
    assert (second.a.cut, second.b.cut) == ((True, False), (True, False))
    # B's highest is on no shared position, so no context is about it.
    assert card.highest == (3, 8)
    assert [(c.b.document, c.b.value) for c in card.contexts["top_b"]] == [(3, 1.0)]
    assert [(c.a.document, c.a.value) for c in card.contexts["only_a"]] == [(5, 2.0)]
    assert card.contexts["only_b"] == []


def test_context_around_bs_features_is_bs_window():
    card = one_card({0: 1.0}, {4: 5.0}, context=1)
    (about,) = card.contexts["top_b"]
    assert [text for text, _ in about.b.tokens] == ["t", " ran"]
    # A's " cat" ends within the window.
    assert [text for text, _ in about.a.tokens] == [" cat", " ran"]
    assert about.a.tokens[about.a.peak] == (" ran", 0.0)
    assert card.contexts["only_b"][0].b == about.b
    alone = one_card({2: 1.0}, {4: 5.0}, context=0).contexts["top_b"][0]
    assert (alone.a.tokens, alone.b.tokens) == ([(" ran", 1.0)], [(" ran", 5.0)])


def test_r_interval_and_context_table():
    card = one_card({1: 3.0, 5: 2.0}, {3: 3.0, 10: 2.0})
    assert card.r_interval == pytest.approx((1, 1))
    table = context_table([card])
    assert set(table["group"]) == {"top_a", "top_b"} <= set(GROUPS)
    assert len(table.query("peak")) == len(table[["group", "rank", "side"]].drop_duplicates()) == 8
    peaks = table.query("peak and group == 'top_a'")
    assert peaks["text"].tolist() == [" cat", "t", " sat", "at"]
    assert peaks["value"].tolist() == [3, 3, 2, 2]


def test_habits():
    text = readings()[0]
    a = np.zeros((6, 3), np.float32)
    a[[0, 1, 3, 5], 1] = 1
    a[[1], 2] = 7
    found = habits(sp.csr_matrix(a), np.array([2, 1]), text)
    # Shared rows: one, cat, ran / a, sat, on; positions 1 2 3 / 1 3 4.
    assert found["top_token"].tolist() == ["cat", "a"]
    assert found["top_token_share"].tolist() == [1, 0.25]
    assert found["position_share"].tolist() == [1, 0.5]
