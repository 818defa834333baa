"""The study of one pair of layers: every table of maps, clusters, shapes and ordered words."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from universality.core import maps
from universality.core.randomness import derive_seed, generator
from universality.core.shared_tokens import top_tokens
from universality.studies.saes.study.neurons import matched_directions
from universality.studies.spaces.geometry import clusters, planes
from universality.studies.spaces.geometry.files import MapInputs, Side, word_table
from universality.studies.spaces.geometry.orders import order_tables
from universality.studies.spaces.geometry.pairs import coordinate_table
from universality.studies.spaces.params.feature_maps import Cycle, Maps, Part

SPACES = ("decoder", "activations")


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
    key: str,
    inputs: MapInputs,
    orders: Mapping[str, Cycle],
    settings: Maps,
    parts: Collection[Part],
) -> dict[str, pd.DataFrame]:
    """Return the tables of map `key`, by name: words of known orders, and what `parts` asks for."""
    both = (("a", inputs.a), ("b", inputs.b))
    graphs = None
    if {"clusters", "shapes", "words"} & set(parts):
        graphs = [_graph(key, name, side, settings) for name, side in both]
    of_words = [graph.labels for graph in graphs] if graphs and "words" in parts else None
    found = order_tables(key, inputs, of_words, orders, settings)
    if "words" in parts:
        found["words"] = word_table(inputs, orders, settings.min_positions)
    if graphs and "shapes" in parts:
        shapes = [
            _shapes(key, name, side, graph.labels, inputs.tokens, settings)
            for (name, side), graph in zip(both, graphs, strict=True)
        ]
        found["shapes"] = pd.concat(shapes, ignore_index=True)
    if {"points", "cca", "clusters"} & set(parts):
        found |= _maps(key, inputs, graphs if "clusters" in parts else None, settings, parts)
    return found


def _maps(
    key: str, inputs: MapInputs, graphs: "list[Graph] | None", settings: Maps,
    parts: Collection[Part],
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Return the tables of the maps of features: points, cca, clusters and summary."""
    pairs = _some_pairs(key, inputs.pairs, settings)
    sides = [
        _mapped(key, name, side, pairs[:, column], settings)
        for column, (name, side) in enumerate((("a", inputs.a), ("b", inputs.b)))
    ]
    places = np.stack(
        [np.searchsorted(one.chosen, pairs[:, i]) for i, one in enumerate(sides)], axis=1
    )
    spaces = SPACES if {"points", "clusters"} & set(parts) else ("decoder",)
    flat = {
        (side.name, space): _umap(side.rows[space], settings, key, side.name, space)
        for side in sides
        for space in spaces
    }
    labels: dict[tuple[str, str], np.ndarray] = {}
    found: dict[str, pd.DataFrame] = {}
    if graphs is not None:
        labels = {
            (side.name, space): _labels(side.rows[space], settings, key, side.name, space)
            for side in sides
            for space in SPACES
        }
        found |= _clustered(key, sides, places, graphs, labels, inputs.tokens, settings)
    if "cca" in parts:
        found["cca"] = coordinate_table(key, [one.rows for one in sides], places, flat, settings)
    if "points" in parts:
        found["points"] = _points(sides, places, flat, labels, inputs.tokens)
    return found


def _points(
    sides: list[Mapped], places: np.ndarray, flat: Mapping[tuple[str, str], np.ndarray],
    labels: Mapping[tuple[str, str], np.ndarray], names: list[str],
) -> pd.DataFrame:  # fmt: skip
    """Return a row per feature and space: its place on the map, its pair and its cluster."""
    tables = []
    for (name, space), xy in flat.items():
        side = sides["ab".index(name)]
        pair = np.full(len(side.chosen), -1)
        pair[places[:, "ab".index(name)]] = np.arange(len(places))
        table = pd.DataFrame(
            {
                "side": name, "model": side.side.name, "layer": side.side.layer, "space": space,
                "feature": side.chosen, "x": xy[:, 0], "y": xy[:, 1], "pair": pair,
                "top_token": [names[i] for i in side.token],
            }
        )  # fmt: skip
        if labels:
            table["cluster"] = labels[name, space]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


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
        "activations": maps.of_cosines(_activation_cosines(features)),
    }
    return Mapped(name, side, chosen, _named(features, side.token, settings.n_top), rows)


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Return the rows of `x` `(n, d)` at unit norm."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


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
    labels: Mapping[tuple[str, str], np.ndarray], names: list[str], settings: Maps,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Return clusters and summary: what the clusters are, and what there is to them."""
    tables, summary = [], []
    for side, graph in zip(sides, graphs, strict=True):
        for space in SPACES:
            where = side.name, space
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
        "clusters": pd.concat(tables, ignore_index=True),
        "summary": pd.DataFrame(summary),
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


def _shapes(
    key: str, name: str, side: Side, labels: np.ndarray, names: list[str], settings: Maps
) -> pd.DataFrame:
    """Return a row per graph cluster and plane: is what its features write irreducible?

    The points are the positions where one of them fires, reconstructed from them alone.
    """
    alive, rows = side.alive, []
    columns = sp.csc_matrix(side.features)
    for cluster in range(min(int(labels.max()) + 1, settings.n_shapes)):
        members = alive[labels == cluster]
        active = columns[:, members].tocsr()
        at = np.flatnonzero(np.diff(active.indptr))
        draw = generator(settings.seed, "shape", key, name, cluster)
        n = len(at)
        if n > settings.shape_positions:
            at = np.sort(draw.choice(at, settings.shape_positions, replace=False))
        x = np.asarray(active[at] @ side.decoder[members])
        scores = planes.principal_scores(x, settings.n_planes + 1)
        tokens = np.bincount(side.token[at])
        best = [names[i] for i in np.argsort(-tokens, kind="stable")[:3] if tokens[i]]
        total = np.sum((x - x.mean(axis=0)) ** 2)
        for first in range(settings.n_planes):
            plane = scores[:, first : first + 2]
            # Planes of a cluster of few features are flat: there is nothing to test.
            if not np.ptp(plane, axis=0).min() > 1e-6 * np.abs(scores).max():
                break
            rows.append(
                {
                    "side": name, "model": side.name, "cluster": cluster,
                    "size": len(members), "n_positions": n, "n_points": len(at),
                    "plane": first + 1, "top_tokens": " ".join(best),
                    "variance_share": float(np.sum(plane**2) / total),
                }
                | planes.plane_row(
                    plane, settings.epsilon, settings.n_angles, settings.n_null, draw
                )
            )  # fmt: skip
    return pd.DataFrame(rows)
