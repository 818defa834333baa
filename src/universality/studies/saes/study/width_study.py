"""The comparisons of a width sweep: SAEs of one hook that differ only in width and seed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.core.corpora import Tokens
from universality.core.intervals import mean_over_seeds
from universality.core.progress import progress
from universality.core.randomness import derive_seed, generator
from universality.core.splicing import Intervals, Outcomes, SplicedModel, encode
from universality.studies.saes.evaluation import load_sae
from universality.studies.saes.params.anatomy import Widths
from universality.studies.saes.study.widths import (
    Dictionary,
    best_match,
    insertion,
    paths,
    splitting,
    stitched,
)

Sweep = dict[tuple[int, int], Dictionary]
"""(expansion, seed) -> dictionary."""


_SAME = ["model", "family", "architecture", "sparsity", "hook", "layer", "site"]


def sweeps(members: pd.DataFrame) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Return what is the same and the SAEs (rows of `members`) of each sweep of a grid's table."""
    found: dict[tuple, list[dict]] = {}
    for row in members.to_dict("records"):
        found.setdefault(tuple(row[name] for name in _SAME), []).append(row)
    return [
        (dict(zip(_SAME, names, strict=True)), rows)
        for names, rows in found.items()
        if len({row["expansion"] for row in rows}) > 1
    ]


def pairs(sweep: Sweep) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
    """Return what is compared: kind, wide and narrow, each as (expansion, seed).

    `width`: each SAE in every narrower one of its seed. `seed`, the baseline: each SAE in the one
    of the same width and the next seed.
    """
    found = [
        ("width", wide, narrow)
        for wide in sweep
        for narrow in sweep
        if narrow[0] < wide[0] and narrow[1] == wide[1]
    ]
    for expansion in sorted({key[0] for key in sweep}):
        seeds = sorted(seed for width, seed in sweep if width == expansion)
        others = zip(seeds, seeds[1:] + seeds[:1], strict=True)
        found += [("seed", (expansion, a), (expansion, b)) for a, b in others if a != b]
    return sorted(found)


def split_table(sweep: Sweep, params: Widths) -> pd.DataFrame:
    """Return `splitting` of every pair: kind, wide, narrow, seed, seed_narrow, ..."""
    rows = []
    for kind, wide, narrow in pairs(sweep):
        a, b = sweep[wide], sweep[narrow]
        rng = generator(params.seed, "splitting", *wide, *narrow)
        numbers = splitting(
            a.decoder.rows[a.fires], b.decoder.rows[b.fires], params.threshold, rng
        )  # fmt: skip
        rows.append(_names(kind, wide, narrow) | numbers)
    return pd.DataFrame(rows)


def _names(kind: str, wide: tuple[int, int], narrow: tuple[int, int]) -> dict[str, Any]:
    return {
        "kind": kind, "wide": wide[0], "narrow": narrow[0], "seed": wide[1],
        "seed_narrow": narrow[1],
    }  # fmt: skip


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Return the means of `split_table` over seeds, with Student's 95% interval, and of its nulls.

    Pairs with one seed have no such interval and are left out.
    """
    rows = []
    for (kind, wide, narrow), group in table.groupby(["kind", "wide", "narrow"]):  # pyright: ignore
        if len(group) < 2:
            continue
        row: dict[str, Any] = {"kind": kind, "wide": wide, "narrow": narrow, "n_seeds": len(group)}
        for name in ("cosine", "found", "lost", "kept", "split"):
            within = (-1.0 if name == "cosine" else 0.0, 1.0)
            row |= mean_over_seeds(name, group[name].to_numpy(), within)
        for name in ("cosine_null", "found_null"):
            row[name] = float(np.mean(group[name].to_numpy()))
        rows.append(row)
    return pd.DataFrame(rows)


def insertion_table(sweep: Sweep, x: np.ndarray, params: Widths) -> pd.DataFrame:
    """Return `insertion` of neighbouring widths, and of other seeds of one width."""
    rows = []
    for kind, wide, narrow in _near_pairs(sweep):
        rng = generator(params.seed, "insertion", *wide, *narrow)
        numbers = insertion(sweep[narrow], sweep[wide], x, params.threshold, rng)
        rows.append(_names(kind, wide, narrow) | numbers)
    return pd.DataFrame(rows)


def _near_pairs(sweep: Sweep) -> list[tuple[str, tuple[int, int], tuple[int, int]]]:
    """Return those of `pairs` that are of one width or next in width."""
    widths = sorted({key[0] for key in sweep})
    return [
        (kind, wide, narrow)
        for kind, wide, narrow in pairs(sweep)
        if widths.index(wide[0]) - widths.index(narrow[0]) <= 1
    ]


def stitching_table(sweep: Sweep, outcomes: Outcomes, params: Widths) -> pd.DataFrame:
    """Return what the model and its activations lose along the ways from narrow to wide.

    One row per pair of neighbouring widths, path and point: path, point, progress (0 narrow, 1 the
    end of the path), n_narrow, n_wide and l0 (features in use, and active per token), and
    `Outcomes.row`, over `n_tokens`.
    """
    rows = []
    seeds = sorted({key[1] for key in sweep})[: params.stitched_seeds]
    chosen = [
        (kind, wide, narrow)
        for kind, wide, narrow in _near_pairs(sweep)
        if kind == "width" and wide[1] in seeds
    ]
    for kind, wide, narrow in progress(chosen, desc="stitching"):
        names = _names(kind, wide, narrow)
        rows += [names | row for row in _stitch(sweep[narrow], sweep[wide], outcomes, params)]
    return pd.DataFrame(rows)


def _stitch(
    narrow: Dictionary, wide: Dictionary, outcomes: Outcomes, params: Widths
) -> list[dict[str, Any]]:
    alive = np.flatnonzero(narrow.fires)
    best, cosine = best_match(wide.decoder.rows, narrow.decoder.rows[alive])
    ways = paths(
        alive[best], cosine, len(narrow.fires), params.n_points, params.threshold,
        derive_seed(params.seed, "paths"),
    )  # fmt: skip
    ends = [(one.decoder, encode(one.sae, outcomes.x)) for one in (narrow, wide)]
    rows, seen = [], {}
    for name, path in ways.items():
        for point in range(params.n_points):
            new, numbers = stitched(path, point, ends[0], ends[1])
            # The narrow SAE starts every path, the wide one ends two.
            key = tuple(used.tobytes() for used in path.kept(point))
            if key not in seen:
                seen[key] = outcomes.row(new, outcomes.losses(new))
            where = {"path": name, "point": point, "progress": point / (params.n_points - 1)}
            where["n_tokens"] = len(new)
            rows.append(where | numbers | seen[key])
    return rows


def stitching_outcomes(
    bridge: Any, tokens: Tokens, hooks: list[str], params: Widths
) -> dict[str, Outcomes]:
    """Return for every hook what becomes of the model on `tokens` when its activations change."""
    spliced = SplicedModel(bridge, tokens, hooks, params.batch_tokens)
    rng = generator(params.seed, "stitching")
    return {
        hook: Outcomes(spliced, hook, Intervals(spliced.documents, params.n_bootstrap, rng))
        for hook in hooks
    }


def sweep_tables(
    rows: list[dict[str, Any]],
    saes: Path,
    sample: np.ndarray,
    outcomes: Outcomes | None,
    params: Widths,
) -> dict[str, pd.DataFrame]:
    """Return the tables splitting, seeds, insertion and, with `outcomes`, stitching of a sweep.

    `rows` are those of `sweeps`, `saes` the directory of these SAEs, `sample` activations `(n, d)`.
    """
    x = sample.astype(np.float32)
    sweep = {
        (int(row["expansion"]), int(row["seed"])): Dictionary(load_sae(saes / row["sae"]), x)
        for row in rows
    }
    found = {"splitting": split_table(sweep, params)}
    found["seeds"] = over_seeds(found["splitting"])
    found["insertion"] = insertion_table(sweep, x, params)
    if outcomes is not None:
        found["stitching"] = stitching_table(sweep, outcomes, params)
    return found
