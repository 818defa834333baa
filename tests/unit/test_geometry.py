from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.spatial import procrustes
from sklearn.linear_model import LinearRegression
from sklearn.metrics import adjusted_rand_score
from stand_ins import HOOKS, Signs

from universality.core import maps
from universality.core.corpora import load_tokenizer, tokenize
from universality.core.errors import InputError
from universality.core.features import hook_rows
from universality.core.io import write_table
from universality.core.params.base import load_section
from universality.core.style import styled
from universality.studies.spaces.figures import maps as figures
from universality.studies.spaces.geometry import clusters, cycles, planes
from universality.studies.spaces.geometry.files import (
    MapInputs,
    Side,
    Words,
    read_words,
    spoken,
    word_table,
)
from universality.studies.spaces.geometry.study import study
from universality.studies.spaces.maps_summary import map_metrics
from universality.studies.spaces.params.feature_maps import Cycle, Cycles, Maps, Part
from universality.studies.spaces.similarity.distances import rsa

ROOT = Path(__file__).parents[2]
SETTINGS = Maps(
    max_rows=96, n_neighbors=8, min_dist=0.05, cluster_components=3, cluster_min_dist=0.1,
    n_epochs=40, min_cluster_size=3, n_top=3, n_components=8, graph_neighbours=2, graph_false=0.01,
    n_graphs=2, n_shapes=3, shape_positions=100, epsilon=0.1, n_angles=6, n_planes=2,
    min_positions=3, batch_tokens=256, n_null=3, n_permutations=99, n_groups=5, seed=0,
)  # fmt: skip


def polygon(k, d, rng, noise=0.0):
    """Words on a regular polygon in some plane of `d` dimensions."""
    angle = 2 * np.pi * np.arange(k) / k
    plane = np.linalg.qr(rng.normal(size=(d, 2)))[0]
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1) @ plane.T
    return x + noise * rng.normal(size=x.shape)


def test_circle_is_a_procrustes_fit_of_the_polygon(rng):
    k = 7
    points = rng.normal(size=(k, 2))
    points -= points.mean(axis=0)
    angle = 2 * np.pi * np.arange(k) / k
    disparity = procrustes(np.stack([np.cos(angle), np.sin(angle)], axis=1), points)[2]
    z = (points[:, 0] + 1j * points[:, 1])[None]
    found = cycles.circle_r2(z, np.arange(k)[None])
    np.testing.assert_allclose(found, [1 - disparity], atol=1e-12)
    # Neither the first word nor the direction matters; the order does.
    same = np.stack([(np.arange(k) + 3) % k, (-np.arange(k)) % k])
    np.testing.assert_allclose(cycles.circle_r2(z, same), [1 - disparity] * 2, atol=1e-12)
    assert cycles.circle_r2(np.zeros((1, k), dtype=complex), np.arange(k)[None]) == [0]


def test_words_on_a_circle_are_found_and_only_in_their_order(rng):
    x = polygon(7, 9, rng)
    points = x + rng.normal(scale=0.02, size=(6, 7, 9))
    found = cycles.order_row(points, 3, 99, rng)
    assert found["n_orders"] == 5040
    assert found["circle_r2"] > 0.98
    # All turns and both directions are the same circle.
    assert found["circle_r2_p"] == pytest.approx(14 / 5040)
    assert found["circle_r2_low"] <= found["circle_r2"] <= found["circle_r2_high"]
    assert found["circle_r2_null"] < 0.6
    other = cycles.order_row(points[:, [0, 2, 4, 6, 1, 3, 5]], 3, 99, rng)
    assert other["circle_r2"] < 0.5
    assert other["circle_r2_p"] > 0.2


def test_line_is_a_regression_of_the_plane_on_the_places(rng):
    points = rng.normal(size=(9, 2))
    points -= points.mean(axis=0)
    place = np.arange(9.0)[:, None]
    fit = LinearRegression().fit(place, points)
    expected = 1 - np.sum((points - fit.predict(place)) ** 2) / np.sum(points**2)
    z = (points[:, 0] + 1j * points[:, 1])[None]
    both = np.stack([np.arange(9), np.arange(9)[::-1]])
    np.testing.assert_allclose(cycles.line_r2(z, both), [expected] * 2, atol=1e-12)
    # Of a circle of four words a line explains two fifths: |1 + i|^2 / 5.
    square = np.array([[1, 1j, -1, -1j]])
    np.testing.assert_allclose(cycles.line_r2(square, np.arange(4)[None]), [0.4])
    assert cycles.line_r2(np.zeros((1, 9), dtype=complex), both).tolist() == [0, 0]


def test_circle_and_line_are_told_apart(rng):
    direction = rng.normal(size=9)
    points = np.arange(12)[:, None] * direction + rng.normal(scale=0.1, size=(5, 12, 9))
    found = cycles.order_row(points, 3, 199, rng)
    assert found["line_r2"] > 0.99
    assert found["line_r2_p"] == 1 / 200
    assert found["n_orders"] == 199
    assert found["over_line_high"] < 0
    circle = polygon(12, 9, rng) + rng.normal(scale=0.02, size=(6, 12, 9))
    assert cycles.order_row(circle, 3, 199, rng)["over_line_low"] > 0.3
    noise = cycles.order_row(rng.normal(size=(5, 12, 9)), 3, 199, rng)
    assert noise["line_r2_p"] > 0.05


def test_two_models_alike(rng):
    a = polygon(12, 9, rng, noise=0.3) + rng.normal(scale=0.01, size=(5, 12, 9))
    turned = a @ np.linalg.qr(rng.normal(size=(14, 9)))[0].T * 3
    found = cycles.alike_row(a, turned, 199, rng)
    assert found["rsa"] == pytest.approx(1)
    assert found["rsa_p"] == 1 / 200
    assert abs(found["rsa_null"]) < 0.1
    assert cycles.alike_row(a, rng.normal(size=(5, 12, 6)), 199, rng)["rsa_p"] > 0.05


def test_permuted_rsa_is_that_of_permuted_words(rng):
    own, other = (cycles.word_distances(rng.normal(size=(3, 6, 4))) for _ in range(2))
    places = np.array([rng.permutation(6) for _ in range(5)])
    expected = [rsa(own, other[np.ix_(place, place)]) for place in places]
    np.testing.assert_allclose(cycles._rsa_of_orders(own, other, places), expected, atol=1e-12)


def test_mutual_information_of_even_bins():
    a = np.repeat(np.arange(4.0), 25)
    assert planes.mutual_information(a, a, 4) == pytest.approx(2)
    assert planes.mutual_information(a, np.tile(np.arange(5.0), 20), 4) == pytest.approx(0)
    assert planes.mutual_information(a, np.zeros(100), 4) == 0


def test_shapes_are_told_apart(rng):
    n = 1000
    angle = rng.uniform(0, 2 * np.pi, n)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    axis = rng.integers(2, size=n)
    cross = np.where(np.arange(2) == axis[:, None], rng.uniform(0.5, 1.5, (n, 2)), 0)
    square = rng.uniform(-1, 1, (n, 2))
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    rows = {
        name: planes.plane_row(points @ turn, 0.1, 16, 9, rng)
        for name, points in (("circle", circle), ("cross", cross), ("square", square))
    }
    assert rows["circle"]["separability"] > 1
    assert rows["circle"]["separability"] > rows["circle"]["separability_null_high"]
    # A square is two independent coordinates, in the right rotation.
    assert rows["square"]["separability"] < rows["square"]["separability_null"] + 0.05
    # Half of a mixture is on each of two lines.
    assert rows["cross"]["mixture"] == pytest.approx(0.5, abs=0.05)
    assert rows["cross"]["mixture"] > rows["cross"]["mixture_null_high"]
    # Points of a circle crowd at its rim: P(|cos(t) - m| < .1 sqrt(1/2 + m^2)), the largest over m.
    m = np.linspace(0, 1, 200)
    half = 0.1 * np.sqrt(0.5 + m**2)
    rim = (np.arccos(m - half) - np.arccos(np.minimum(m + half, 1))) / np.pi
    assert rows["circle"]["mixture"] == pytest.approx(rim.max(), abs=0.03)
    assert rows["circle"]["mixture_null"] == pytest.approx(0.08, abs=0.04)  # P(|z| < .1) and search


def test_principal_scores_are_those_of_a_decomposition(rng):
    for shape in ((20, 4), (4, 20)):
        x = rng.normal(size=shape)
        u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        np.testing.assert_allclose(np.abs(planes.principal_scores(x, 2)), np.abs(u * s)[:, :2])
    assert planes.principal_scores(np.eye(3), 5).shape == (3, 5)


def test_rows_of_cosines(rng):
    x = rng.normal(size=(9, 4))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    rows = maps.of_cosines(unit @ unit.T)
    np.testing.assert_allclose(rows @ rows.T, unit @ unit.T, atol=1e-9)


def test_interval_by_leaving_groups_out(rng):
    x = rng.normal(size=400)
    low, high = maps.left_out(lambda rows: float(x[rows].mean()), 400, 20, (-9, 9))
    half = 1.96 / np.sqrt(400)
    assert low < x.mean() < high
    assert (high - low) / 2 == pytest.approx(half, rel=0.5)
    assert maps.left_out(lambda rows: float(x[rows].mean()), 400, 20, (-9, 0.0001))[1] < high


def test_components_of_the_cosine_graph(rng):
    centres = np.eye(6)[:3]
    sizes = (3, 5, 2)
    rows = np.concatenate(
        [centre + rng.normal(scale=0.05, size=(n, 6))
         for centre, n in zip(centres, sizes, strict=True)]
    )  # fmt: skip
    labels = clusters.cosine_graph(rows, 2, 0.8, 3)
    # The largest is number 0; two rows are too few.
    assert labels.tolist() == [1] * 3 + [0] * 5 + [clusters.NOISE] * 2
    assert (clusters.cosine_graph(rows, 2, 0.99999, 2) == clusters.NOISE).all()


def test_nearest_cosines_across_blocks(rng, monkeypatch):
    rows = rng.normal(size=(25, 4))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = unit @ unit.T - 5 * np.eye(25)
    expected = np.sort(cosine, axis=1)[:, -3:]
    monkeypatch.setattr(clusters, "_BLOCK", 7)
    index, found = clusters.nearest_cosines(rows, 3)
    np.testing.assert_allclose(np.sort(found, axis=1), expected, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(cosine, index, 1), found, atol=1e-6)


def test_rand_index_and_its_null(rng):
    a, b = (rng.integers(-1, 4, size=80) for _ in range(2))
    table = np.zeros((5, 5))
    np.add.at(table, (a + 1, b + 1), 1)
    assert clusters._rand_of_counts(table) == pytest.approx(adjusted_rand_score(a, b))
    same = clusters.rand_row("rand", a, a, 5, 99, rng)
    assert (same["rand"], same["rand_p"]) == (1, 0.01)
    apart = clusters.rand_row("rand", a, b, 5, 99, rng)
    assert abs(apart["rand_null"]) < 0.02
    assert apart["rand_p"] > 0.01


def test_purity_against_permuted_tokens(rng):
    labels = np.array([0, 0, 0, 1, 1, clusters.NOISE])
    commonest, purity = clusters.purities(labels[:5], np.array([2, 2, 0, 1, 1]))
    assert commonest.tolist() == [2, 1]
    np.testing.assert_allclose(purity, [2 / 3, 1])
    labels = np.repeat(np.arange(8), 10)
    names = [f"t{i}" for i in range(8)]
    table, summary = clusters.cluster_tables(labels, labels, names, 2, 5, 99, rng)
    assert summary["purity"] == 1
    assert summary["purity_p"] == 0.01
    assert summary["purity_null"] < 0.5
    assert table["top_tokens"].tolist() == [f"t{i}:10" for i in range(8)]
    random = clusters.cluster_tables(labels, rng.permutation(labels), names, 2, 5, 99, rng)[1]
    assert random["purity_p"] > 0.02
    empty, none = clusters.cluster_tables(np.full(4, -1), np.zeros(4, int), names, 2, 2, 9, rng)
    assert empty.empty
    assert none["n_clusters"] == 0


@pytest.fixture(scope="module")
def inputs():
    """Two models whose decoders are turned copies, features in 16 groups, a circle of words."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(16), 6)
    decoder = np.eye(40)[groups] + rng.normal(scale=0.04, size=(96, 40))
    turn = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    token = np.tile(np.arange(16), 50)
    names = [*"abcdefghijklmno", "w0"]
    # Features of a group fire on its token.
    features = rng.random((800, 96)) * (rng.random((800, 96)) < 0.5) * (token[:, None] == groups)
    circle = polygon(7, 40, rng) + rng.normal(scale=0.01, size=(4, 7, 40))
    firing = sp.csr_matrix(rng.random((28, 96)) * (groups == 1))
    sides = [
        Side(name, layer, rows, sp.csr_matrix(features), token, np.arange(96),
             {"days": Words(x, firing, np.ones(7, int))})
        for name, layer, rows, x in (
            ("one", 0, decoder, circle), ("two", 1, decoder @ turn, circle @ turn)
        )
    ]  # fmt: skip
    return MapInputs(sides[0], sides[1], np.stack([np.arange(96)] * 2, axis=1), names)


@pytest.fixture(scope="module")
def orders():
    return {
        "days": Cycle(
            closed=True, words=[f"W{i}" for i in range(7)], beginnings=["On", "It is", "By", "To"]
        )
    }


@pytest.fixture(scope="module")
def tables(inputs, orders):
    return study("pair", inputs, orders, SETTINGS, get_args(Part))


def test_the_default_has_circles_and_what_is_asked_for(inputs, orders, tables):
    plain = study("pair", inputs, orders, SETTINGS, [])
    assert set(plain) == {"orders", "order_points"}
    assert plain["orders"]["space"].unique().tolist() == ["activations"]
    some = study("pair", inputs, orders, SETTINGS, ["points", "cca"])
    assert set(some) == {"orders", "order_points", "points", "cca"}
    assert "cluster" not in some["points"]
    columns = ["side", "space", "feature", "x", "y", "pair"]
    for column in columns:
        assert some["points"][column].equals(tables["points"][column])


def test_planted_clusters_are_found_in_both_models(tables):
    summary = tables["summary"].set_index(["side", "space", "method"])
    graph = summary.loc["a", "decoder", "cosine_graph"]
    assert graph["n_clusters"] == 16
    assert graph["n_clusters_null"] < 4
    assert graph["purity"] == 1
    found = summary.loc["b", "decoder", "hdbscan_umap"]
    assert found["purity_p"] == 0.01
    assert found["rand_across"] > 0.5
    assert found["rand_across_p"] == 0.01
    assert found["rand_seeds"] > found["rand_seeds_of_noise"]


def test_cca_of_maps_falls_short_of_that_of_turned_features(tables):
    cca = tables["cca"].set_index("representation")
    assert cca.loc["decoder", "cca"] == pytest.approx(1, abs=1e-6)
    assert cca.loc["umap", "cca"] < 0.999
    assert cca.loc["umap_unrelated", "cca_p"] > 0.05
    assert (cca[["d_a", "d_b"]].loc["umap"] == 2).all()


def test_circles_where_they_were_planted(tables):
    found = tables["orders"].set_index(["side", "source", "space"])
    for side in "ab":
        row = found.loc[side, "sentences", "activations"]
        assert row["circle_r2"] > 0.95
        assert row["circle_r2_q"] < 0.05
        # The features that fire do not say which word it is.
        assert found.loc[side, "sentences", "reconstruction"]["circle_r2_p"] > 0.05
    untested: Any = found.loc["a", "text", "reconstruction"]
    assert bool(untested["tested"]) is False
    assert untested["why_not"] == "6 of 7 words at fewer than 3 positions"
    assert np.isnan(untested["circle_r2"])
    across = tables["orders_across"].set_index(["source", "space"])
    assert across.loc["sentences", "activations"]["rsa"] == pytest.approx(1)
    assert tables["order_points"].query("space == 'activations'").groupby("side").size().eq(7).all()


def test_equal_rows_have_one_map_too(rng):
    # Seven equal rows apart from all others: ARPACK restarts from a random vector there.
    rows = np.abs(rng.normal(size=(90, 6))).astype(np.float32)
    rows[:7] = -1
    first, again = (maps.umap_map(rows, 5, 0.1, 3, 2, 20) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_maps_repeat_themselves(inputs):
    rows = inputs.a.decoder
    first, again = (maps.umap_map(rows, 8, 0.1, 3, 2, 20) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, maps.umap_map(rows, 8, 0.1, 4, 2, 20))


def test_words_in_the_text_are_counted(inputs, orders):
    assert [len(rows) for rows in spoken(inputs, orders["days"])] == [50, 0, 0, 0, 0, 0, 0]
    table = word_table(inputs, orders, 3)
    assert np.count_nonzero(table["enough"]) == 2
    assert table.query("word == 'W0'")["n_positions"].to_list() == [50, 50]


def test_figures_and_summaries(tables, tmp_path):
    for name, table in tables.items():
        write_table(tmp_path / "tables" / "pair" / f"{name}.parquet", table)
    metrics = map_metrics(tmp_path / "tables")
    assert metrics["pair_cca_decoder"]["cca"] == pytest.approx(1, abs=1e-6)
    assert metrics["pair_a_days_sentences_activations"]["circle_r2"] > 0.95
    assert metrics["pair_a_days_text_reconstruction"] == {"layer": 0, "tested": 0}
    assert metrics["pair_words_days"] == {"n_words": 7, "n_enough": 1, "n_positions": 50}
    assert metrics["pair_a_decoder_cosine_graph"]["n_clusters"] == 16
    assert metrics["pair_b_most_irreducible"]["mixture_null"] > 0
    with styled():
        drawn = {
            "map": figures.linked_maps(tables["points"]),
            "circles": figures.circles({"pair": tables}),
            "clusters": figures.clusterings({"pair": tables}),
            "shapes": figures.shapes({"pair": tables}),
            "words": figures.alike({"pair": tables}),
        }
    assert {name: len(figure.axes) for name, figure in drawn.items()} == {
        "map": 4, "circles": 3, "clusters": 3, "shapes": 1, "words": 2,
    }  # fmt: skip
    # Of the words, of both models, and of circle and line.
    assert [len(axes.texts) for axes in drawn["circles"].axes] == [7, 7, 0]


def test_a_pair_of_two_saes_of_one_model_shows_it_once(tables):
    one = {
        name: table.assign(model="m") if "model" in table else table
        for name, table in tables.items()
    }
    with styled():
        drawn = figures.circles({"pair": one}).axes
    assert [len(axes.texts) for axes in drawn] == [7, 0]
    assert len(drawn[-1].get_yticks()) == 1


def test_a_profile_without_parts_has_the_metrics_of_circles_alone(inputs, orders, tmp_path):
    for name, table in study("pair", inputs, orders, SETTINGS, []).items():
        write_table(tmp_path / "pair" / f"{name}.parquet", table)
    assert set(map_metrics(tmp_path)) == {
        "pair_a_days_sentences_activations", "pair_b_days_sentences_activations",
    }  # fmt: skip


def test_activations_are_those_at_the_last_token_of_the_word(tiny_model, bridge):
    cycle = Cycle(
        closed=False, words=["sun", "dog", "duck", "frog"], beginnings=["The", "Tom saw a"]
    )
    found = read_words(bridge, tiny_model, Signs(), HOOKS[1], cycle, 64)
    assert found.activations.shape == (2, 4, 16)
    tokenizer, bos = load_tokenizer(tiny_model)
    tokens = tokenize(["Tom saw a duck"], [0], tokenizer, bos, 40)
    alone = hook_rows(bridge, tokens, [HOOKS[1]], 64).activations[HOOKS[1]][-1]
    np.testing.assert_allclose(found.activations[1, 2], alone.numpy(), atol=1e-5)
    np.testing.assert_allclose(
        found.features[6].toarray()[0], Signs().encode(alone[None])[0].numpy(), atol=1e-5
    )
    pieces = [tokenizer.encode(text).ids for text in ("The", "The duck")]
    assert found.n_tokens[2] == len(pieces[1]) - len(pieces[0])


def test_words_and_beginnings_of_the_repository():
    orders = load_section(ROOT / "data" / "cycles.yaml", Cycles).root
    assert {name: len(cycle.words) for name, cycle in orders.items()} == {
        "weekdays": 7, "months": 12, "numbers": 12,
    }  # fmt: skip


def test_a_word_named_twice_is_refused(tmp_path):
    path = tmp_path / "cycles.yaml"
    path.write_text("days:\n  closed: true\n  words: [a, b, c, a]\n  beginnings: [x, y]\n")
    with pytest.raises(InputError, match="words names one twice"):
        load_section(path, Cycles)
