"""Summary of the study of spaces, from its tables: id -> {metric: value}."""

from pathlib import Path
from typing import Any

import numpy as np

from universality.core.io import table_paths
from universality.core.summaries import Metrics, numbers_of, of_those, table_rows
from universality.studies.spaces.layers_summary import identification_metrics, stitching_metrics
from universality.studies.spaces.maps_summary import map_metrics

LAN_2024: dict[str, dict[str, Any]] = {
    "pythia_70m_l2_160m_l5": {
        "name": "Pythia 70m and 160m, layers 2, 5",
        "published_svcca": 0.678, "published_null": 0.011, "published_rsa": 0.207,
        "published_n": 4055,
    },
    "pythia_70m_l3_160m_l5": {
        "name": "Pythia 70m and 160m, layers 3, 5",
        "published_svcca": 0.661, "published_null": 0.014, "published_rsa": 0.200,
        "published_n": 4793,
    },
    "pythia_70m_l5_160m_l10": {
        "name": "Pythia 70m and 160m, layers 5, 10",
        "published_svcca": 0.541, "published_null": 0.010, "published_rsa": 0.107,
        "published_n": 3354,
    },
    "gemma_1_l12_gemma_2_l18": {
        "name": "Gemma 1 and 2, layers 12, 18",
        "published_svcca": 0.584, "published_rsa": 0.092, "published_n": 3239,
    },
}  # fmt: skip
"""Stored outputs of the notebooks of Lan et al. 2024 (arXiv 2410.06981), one to one, on other
models: SVCCA (which keeps one component), RSA and pairs."""
MOST_Q = 0.05
"""The share of false discoveries up to which something counts as above its null."""


def all_similarity_metrics(tables: Path) -> Metrics:
    """Return the summary of the whole study of spaces."""
    parts = {
        "spaces": space_metrics,
        "decoders": decoder_metrics,
        "audit": audit_metrics,
        "identification": identification_metrics,
        "stitching": stitching_metrics,
        "maps": map_metrics,
    }
    return {f"lan_2024_{pair}": numbers_of(row) for pair, row in LAN_2024.items()} | of_those(
        tables, parts
    )


def space_metrics(directory: Path) -> Metrics:
    """Return every measure at the layers it finds most alike, and concepts.

    The highest of a map is chosen, and so is that of `null_high`: 95% of maps of permuted documents
    have a lower one. p is that of the one pair of layers, q what is left of it over the map. Over
    all pairs of models (`all_pairs_SPACE_MEASURE`): the least low end of an interval, and the most
    of a null.
    """
    metrics: Metrics = {}
    for path in table_paths(directory, "*/spaces.parquet"):
        pair = path.parent.name
        for row in _highest(path, "space", "measure"):
            of = f"{row['space']}_{row['measure']}"
            metrics[f"{pair}_{of}"] = numbers_of(row)
            if {"low", "null_high"} <= row.keys():
                over = metrics.setdefault(f"all_pairs_{of}", {})
                over["least_low"] = min(over.get("least_low", np.inf), row["low"])
                over["most_null_high"] = max(over.get("most_null_high", -np.inf), row["null_high"])
        for row in table_rows(path.with_name("inside.parquet"), finite=False):
            if row["measure"] == "linear_cka_unbiased" and "value" in row:
                metrics[f"{pair}_inside_{row['concept']}"] = numbers_of(row)
        for row in _highest(path.with_name("relations.parquet"), "space"):
            metrics[f"{pair}_{row['space']}_concept_to_concept"] = numbers_of(row)
    return metrics


def _highest(path: Path, *keys: str) -> list[dict]:
    """Return, of the rows of a table that are alike in `keys`, the one with the highest value."""
    best: dict[tuple, dict] = {}
    for row in table_rows(path, finite=False):
        key = tuple(row[name] for name in keys)
        if "value" in row and (key not in best or row["value"] > best[key]["value"]):
            best[key] = row
    return list(best.values())


def decoder_metrics(directory: Path) -> Metrics:
    """Return the decoder rows of every pairing, at the pair of layers that is most alike.

    Of each measure also over all pairings (`PAIR_decoders_MEASURE`): in how many it is above its
    null at q < .05, its highest and its lowest value.
    """
    metrics: Metrics = {}
    for path in table_paths(directory, "*/decoders.parquet"):
        pair = path.parent.name
        by_measure: dict[str, list[dict]] = {}
        for row in table_rows(path, finite=False):
            if row.get("measure") and row["best"]:
                where = f"{pair}_decoders_{row['pairing']}_layer_{row['layer_a']}"
                metrics[f"{where}_{row['measure']}"] = numbers_of(row)
                by_measure.setdefault(row["measure"], []).append(row)
        for measure, rows in by_measure.items():
            values = [row["value"] for row in rows]
            metrics[f"{pair}_decoders_{measure}"] = {
                "n_pairings": len(rows),
                "n_above_null": sum(row["q"] < MOST_Q for row in rows),
                "highest": max(values),
                "lowest": min(values),
            }
        for row in table_rows(path.with_name("concepts.parquet"), finite=False):
            if row.get("measure") in ("rsa", "svcca_k1_as_published"):
                where = f"{pair}_decoders_concept_{row['concept']}"
                metrics[f"{where}_{row['measure']}"] = numbers_of(row)
    return metrics


def audit_metrics(directory: Path) -> Metrics:
    """Return the audit of the published SVCCA: on random numbers, as released and corrected."""
    metrics: Metrics = {
        f"svcca_of_random_n_{row['n']}": numbers_of(row)
        for row in table_rows(directory / "random.parquet")
    }
    for row in table_rows(directory / "variants.parquet", finite=False):
        if row.get("measure"):
            layers = f"layers_{row['layer_a']}_{row['layer_b']}"
            key = f"audit_{layers}_{row['hook']}_hook_filter_{row['filter']}_{row['measure']}"
            metrics[key] = numbers_of(row)
    return metrics
