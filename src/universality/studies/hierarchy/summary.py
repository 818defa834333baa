"""Summary of the study of hierarchical concepts: id -> {metric: value}."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from universality.core.io import table_paths
from universality.core.summaries import Metrics, numbers_of, of_those, table_rows

PARK_2024: Metrics = {
    "published_gemma_2b": {
        "concepts": 957, "mammal_reptile_cosine": 0.198, "mammal_reptile_cosine_shuffled": 0.031,
        "plant_to_animal_parent_logits": -0.06, "plant_to_animal_parent_logits_spread": 1.22,
        "plant_to_animal_child_logits": 5.13, "plant_to_animal_child_logits_spread": 1.17,
    },
}  # fmt: skip
"""Park, Choe, Jiang & Veitch 2024 (arXiv 2406.01506): noun concepts of Gemma-2B."""


def all_hierarchy_metrics(tables: Path) -> Metrics:
    """Return the summary of the whole study."""
    parts = {
        "counts": count_metrics,
        "vectors": claim_metrics,
        "layers": layer_metrics,
        "pairs": pair_metrics,
    }
    return {key: dict(row) for key, row in PARK_2024.items()} | of_those(tables, parts)


def count_metrics(directory: Path) -> Metrics:
    """Return what of WordNet a tokenizer has single tokens for."""
    metrics: Metrics = {}
    for path in table_paths(directory, "*/counts.parquet"):
        for row in table_rows(path):
            metrics[f"counts_{path.parent.name}_above_{row['min_tokens']}"] = numbers_of(row)
    return metrics


def claim_metrics(directory: Path) -> Metrics:
    """Return every claim about the unembedding under every ablation, polytopes, interventions."""
    metrics: Metrics = {}
    for path in table_paths(directory, "*/summary.parquet"):
        graph = path.parent.name
        for row in table_rows(path, finite=False):
            how = f"{row['estimator']}{'' if row.pop('causal') else '_euclidean'}"
            metrics[f"{graph}_{how}_{row['statistic']}"] = numbers_of(row)
        if path.with_name("polytopes.parquet").exists():
            rows = table_rows(path.with_name("polytopes.parquet"), finite=False)
            for row in rows:
                key = f"{graph}_polytope_{row['polytope']}_{row['statistic']}"
                metrics[key] = numbers_of(row)
            metrics[f"{graph}_polytopes"] = polytope_counts(rows)
        if path.with_name("interventions.parquet").exists():
            rows = table_rows(path.with_name("interventions.parquet"), finite=False)
            for row in rows:
                names = "_".join(row[end].partition(".")[0] for end in ("parent", "child"))
                metrics[f"{graph}_intervention_{names}_{row['contrast']}"] = numbers_of(row)
            metrics[f"{graph}_interventions"] = intervention_counts(rows)
    return metrics


def polytope_counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return how many polytopes are beyond random parts of their parent, and their mean edges.

    `distinct`: words are nearest to their own corner more often, by the interval, than in any draw;
    `regular`: edges vary less than in any draw. `edges` is the mean variation of their edges with
    the least and the most, and `edges_random` that of random parts.
    """
    own = {
        name: [row for row in rows if row["statistic"] == name]
        for name in ("nearest_corner", "edge_variation")
    }
    edges = [row["value"] for row in own["edge_variation"]]
    return {
        "n": len(edges),
        "distinct": sum(row["low"] > row["random_high"] for row in own["nearest_corner"]),
        "regular": sum(row["high"] < row["random_low"] for row in own["edge_variation"]),
        "edges": float(np.mean(edges)),
        "edges_min": min(edges),
        "edges_max": max(edges),
        "edges_random": float(np.mean([row["random"] for row in own["edge_variation"]])),
    }


def intervention_counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return in how many pairs an intervention does what is claimed, and its mean effects.

    `child_rises`: the child's words rise, by the interval, beyond every draw of both controls;
    `parent_falls`: the parent's others fall; `parent_beyond_random`: they do so by more than with
    any random vector. `child` and `parent` are means over pairs, with the least and the most;
    `parent_random` is that of random vectors, over all draws.
    """
    child, parent = (
        [row for row in rows if row["contrast"] == contrast] for contrast in ("child", "parent")
    )
    found: dict[str, float] = {
        "n": len(child),
        "child_rises": sum(
            row["low"] > max(row["nested_high"], row["random_high"]) for row in child
        ),
        "parent_falls": sum(row["high"] < 0 for row in parent),
        "parent_beyond_random": sum(row["high"] < row["random_low"] for row in parent),
        "parent_random": float(np.mean([row["random"] for row in parent])),
        "parent_random_low": min(row["random_low"] for row in parent),
        "parent_random_high": max(row["random_high"] for row in parent),
    }
    for name, some in (("child", child), ("parent", parent)):
        values = [row["value"] for row in some]
        found |= {name: float(np.mean(values)), f"{name}_min": min(values)}
        found[f"{name}_max"] = max(values)
    return found


def layer_metrics(directory: Path) -> Metrics:
    """Return the claims in activations of single tokens by layer, and of SAE features."""
    metrics: Metrics = {}
    for path in table_paths(directory, "*/summary.parquet"):
        model = path.parent.name
        for row in table_rows(path, finite=False):
            form = row["form"].replace(" ", "_")
            key = f"{model}_{form}_layer_{row['layer']}_{row['estimator']}_{row['statistic']}"
            metrics[key] = numbers_of(row)
        if path.with_name("features.parquet").exists():
            for row in table_rows(path.with_name("features.parquet"), finite=False):
                metrics[f"{model}_{row['sae']}_{row['statistic']}"] = numbers_of(row)
    return metrics


def pair_metrics(directory: Path) -> Metrics:
    """Return how alike the geometry of concepts is in two models."""
    return {
        f"{path.parent.name}_rsa_{row['values']}_{row['pairs']}": numbers_of(row)
        for path in table_paths(directory, "*/rsa.parquet")
        for row in table_rows(path, finite=False)
    }
