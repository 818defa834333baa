"""Summary of the study of hierarchical concepts: id -> {metric: value}."""

from pathlib import Path

from universality.io import table_paths
from universality.summaries.common import Metrics, numbers_of, of_those, table_rows

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
        "graphs": count_metrics,
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
            for row in table_rows(path.with_name("polytopes.parquet"), finite=False):
                key = f"{graph}_polytope_{row['polytope']}_{row['statistic']}"
                metrics[key] = numbers_of(row)
        if path.with_name("interventions.parquet").exists():
            for row in table_rows(path.with_name("interventions.parquet"), finite=False):
                names = "_".join(row[end].partition(".")[0] for end in ("parent", "child"))
                metrics[f"{graph}_intervention_{names}_{row['contrast']}"] = numbers_of(row)
    return metrics


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
