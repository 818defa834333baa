"""Words of a known order in both models of a pair: the tables of every test, made or not."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from universality.core.nulls import with_q
from universality.core.randomness import generator
from universality.studies.spaces.geometry import clusters, cycles, planes
from universality.studies.spaces.geometry.files import MapInputs, Side, spoken
from universality.studies.spaces.params.feature_maps import Cycle, Maps


def order_tables(
    key: str, inputs: MapInputs, graphs: list[np.ndarray] | None, orders: Mapping[str, Cycle],
    settings: Maps,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Return `orders`, `orders_across` and `order_points`: are words on a circle, in both alike?

    Every order is tested on the activations in sentences made for it; with the `graphs` of both
    sides (the cluster of every alive feature) also on what the SAE, and one cluster of features,
    make of these and of the shared text, and the two models are compared. A test that cannot be
    made has a row with `tested` false and why.
    """
    rows, across, drawn = [], [], []
    for order, cycle in orders.items():
        for source in ("sentences",) if graphs is None else ("sentences", "text"):
            found = [
                _spaces(inputs, side, graph, order, cycle, source, settings)
                for side, graph in zip((inputs.a, inputs.b), graphs or (None, None), strict=True)
            ]
            about = {"order": order, "closed": cycle.closed, "source": source}
            for name, side, spaces in zip("ab", (inputs.a, inputs.b), found, strict=True):
                for space, (points, why) in spaces.items():
                    who = {"side": name, "model": side.name, "layer": side.layer, "space": space}
                    rows.append(
                        about | who | _tested(points, why, settings, key, name, order, source)
                    )
                    if points is not None:
                        drawn.append(_plane_points(about | who, points, cycle, settings))
            for space in found[0] if graphs is not None else ():
                (a, why_a), (b, why_b) = (spaces[space] for spaces in found)
                row: dict[str, Any] = about | {"space": space, "tested": False}
                row["why_not"] = why_a or why_b
                if a is not None and b is not None:
                    draw = generator(settings.seed, "alike", key, order, source)
                    row |= {"tested": True, "n_words": a.shape[1], "n_sentences": len(a)}
                    row |= cycles.alike_row(a, b, settings.n_permutations, draw)
                across.append(row)
    tables = {
        "orders": with_q(pd.DataFrame(rows), "circle_r2_p", "line_r2_p"),
        "order_points": pd.concat(drawn, ignore_index=True),
    }
    if across:
        tables["orders_across"] = with_q(pd.DataFrame(across), "rsa_p")
    return tables


def _spaces(
    inputs: MapInputs, side: Side, graph: np.ndarray | None, order: str, cycle: Cycle, source: str,
    settings: Maps,
) -> dict[str, tuple[np.ndarray | None, str]]:  # fmt: skip
    """Return space -> points `(s, k, d)` of the words, or None and why there are none."""
    k = len(cycle.words)
    if source == "sentences":
        words = side.words[order]
        spaces: dict[str, tuple[np.ndarray | None, str]] = {"activations": (words.activations, "")}
        if graph is None:
            return spaces
        features = words.features
    else:
        positions = spoken(inputs, cycle)
        n = min(map(len, positions))
        if n < settings.min_positions:
            short = sum(len(rows) < settings.min_positions for rows in positions)
            why = f"{short} of {k} words at fewer than {settings.min_positions} positions"
            return dict.fromkeys(("reconstruction", "cluster"), (None, why))
        # The earliest of each, as many of one word as of another.
        features = side.features[np.stack([rows[:n] for rows in positions], axis=1).ravel()]
        spaces = {}
    spaces["reconstruction"] = features @ side.decoder, ""
    assert graph is not None  # the text is read for the sake of clusters
    members = _cluster_of(features, side, graph)
    written = features[:, members] @ side.decoder[members]
    varies = len(members) and np.ptp(written, axis=0).max() > 0
    spaces["cluster"] = (
        (written, "") if varies else (None, "no graph cluster fires more on the words")
    )
    return {
        space: (None if x is None else np.asarray(x).reshape(-1, k, x.shape[-1]), why)
        for space, (x, why) in spaces.items()
    }


def _cluster_of(features: Any, side: Side, graph: np.ndarray) -> np.ndarray:
    """Return the features of the graph cluster that fires most on some rows beyond its mean.

    Which row is which word plays no part, so that the order of the words is not selected for.
    """
    means = [np.asarray(x.mean(axis=0)).ravel()[side.alive] for x in (features, side.features)]
    inside = graph != clusters.NOISE
    if not inside.any():
        return side.alive[:0]
    excess = np.bincount(graph[inside], weights=(means[0] - means[1])[inside])
    return side.alive[graph == excess.argmax()] if excess.max() > 0 else side.alive[:0]


def _tested(points: np.ndarray | None, why: str, settings: Maps, *names: str) -> dict[str, Any]:
    if points is None:
        return {"tested": False, "why_not": why}
    draw = generator(settings.seed, "order", *names)
    row = cycles.order_row(points, settings.n_planes, settings.n_permutations, draw)
    sizes = {"n_words": points.shape[1], "n_sentences": len(points)}
    return {"tested": True, "why_not": ""} | sizes | row


def _plane_points(
    about: dict[str, Any], points: np.ndarray, cycle: Cycle, settings: Maps
) -> pd.DataFrame:
    """Return the words' means on the plane that is most like a circle in their order."""
    means = points.mean(axis=0)
    plane = cycles.best_plane(means, settings.n_planes)
    scores = planes.principal_scores(means, settings.n_planes + 1)[:, plane : plane + 2]
    table = pd.DataFrame({"word": cycle.words, "x": scores[:, 0], "y": scores[:, 1]})
    return table.assign(**about, plane=plane + 1)
