"""The study of spaces: measures with nulls, on representations whose relation is known."""

import measures
import numpy as np
import pandas as pd
import pytest

from universality.studies.matching.pairings import Pairing
from universality.studies.spaces.params.similarity import Audit, Similarity
from universality.studies.spaces.similarity import distances, linear
from universality.studies.spaces.similarity.audit import random_table
from universality.studies.spaces.similarity.concepts import (
    any_samples,
    concept_relations,
    concept_samples,
    inside_concepts,
    rsa_of_orders,
)
from universality.studies.spaces.similarity.decoders import (
    Decoders,
    compare_pairs,
    projected,
    tables_of,
)
from universality.studies.spaces.similarity.measures import LINKED, MEASURES, RELATED, Options
from universality.studies.spaces.similarity.null import (
    Compared,
    Reduced,
    blocks,
    compare_kernels,
    compare_linear,
    compare_prepared,
    kernels,
    prepared,
    products,
    reduced,
    straight,
)
from universality.studies.spaces.similarity.spaces import draw_blocks
from universality.studies.spaces.similarity.study import _highest_of_null, compare_layers

TOLD = Options(n_neighbours=3)
SETTINGS = Similarity(
    layer_measures=list(MEASURES),
    decoder_measures=["svcca", "svcca_k1_as_published", "linear_cka_unbiased", "rsa"],
    n_documents=40,
    per_document=4,
    distances_per_document=2,
    n_directions=6,
    variance_share=0.99,
    ridge=0.1,
    n_neighbours=3,
    n_permutations=99,
    n_subsets=19,
    n_groups=5,
    n_pairs=200,
    n_distances=60,
    min_pairs=10,
    batch_tokens=64,
    seed=0,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_orders_move_whole_documents(rng):
    samples = blocks(7, 3, 50, rng)
    assert samples.orders.shape == (50, 21)
    for order in samples.orders:
        assert sorted(order) == list(range(21))
        documents = (order // 3).reshape(7, 3)
        assert (documents == documents[:, :1]).all()
    assert len({tuple(order) for order in samples.orders}) == 50


def test_leaving_groups_out_takes_every_document_once(rng):
    samples = blocks(7, 2, 1, rng)
    left = [samples.without(group, 3) for group in range(3)]
    missing = np.concatenate([np.setdiff1d(np.arange(14), rows) for rows in left])
    assert sorted(missing) == list(range(14))
    assert samples.first(1).tolist() == list(range(0, 14, 2))


def test_kernel_measures_are_those_of_the_pure_functions(rng):
    x, y = rng.standard_normal((40, 5)), rng.standard_normal((40, 9))
    y[:, :5] += x
    order = rng.permutation(40)
    found = compare_kernels(kernels(x, TOLD), kernels(y, TOLD), np.array([np.arange(40), order]))
    for place, rows in enumerate((np.arange(40), order)):
        other = y[rows]
        expected = {
            "rsa": measures.rsa(x, other),
            "rsa_pearson": measures.rsa(x, other, ranked=False),
            "distance_correlation": measures.distance_correlation(x, other),
            "pairwise_distance_pearson": measures.rsa(x, other, "euclidean", ranked=False),
            "rbf_cka": measures.rbf_cka(x, other),
            "linear_cka_unbiased": measures.linear_cka_unbiased(x, other),
            "mutual_knn": measures.mutual_knn(x, other, 3),
        }
        assert expected.keys() == set(RELATED)
        for name, value in expected.items():
            assert found[name][place] == pytest.approx(value, abs=1e-8), name


@pytest.mark.parametrize("names", [["mutual_knn", "rsa"], ["linear_cka_unbiased"], ["rbf_cka"]])
def test_some_measures_are_those_of_all(rng, names):
    x, y = rng.standard_normal((20, 5)), rng.standard_normal((20, 7))
    every = straight(kernels(x, TOLD), kernels(y, TOLD))
    some = straight(kernels(x, TOLD, names), kernels(y, TOLD, names))
    assert some == pytest.approx({name: every[name] for name in names})


def test_what_is_undefined_is_no_evidence(rng):
    """Samples that are all equally far apart have no structure that could be shared."""
    x, y = np.eye(6), rng.standard_normal((6, 4))
    samples = blocks(6, 1, 99, rng)
    sides = [prepared(side, samples, 3, Options(n_neighbours=1)) for side in (x, y)]
    found = compare_prepared(sides[0], sides[1], samples)["linear_cka_unbiased"]
    assert np.isnan(found.value)
    assert found.row()["p"] == 1


def test_products_are_those_of_each_order(rng):
    u, v = (
        [rng.standard_normal((12, 3)), rng.standard_normal((12, 2))],
        rng.standard_normal((12, 4)),
    )
    orders = np.array([rng.permutation(12) for _ in range(5)])
    found = products(u, v, orders)
    for side, part in zip(u, found, strict=True):
        np.testing.assert_allclose(part, [side.T @ v[order] for order in orders], atol=1e-12)


def test_several_pairings_at_once_are_those_one_by_one(rng):
    x, y = rng.standard_normal((30, 4)), rng.standard_normal((30, 6))
    a, b = linear.basis(x), linear.basis(y)
    orders = np.array([rng.permutation(30) for _ in range(4)])
    together = linear.Link(a.s, products([a.u], b.u, orders)[0], b.s, a.v)
    for name, measure in LINKED.items():
        one_by_one = [measure.of(linear.link(a, b, rows=order), TOLD) for order in orders]
        found = measure.of(together, TOLD)
        np.testing.assert_allclose(found, one_by_one, atol=1e-10, err_msg=name)


def test_reduction_keeps_the_first_principal_components(rng):
    x = rng.standard_normal((50, 8)) * np.array([9, 5, 3, 1, 1, 1, 1, 1]) + 7
    found = reduced(x, 3)
    whole = linear.basis(x)
    assert found.scores.shape == (50, 3)
    assert found.kept == pytest.approx(np.sum(whole.s[:3] ** 2) / np.sum(whole.s**2))
    np.testing.assert_allclose(
        np.abs(found.scores), np.abs(whole.u[:, :3] * whole.s[:3]), atol=1e-8
    )
    assert reduced(x[:, :2], 3).scores.shape == (50, 2)
    with pytest.raises(ValueError, match="varies"):
        reduced(np.ones((5, 2)), 2)


def test_p_is_small_for_a_copy_and_uniform_for_nothing(rng):
    every = tuple(LINKED)
    x = rng.standard_normal((80, 4))
    samples = blocks(20, 4, 99, rng)
    same = compare_linear({0: Reduced(x, 1.0)}, Reduced(x @ rng.standard_normal((4, 4)), 1.0),
                          samples, 5, every, TOLD)[0]  # fmt: skip
    assert same["cca"].value == pytest.approx(1)
    assert same["cca"].row()["p"] == 0.01
    assert same["cca"].low <= same["cca"].value <= same["cca"].high
    p = []
    for _ in range(60):
        other = Reduced(rng.standard_normal((80, 4)), 1.0)
        found = compare_linear({0: Reduced(x, 1.0)}, other, samples, 5, every, TOLD)[0]
        p.append(found["cca_r2"].row()["p"])
    assert 0.35 < np.mean(p) < 0.65
    assert np.mean(np.array(p) <= 0.1) < 0.25


def test_documents_alike_in_themselves_do_not_make_two_models_alike(rng):
    """All rows of a document nearly equal, in both models, by chance: permuting rows would say so.

    The null of whole documents must not: its p has to stay uniform.
    """
    p = []
    for _ in range(40):
        a, b = (
            np.repeat(rng.standard_normal((12, 3)), 6, axis=0) + 0.01 * rng.standard_normal((72, 3))
            for _ in range(2)
        )
        samples = blocks(12, 6, 99, rng)
        found = compare_linear(
            {0: Reduced(a, 1.0)}, Reduced(b, 1.0), samples, 3, tuple(LINKED), TOLD
        )
        p.append(found[0]["cca"].row()["p"])
    assert np.mean(np.array(p) <= 0.05) < 0.2


def layers(rng, n=160, shared=True):
    common = rng.standard_normal((n, 4)) * 3
    a = {0: np.hstack([common, rng.standard_normal((n, 6))]), 1: rng.standard_normal((n, 10))}
    b = {
        3: (common if shared else rng.standard_normal((n, 4))) @ rng.standard_normal((4, 12)),
        5: rng.standard_normal((n, 12)),
        9: rng.standard_normal((n, 12)),
    }
    control = {0: rng.standard_normal((n, 7)), 1: common @ rng.standard_normal((4, 7))}
    return a, b, control


def test_the_planted_layer_is_found_by_every_measure(rng):
    a, b, control = layers(rng)
    table = compare_layers(a, b, control, 4, SETTINGS, rng)
    assert len(table) == 2 * 3 * (9 + len(RELATED))
    for measure, part in table.groupby("measure"):
        best = part.loc[part["value"].idxmax()]
        assert (best["layer_a"], best["layer_b"]) == (0, 3), measure
        assert best["q"] <= 0.1, measure
        assert best["value"] > best["null"] + 0.1, measure
    # The control's second layer holds what is shared; it stands for the last layer of B.
    alike = table.query("measure == 'linear_cka' and layer_a == 0").set_index("layer_b")
    assert alike.loc[9, "random_lm"] > 0.5
    assert alike.loc[3, "random_lm"] < 0.2
    cca = table.query("measure == 'cca'")
    assert set(cca["n"]) == {160}
    assert set(cca["few"]) == {160 < 5 * 12}


def test_nothing_shared_nothing_found(rng):
    few = SETTINGS.model_copy(update={"layer_measures": ["linear_cka_unbiased", "mutual_knn"]})
    table = compare_layers(*layers(rng, shared=False)[:2], layers(rng)[2], 4, few, rng)
    assert table["measure"].unique().tolist() == ["linear_cka_unbiased", "mutual_knn"]
    part = table.query("measure == 'linear_cka_unbiased'")
    assert np.min(part["q"].to_numpy()) > 0.05
    # The highest of six pairs of layers is what the highest of six is without a relation.
    assert np.max(part["value"].to_numpy()) < part["null_high"].iloc[0]


def test_the_null_of_the_highest_searches_too():
    draws = np.arange(1, 101) / 100
    found = {
        (0, 0): {"rsa": Compared(0.5, 0.4, 0.6, draws)},
        (0, 1): {"rsa": Compared(0.2, 0.1, 0.3, draws[::-1])},
    }
    # The higher of i and 101 - i, over i: 51 to 100, each twice.
    highest = np.quantile(np.repeat(np.arange(51, 101), 2) / 100, 0.95)
    assert _highest_of_null(found) == {"rsa": pytest.approx(highest)}


def test_the_interval_of_one_component_holds_its_directions_and_stays_in_range(rng):
    x, y = rng.standard_normal((200, 6)), rng.standard_normal((200, 6))
    x[:, 0] *= 3
    y[:, 0] = 3 * x[:, 0] + 3 * y[:, 0]
    measure = ["svcca_k1_as_published"]
    samples = blocks(200, 1, 19, rng)
    found = compare_linear({0: Reduced(x, 1.0)}, Reduced(y, 1.0), samples, 10, measure, TOLD)[0]
    one = found["svcca_k1_as_published"]
    # About Fisher's interval of a correlation of 200 pairs.
    ends = np.tanh(np.arctanh(one.value) + np.array([-1, 1]) * 1.96 / np.sqrt(197))
    assert one.value == pytest.approx(np.sqrt(0.9), abs=0.05)
    assert [one.low, one.high] == pytest.approx(list(ends), abs=0.03)
    weak = compare_linear({0: Reduced(x, 1.0)}, Reduced(rng.standard_normal((200, 6)), 1.0),
                          samples, 10, measure, TOLD)[0]["svcca_k1_as_published"]  # fmt: skip
    assert 0 <= weak.low <= weak.value <= weak.high <= 1


def test_few_samples_are_said(rng):
    a, b, control = layers(rng, n=40)
    table = compare_layers(a, b, control, 4, SETTINGS, rng)
    assert set(table.query("measure == 'cca'")["few"]) == {True}
    assert set(table.query("measure == 'rsa'")["few"]) == {False}


def test_rows_are_as_many_of_every_document(rng):
    documents = np.repeat(np.arange(12), np.arange(1, 13))
    chosen = draw_blocks(documents, 3, rng)
    assert chosen.shape == (10, 3)
    assert all(len(set(documents[block])) == 1 and len(set(block)) == 3 for block in chosen)


def decoders_of(rng, n=150):
    latent = rng.standard_normal((n, 4))
    a = latent @ rng.standard_normal((4, 8)) + 0.2 * rng.standard_normal((n, 8))
    b = latent @ rng.standard_normal((4, 9)) + 0.2 * rng.standard_normal((n, 9))
    every = np.arange(n)
    return Decoders(projected(a, every, 6), projected(b, every, 6))


def test_decoder_rows_of_true_partners_beat_every_null(rng):
    decoders = decoders_of(rng)
    true = Pairing(np.arange(100), np.arange(100), np.ones(100))
    wrong = Pairing(np.arange(100), rng.permutation(100), np.ones(100))
    good, bad = (
        pd.DataFrame(compare_pairs(decoders, pairs, SETTINGS, rng)).set_index("measure")
        for pairs in (true, wrong)
    )
    for measure in ("svcca", "linear_cka_unbiased", "rsa"):
        assert good.loc[measure, "p"] == 0.01
        assert good.loc[measure, "value"] > good.loc[measure, "null"] + 0.2
        assert good.loc[measure, "low"] <= good.loc[measure, "value"] <= good.loc[measure, "high"]
    assert bad.loc["linear_cka_unbiased", "p"] > 0.02
    assert good["n"].to_dict() == {
        "svcca": 100, "svcca_k1_as_published": 100, "rsa": 60, "linear_cka_unbiased": 60,
    }  # fmt: skip
    assert "random" not in good


def test_a_concept_is_judged_by_random_partners(rng):
    decoders = decoders_of(rng)
    among = Pairing(np.arange(150), np.arange(150), np.ones(150))
    some = among.subset(np.arange(30))
    rows = pd.DataFrame(compare_pairs(decoders, some, SETTINGS, rng, among))
    # As good as any other 30 partners: no more and no less.
    assert np.mean(rows["random_p"].to_numpy() > 0.05) >= 0.5
    few = compare_pairs(decoders, among.subset(np.arange(5)), SETTINGS, rng)
    assert few == [{"n_pairs": 5, "measure": "", "n": 5, "few": True}]


def test_tables_of_decoders_with_and_without_concepts():
    rows = [
        {"pairing": name, "measure": "rsa", "value": 0.5, "p": 0.01, "n": 30}
        for name in ("mutual", "hungarian", "concept_time", "concept_food")
    ]
    tables = tables_of(rows)
    assert tables["concepts"]["concept"].tolist() == ["time", "food"]
    assert tables["concepts"]["q"].tolist() == [0.01, 0.01]
    assert tables["decoders"]["pairing"].tolist() == ["mutual", "hungarian"]
    none = tables_of(rows[:2])["concepts"]
    assert none.empty
    assert list(none) == list(tables["concepts"])


def test_concept_samples_are_one_of_each_document(rng):
    documents = np.repeat(np.arange(6), 5)
    mask = np.zeros(30, dtype=bool)
    mask[[1, 2, 7, 25]] = True
    rows = concept_samples(mask, documents, rng)
    assert sorted(documents[rows]) == [0, 1, 5]
    assert mask[rows].all()


def test_a_concept_shared_more_than_the_rest_is_found(rng):
    documents = np.repeat(np.arange(40), 4)
    n = len(documents)
    mask = np.tile([True, False, False, False], 40)
    x, y = rng.standard_normal((n, 5)), rng.standard_normal((n, 5))
    y[mask] = x[mask] + 0.1 * rng.standard_normal((40, 5))
    masks = {"it": mask, "rare": np.arange(n) < 4}
    table = inside_concepts(x, y, masks, documents, SETTINGS, rng)
    row = table.query("concept == 'it' and measure == 'linear_cka_unbiased'").iloc[0]
    assert row["value"] > 0.8
    assert row["p"] == 0.01
    assert row["random_p"] == 0.05
    rare = table.query("concept == 'rare'").iloc[0]
    assert rare["n"] == 1
    assert np.isnan(rare["value"])


def test_positions_of_any_documents_are_one_of_each(rng):
    documents = np.repeat([2, 5, 6, 9], [3, 1, 4, 2])
    seen = set()
    for _ in range(200):
        rows = any_samples(documents, 3, rng)
        assert len(set(documents[rows])) == 3
        seen |= set(rows.tolist())
    assert seen == set(range(10))


def test_relations_between_concepts(rng):
    documents = np.repeat(np.arange(30), 14)
    concept = np.tile(np.repeat(np.arange(7), 2), 30)
    centres = rng.standard_normal((7, 12))
    x = centres[concept] + 0.1 * rng.standard_normal((len(concept), 12))
    turned = x @ np.linalg.qr(rng.standard_normal((12, 12)))[0] + rng.standard_normal(12) * 0.01
    unrelated = rng.standard_normal((7, 12))[concept] + 0.1 * rng.standard_normal(x.shape)
    masks = {str(k): concept == k for k in range(7)}
    table = concept_relations(
        {0: x}, {0: turned, 1: unrelated}, masks, documents, SETTINGS, rng
    ).set_index("layer_b")
    # A rotation keeps Euclidean geometry; correlation over columns nearly so.
    assert table.loc[0, "value"] > table.loc[1, "value"] + 0.3
    assert table.loc[0, "p"] <= 0.05
    assert table.loc[0, "n_concepts"] == 7


def test_rsa_of_orders_is_rsa(rng):
    a, b = (distances.dissimilarities(rng.standard_normal((6, 4)), "correlation") for _ in range(2))
    orders = np.array([rng.permutation(6) for _ in range(5)])
    expected = [distances.rsa(a, b[np.ix_(order, order)]) for order in orders]
    np.testing.assert_allclose(rsa_of_orders(a, b, orders), expected, atol=1e-12)


def test_svcca_of_random_rows_falls_with_n_and_k1_follows_theory(rng):
    audit = Audit(a="a", b="b", a_seed=0, b_seed=0, layers=[(1, 1)], n_documents=4,
                  random_n=[20, 100, 2000], random_d=(30, 40), n_random=40)  # fmt: skip
    table = random_table(audit, 0.99, rng)
    assert table["svcca"].iloc[0] > 0.9
    assert table["svcca"].is_monotonic_decreasing
    np.testing.assert_allclose(table["svcca_k1"], table["k1_theory"], rtol=0.35)
