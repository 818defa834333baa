"""Summary of the matching study, from its tables: id -> {metric: value}."""

from collections.abc import Iterator
from pathlib import Path

from universality.core.io import table_paths
from universality.core.summaries import Metrics, numbers_of, of_those, table_rows

BRICKEN_2023: Metrics = {
    "bricken_2023_features": {"published_median_r": 0.72},
    "bricken_2023_neurons": {"published_median_r": 0.46},
}
"""Median best-match correlation between two seeds' features (dictionaries of 1-layer models) and
between their neurons (Bricken et al. 2023, Towards Monosemanticity)."""

SONG_2025: Metrics = {"song_2025_topk": {"published_mean_cosine": 0.80}}
"""PW-MCC of TopK SAEs, the mean decoder cosine of one-to-one pairs of SAE seeds (Song et al. 2025,
arXiv 2505.20254), on other models."""

PAULO_BELROSE_2025: Metrics = {
    "paulo_belrose_2025_llama3_8b_131k": {"published_share_above": 0.30},
    "paulo_belrose_2025_pythia_160m_32k": {"published_share_above": 0.42},
}
"""Features that two SAE seeds of one LM share (arXiv 2501.16615), on other models."""


def all_matching_metrics(tables: Path) -> Metrics:
    """Return the summary of the whole study of matching."""
    parts = {
        "pairs": matching_metrics,
        "neurons": neuron_metrics,
        "texts": text_metrics,
        "grids": grid_metrics,
        "progress": progress_metrics,
        "cards": card_metrics,
        "agreement": agreement_metrics,
    }
    return dict(BRICKEN_2023) | of_those(tables, parts)


def matching_metrics(directory: Path) -> Metrics:
    """Return the summary of every pair; ids say where the layer of B was searched for.

    Ways of pairing (`_pairing_`), filters, the stricter null (`_meeting_documents`), concepts and
    what is without filters are pooled over the layers of A, each with its best layer of B. Subsets
    of the positions (`_tokens_`, `_topic_`) are of one pair of layers.
    """
    metrics: Metrics = {}
    for path in table_paths(directory, "*/headline.parquet"):
        pair = path.parent.name
        metrics |= _headline(pair, path)
        for name, key in (("pairings", "pairing"), ("filters", "filter"), ("meeting", None)):
            for row in table_rows(path.with_name(f"{name}.parquet")):
                if row["layer_a"] < 0:
                    ending = f"{name.removesuffix('s')}_{row[key]}" if key else "meeting_documents"
                    metrics[f"{pair}_{ending}"] = numbers_of(row)
        for row in table_rows(path.with_name("concepts.parquet"), finite=False):
            metrics[f"{pair}_concept_{row['concept']}"] = numbers_of(row)
        for name, key in (("unfiltered", "unfiltered_{variant}"), ("subsets", "{kind}_{concept}")):
            if (part := path.with_name(f"{name}.parquet")).exists():  # the profile decides
                for row in table_rows(part, finite=False):
                    metrics[f"{pair}_{key.format(**row)}"] = numbers_of(row)
    return metrics


def _headline(pair: str, path: Path) -> Metrics:
    metrics: Metrics = {}
    for row in table_rows(path):
        same = row.pop("selection") == "same_layer"
        layer_a, layer_b, n_searched = row["layer_a"], row["layer_b"], row["n_layers_searched"]
        how = "same_layer" if same else f"best_of_{n_searched}_layers"
        if layer_a < 0:
            del row["layer_a"], row["layer_b"]
            metrics[f"{pair}_{how}"] = row
        elif not same:
            metrics[f"{pair}_layer_{layer_a}_{how}"] = row | {"layer_b": layer_b}
    return metrics


def neuron_metrics(directory: Path) -> Metrics:
    """Return neurons against neurons of the same layer, all layers pooled."""
    pooled = _pooled(directory, "*/headline.parquet")
    return {f"neurons_{path.parent.name}": numbers_of(row) for path, row in pooled}


def text_metrics(directory: Path) -> Metrics:
    """Return how partners found on one text do on others, all layers pooled."""
    pooled = _pooled(directory, "*.parquet", finite=False)
    return {f"{path.stem}_on_{row['text']}": numbers_of(row) for path, row in pooled}


def _pooled(directory: Path, pattern: str, finite: bool = True) -> Iterator[tuple[Path, dict]]:
    """Yield the rows over all layers of A, with the tables that they are from."""
    for path in table_paths(directory, pattern):
        for row in table_rows(path, finite):
            if row["layer_a"] < 0:
                yield path, row


def grid_metrics(directory: Path) -> Metrics:
    """Return what SAEs of every recipe share."""
    from universality.core.hooks import hook_id

    metrics: Metrics = {}
    for path in table_paths(directory, "*/recipes.parquet"):
        for row in table_rows(path, finite=False):
            recipe = f"{row['family']}_{row['sparsity']:g}_x{row['expansion']}"
            where = f"{path.parent.name}_{recipe}_{hook_id(row['hook'])}"
            metrics[f"{where}_in_{row['partner']}"] = numbers_of(row)
    return metrics


def progress_metrics(directory: Path) -> Metrics:
    """Return what is shared along the training of two LMs."""
    from universality.core.hooks import hook_id

    metrics: Metrics = {}
    for path in table_paths(directory, "*/shares.parquet"):
        training = f"training_{path.parent.name}"
        for row in table_rows(path):
            where = f"{row['comparison']}_{hook_id(row['hook'])}_at_{row['share']:g}"
            metrics[f"{training}_{where}"] = numbers_of(row)
        for row in table_rows(path.with_name("losses.parquet")):
            metrics[f"{training}_loss_lm_{row['lm']}_at_{row['share']:g}"] = numbers_of(row)
    return metrics


def card_metrics(directory: Path) -> Metrics:
    """Return which of matched features is the more general, all layers pooled."""
    pooled = _pooled(directory, "*/summary.parquet", finite=False)
    return {
        f"{path.parent.name}_asymmetry_{row['subset']}": numbers_of(row) for path, row in pooled
    }


def agreement_metrics(directory: Path) -> Metrics:
    """Return how features that fire together agree in what they write, and SAEs in weights."""
    metrics = dict(PAULO_BELROSE_2025) | dict(SONG_2025)
    for path in table_paths(directory, "*/summary.parquet"):
        for row in table_rows(path, finite=False):
            layer_a = row.pop("layer_a")
            if layer_a < 0:
                del row["layer_b"]
            where = "agreement" if layer_a < 0 else f"agreement_layer_{layer_a}"
            metrics[f"{path.parent.name}_{where}"] = numbers_of(row)
    for path in sorted(directory.glob("*/weights.parquet")):
        for row in table_rows(path):
            if row.pop("layer") < 0:
                key = f"{path.parent.name}_weights_{row['pairing']}_{row['measure']}"
                metrics[key] = numbers_of(row)
        for row in table_rows(path.with_name("weights_and_activations.parquet"), finite=False):
            if row.pop("layer") < 0:
                metrics[f"{path.parent.name}_weights_and_activations"] = numbers_of(row)
    return metrics
