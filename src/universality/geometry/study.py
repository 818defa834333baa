"""The study of one pair of layers: every table of maps, clusters, shapes and ordered words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from universality.geometry import clusters, maps, planes
from universality.geometry.files import MapInputs, Side, word_table
from universality.geometry.orders import order_tables
from universality.geometry.pairs import coordinate_table
from universality.matching.tokens import top_tokens
from universality.params.feature_maps import Cycle, Maps
from universality.randomness import derive_seed, generator
from universality.saes.study.neurons import matched_directions

SPACES = ("decoder", "encoder", "activations")


@dataclass(frozen=True)
class Mapped:
    """The features of one side that are on the maps."""

    name: str
    side: Side
    chosen: np.ndarray
    """Their columns, ascending, `(m,)`."""
    token: np.ndarray
    """Number of each one's top token, `(m,)`."""
    rows: dict[str, np.ndarray]
    """Space -> one row per feature."""


def study(
    key: str, inputs: MapInputs, orders: Mapping[str, Cycle], settings: Maps
) -> dict[str, pd.DataFrame]:
    """Return the tables of map `key`, by name."""
    pairs = _some_pairs(key, inputs.pairs, settings)
    sides = [
        _mapped(key, name, side, pairs[:, column], settings)
        for column, (name, side) in enumerate((("a", inputs.a), ("b", inputs.b)))
    ]
    places = np.stack(
        [np.searchsorted(one.chosen, pairs[:, i]) for i, one in enumerate(sides)], axis=1
    )
    graphs = [_graph(key, one.name, one.side, settings) for one in sides]
    found = _clustered(key, sides, places, graphs, inputs.tokens, settings)
    return found | {
        "spectrum": pd.concat([_spectra(key, one, settings) for one in sides], ignore_index=True),
        "shapes": pd.concat(
            [
                _shapes(key, one, graph.labels, inputs.tokens, settings)
                for one, graph in zip(sides, graphs, strict=True)
            ],
            ignore_index=True,
        ),
        "words": word_table(inputs, orders, settings.min_positions),
        **order_tables(key, inputs, [graph.labels for graph in graphs], orders, settings),
    }


def _some_pairs(key: str, pairs: np.ndarray, settings: Maps) -> np.ndarray:
    if len(pairs) <= settings.max_rows:
        return pairs
    chosen = generator(settings.seed, "pairs", key).choice(len(pairs), settings.max_rows, False)
    return pairs[np.sort(chosen)]


def _mapped(key: str, name: str, side: Side, matched: np.ndarray, settings: Maps) -> Mapped:
    """Take the matched features, and others at random up to `max_rows`."""
    rest = np.setdiff1d(side.alive, matched)
    n = min(len(rest), settings.max_rows - len(matched))
    drawn = generator(settings.seed, "rows", key, name).choice(rest, n, replace=False)
    chosen = np.sort(np.concatenate([matched, drawn]).astype(np.int64))
    features = sp.csc_matrix(side.features)[:, chosen]
    rows = {
        "decoder": side.decoder[chosen],
        "encoder": side.encoder[chosen],
        "activations": maps.of_cosines(_activation_cosines(features)),
    }
    return Mapped(name, side, chosen, _named(features, side.token, settings.n_top), rows)


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Return the rows of `x` `(n, d)` at unit norm."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _permuted_positions(features: Any, rng: np.random.Generator) -> Any:
    """Return sparse features `(n, m)` by column, each at as many random positions instead."""
    n = features.shape[0]
    places = [rng.choice(n, size, replace=False) for size in np.diff(features.indptr)]
    return sp.csc_matrix((features.data, np.concatenate(places), features.indptr), features.shape)


def _activation_cosines(features: Any) -> np.ndarray:
    """Return the cosines `(m, m)` of the activations of features over all positions."""
    gram = np.asarray((features.T @ features).todense(), dtype=np.float64)
    norm = np.sqrt(np.diag(gram))
    return gram / norm / norm[:, None]


def _named(features: Any, token: np.ndarray, n_top: int) -> np.ndarray:
    """Return the commonest token at each feature's strongest positions, of equals the strongest."""
    tops = top_tokens(features, token, n_top)
    counts = (tops[:, :, None] == tops[:, None, :]).sum(axis=2) * (tops >= 0)
    return tops[np.arange(len(tops)), counts.argmax(axis=1)]


@dataclass(frozen=True)
class Graph:
    """The decoder-cosine graph of all alive features of one side."""

    labels: np.ndarray
    """Cluster of each alive feature, or NOISE."""
    row: dict[str, float]
    """The least cosine of a link, and what random directions give."""


def _graph(key: str, name: str, side: Side, settings: Maps) -> Graph:
    """Cluster by the graph of decoder cosines.

    The least cosine is what a share `graph_false` of random directions of the decoder's second
    moment exceed with their nearest: a fixed one would be met by chance in few dimensions and by
    no feature in many.
    """
    unit = unit_rows(side.decoder[side.alive])
    draw = generator(settings.seed, "graph", key, name)
    calibration = matched_directions(unit, len(unit), draw)
    nearest = clusters.nearest_cosines(calibration, 1)[1]
    least = float(np.quantile(nearest, 1 - settings.graph_false))

    def labels(x: np.ndarray) -> np.ndarray:
        size = settings.min_cluster_size
        return clusters.cosine_graph(x, settings.graph_neighbours, least, size)

    noise = [labels(matched_directions(unit, len(unit), draw)) for _ in range(settings.n_graphs)]
    return Graph(
        labels(unit),
        {
            "least_cosine": least,
            "n_clusters_null": float(np.mean([found.max() + 1 for found in noise])),
            "share_clustered_null": float(np.mean([found != clusters.NOISE for found in noise])),
        },
    )


def _clustered(
    key: str, sides: list[Mapped], places: np.ndarray, graphs: list[Graph],
    names: list[str], settings: Maps,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Return points, clusters, summary and cca."""
    points, tables, summary = [], [], []
    labels: dict[tuple[str, str], np.ndarray] = {}
    flat: dict[tuple[str, str], np.ndarray] = {}
    for side, graph in zip(sides, graphs, strict=True):
        pair = np.full(len(side.chosen), -1)
        pair[places[:, 0 if side.name == "a" else 1]] = np.arange(len(places))
        for space in SPACES:
            where = side.name, space
            flat[where] = _umap(side.rows[space], settings, key, *where)
            plane = planes.principal_scores(unit_rows(side.rows[space]), 2)
            labels[where] = _labels(side.rows[space], settings, key, *where)
            points.append(
                pd.DataFrame(
                    {
                        "side": side.name, "model": side.side.name, "space": space,
                        "feature": side.chosen, "x": flat[where][:, 0], "y": flat[where][:, 1],
                        "pc1": plane[:, 0], "pc2": plane[:, 1],
                        "cluster": labels[where], "pair": pair,
                        "top_token": [names[i] for i in side.token],
                    }
                )
            )  # fmt: skip
            table, row = _judged(labels[where], side.token, names, settings, key, *where)
            if space == "decoder":
                again = _labels(side.rows[space], settings, key, *where, "again")
                draw = generator(settings.seed, "rand", key, *where)
                row |= _rand("rand_seeds", labels[where], again, settings, draw)
                row |= _of_noise(key, side, settings)
            about = {"side": side.name, "model": side.side.name, "layer": side.side.layer}
            about |= {"space": space, "method": "hdbscan_umap"}
            tables.append(table.assign(**about))
            summary.append(about | row)
        about = {"side": side.name, "model": side.side.name, "layer": side.side.layer}
        about |= {"space": "decoder", "method": "cosine_graph"}
        token = _named(
            sp.csc_matrix(side.side.features)[:, side.side.alive], side.side.token, settings.n_top
        )
        table, row = _judged(graph.labels, token, names, settings, key, side.name, "graph")
        tables.append(table.assign(**about))
        summary.append(about | row | graph.row)
    for row in summary:
        if row["method"] == "hdbscan_umap":
            across = [labels[name, row["space"]][places[:, i]] for i, name in enumerate("ab")]
            draw = generator(settings.seed, "across", key, row["space"])
            row |= _rand("rand_across", across[0], across[1], settings, draw) | {
                "n_pairs": len(places)
            }
    return {
        "points": pd.concat(points, ignore_index=True),
        "clusters": pd.concat(tables, ignore_index=True),
        "summary": pd.DataFrame(summary),
        "cca": coordinate_table(key, [one.rows for one in sides], places, flat, settings),
    }


def _umap(x: np.ndarray, settings: Maps, *names: str) -> np.ndarray:
    return maps.umap_map(
        x, settings.n_neighbors, settings.min_dist, umap_seed(settings, "map", *names),
        n_epochs=settings.n_epochs,
    )  # fmt: skip


def umap_seed(settings: Maps, *names: str) -> int:
    """Return a seed as UMAP takes it."""
    return derive_seed(settings.seed, "umap", *names) % 2**32


def _labels(x: np.ndarray, settings: Maps, *names: str) -> np.ndarray:
    """Cluster by HDBSCAN on a UMAP of `cluster_components` dimensions (Bricken et al. 2023)."""
    embedded = maps.umap_map(
        x, settings.n_neighbors, settings.cluster_min_dist, umap_seed(settings, "clusters", *names),
        settings.cluster_components, settings.n_epochs,
    )  # fmt: skip
    return clusters.hdbscan(embedded, settings.min_cluster_size)


def _judged(
    labels: np.ndarray, token: np.ndarray, names: list[str], settings: Maps, *use: str
) -> tuple[pd.DataFrame, dict[str, Any]]:
    return clusters.cluster_tables(
        labels, token, names, 3, settings.n_groups, settings.n_permutations,
        generator(settings.seed, "purity", *use),
    )  # fmt: skip


def _rand(
    name: str, a: np.ndarray, b: np.ndarray, settings: Maps, rng: np.random.Generator
) -> dict[str, float]:
    return clusters.rand_row(name, a, b, settings.n_groups, settings.n_permutations, rng)


def _of_noise(key: str, side: Mapped, settings: Maps) -> dict[str, float]:
    """Return what the same clustering makes of random directions of the decoder's second moment."""
    unit = unit_rows(side.rows["decoder"])
    draw = generator(settings.seed, "noise", key, side.name)
    noise = matched_directions(unit, len(unit), draw)
    found = [_labels(noise, settings, key, side.name, "noise", run) for run in ("first", "again")]
    return {
        "n_clusters_null": int(found[0].max()) + 1,
        "share_clustered_null": float(np.mean(found[0] != clusters.NOISE)),
        "rand_seeds_of_noise": clusters.adjusted_rand(*found),
    }


def _spectra(key: str, side: Mapped, settings: Maps) -> pd.DataFrame:
    """Return the share of variance of each component of every space, with nulls.

    Nulls: random unit vectors, and rows whose columns are permuted apart; means of `n_null` draws.
    Of activations, whose columns are positions, each feature's are permuted: what sparse features
    share by their frequency alone.
    """
    tables = []
    features = sp.csc_matrix(side.side.features)[:, side.chosen]
    for space in SPACES:
        unit = unit_rows(side.rows[space])
        draw = generator(settings.seed, "spectrum", key, side.name, space)
        random = [maps.directions(len(unit), unit.shape[1], draw) for _ in range(settings.n_null)]
        permuted = [
            maps.of_cosines(_activation_cosines(_permuted_positions(features, draw)))
            if space == "activations"
            else maps.permuted_columns(unit, draw)
            for _ in range(settings.n_null)
        ]
        n = min(settings.n_components, *unit.shape)
        low, high = maps.left_out(
            lambda kept, unit=unit: maps.participation_ratio(unit[kept]),
            len(unit),
            settings.n_groups,
        )
        table = pd.DataFrame(
            {
                "component": np.arange(1, n + 1),
                "share": maps.variance_shares(unit)[:n],
                "share_null": np.mean([maps.variance_shares(x)[:n] for x in random], axis=0),
                "share_permuted": np.mean([maps.variance_shares(x)[:n] for x in permuted], axis=0),
            }
        )
        ratio, null, other = (
            float(np.mean([maps.participation_ratio(x) for x in some]))
            for some in ([unit], random, permuted)
        )
        tables.append(
            table.assign(
                side=side.name, model=side.side.name, space=space, n=len(unit), d=unit.shape[1],
                participation_ratio=ratio, participation_ratio_low=low,
                participation_ratio_high=high, participation_ratio_null=null,
                participation_ratio_permuted=other,
            )
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def _shapes(
    key: str, side: Mapped, labels: np.ndarray, names: list[str], settings: Maps
) -> pd.DataFrame:
    """Return a row per graph cluster and plane: is what its features write irreducible?

    The points are the positions where one of them fires, reconstructed from them alone.
    """
    alive, rows = side.side.alive, []
    columns = sp.csc_matrix(side.side.features)
    for cluster in range(min(int(labels.max()) + 1, settings.n_shapes)):
        members = alive[labels == cluster]
        active = columns[:, members].tocsr()
        at = np.flatnonzero(np.diff(active.indptr))
        draw = generator(settings.seed, "shape", key, side.name, cluster)
        n = len(at)
        if n > settings.shape_positions:
            at = np.sort(draw.choice(at, settings.shape_positions, replace=False))
        x = np.asarray(active[at] @ side.side.decoder[members])
        scores = planes.principal_scores(x, settings.n_planes + 1)
        tokens = np.bincount(side.side.token[at])
        best = [names[i] for i in np.argsort(-tokens, kind="stable")[:3] if tokens[i]]
        total = np.sum((x - x.mean(axis=0)) ** 2)
        for first in range(settings.n_planes):
            plane = scores[:, first : first + 2]
            # Planes of a cluster of few features are flat: there is nothing to test.
            if not np.ptp(plane, axis=0).min() > 1e-6 * np.abs(scores).max():
                break
            rows.append(
                {
                    "side": side.name, "model": side.side.name, "cluster": cluster,
                    "size": len(members), "n_positions": n, "n_points": len(at),
                    "plane": first + 1, "top_tokens": " ".join(best),
                    "variance_share": float(np.sum(plane**2) / total),
                }
                | planes.plane_row(
                    plane, settings.epsilon, settings.n_angles, settings.n_null, draw
                )
            )  # fmt: skip
    return pd.DataFrame(rows)
