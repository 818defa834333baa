"""Summaries of the language models and of the study of SAEs, from their tables."""

from pathlib import Path

from universality.core.io import read_table, table_paths
from universality.core.summaries import Metrics, numbers_of, of_those, table_rows


def all_sae_metrics(tables: Path) -> Metrics:
    """Return the summary of the whole study of SAEs."""
    parts = {
        "evaluation": sae_metrics,
        "grids": grid_metrics,
        "anatomy": anatomy_metrics,
        "widths": width_metrics,
        "remedies": remedy_metrics,
        "errors": error_metrics,
        "toy": toy_metrics,
    }
    return of_those(tables, parts)


def all_model_metrics(tables: Path) -> Metrics:
    """Return the summary of the language models."""
    return of_those(tables, {"evaluation": model_metrics})


def model_metrics(directory: Path) -> Metrics:
    """Return the cross-entropy of every model on every corpus."""
    metrics: Metrics = {}
    for path in table_paths(directory, "*.parquet"):
        for row in table_rows(path):
            metrics[f"{row.pop('model')}_{row.pop('corpus')}"] = numbers_of(row)
    return metrics


LEAST_COST = 0.01
"""Nats per token that ablation must cost for a share of it to mean something."""


def sae_metrics(directory: Path) -> Metrics:
    """Return the evaluation of every SAE of every model.

    Shares of cross-entropy recovered are left out where ablation costs less than `LEAST_COST`.
    """
    metrics: Metrics = {}
    for path in table_paths(directory, "*/evaluation.parquet"):
        for row in table_rows(path):
            numbers = numbers_of(row)
            shares_of = {"zero": "ce_loss_recovered", "mean": "ce_loss_recovered_mean"}
            for ablated, shares in shares_of.items():
                if numbers[f"ce_{ablated}"] - numbers["ce"] < LEAST_COST:
                    for end in ("", "_low", "_high"):
                        del numbers[f"{shares}{end}"]
            metrics[f"{row['model']}_{row['sae']}"] = numbers
    return metrics


def grid_metrics(directory: Path) -> Metrics:
    """Return every family of SAEs at every L0 where it was compared, beside PCA (`_pca`).

    Means over seeds with t intervals (none for a single seed); PCA has as many components as the
    SAEs have active features. Ids end in the L0; those of families that are compared with the
    reference at their own L0 (see `saes.matched.against`) end in `_alone`.
    """
    from universality.core.hooks import hook_id

    metrics: Metrics = {}
    for path in table_paths(directory, "*/matched.parquet"):
        rows = table_rows(path, finite=False)
        baseline = {(row["hook"], row["l0"]): row for row in rows if row["family"] == "pca"}
        for row in rows:
            if row["family"] == "pca":
                continue
            name = f"{path.parent.name}_{row['family']}_x{row['expansion']}_{hook_id(row['hook'])}"
            pca = baseline.get((row["hook"], row["l0"]), {})
            named = {f"{key}_pca": pca[key] for key in _COMPARED if key in pca}
            metrics[f"{name}_l0_{row['l0']:g}"] = numbers_of(row) | named
    for path in sorted(directory.glob("*/against.parquet")):
        for row in table_rows(path, finite=False):
            recipe = f"{row['family']}_{row['sparsity']:g}_x{row['expansion']}"
            metrics[f"{path.parent.name}_{recipe}_{hook_id(row['hook'])}_alone"] = numbers_of(row)
    return metrics


def anatomy_metrics(directory: Path) -> Metrics:
    """Return what the features of every SAE are: shares, clusters, neurons."""
    metrics: Metrics = {}
    for name in ("summary", "neurons"):
        for path in table_paths(directory, f"*/{name}.parquet"):
            for row in table_rows(path):
                key = f"anatomy_{row['model']}_{row['sae']}"
                metrics.setdefault(key, {}).update(numbers_of(row))
    return metrics


def width_metrics(directory: Path) -> Metrics:
    """Return how much of a wide SAE is found in a narrower one, over seeds."""
    return {
        f"{row['grid']}_{row['family']}_{row['sparsity']:g}_l{row['layer']}_{row['site']}"
        f"_{row['kind']}_x{row['wide']}_in_x{row['narrow']}": numbers_of(row)
        for row in table_rows(table_paths(directory, "seeds.parquet")[0], finite=False)
    }


def remedy_metrics(directory: Path) -> Metrics:
    """Return residual SAEs and their rivals, and the cosines within decoders, seed by seed."""
    metrics: Metrics = {}
    for path in table_paths(directory, "*/residual.parquet"):
        model = path.parent.name
        for row in table_rows(path):
            metrics[f"{model}_remedy_{row['kind']}_seed{row['seed']}"] = numbers_of(row)
        for row in table_rows(path.with_name("orthogonality.parquet")):
            metrics[f"{model}_decoder_{row['family']}_seed{row['seed']}"] = numbers_of(row)
    return metrics


def error_metrics(directory: Path) -> Metrics:
    """Return what each SAE's error costs, how layers share it, and what removing features does."""
    metrics: Metrics = {}
    for path in table_paths(directory, "*/layers.parquet"):
        for row in table_rows(path):
            metrics[f"errors_{row['model']}_{row['sae']}"] = numbers_of(row)
        for row in table_rows(path.with_name("correlations.parquet")):
            key = f"errors_{path.parent.name}_{row['sae_a']}_and_{row['sae_b']}"
            metrics[key] = numbers_of(row)
        for row in table_rows(path.with_name("removal.parquet")):
            key = f"removal_{row['model']}_{row['sae']}_{row['which']}_{row['removed']}"
            metrics[key] = numbers_of(row)
    return metrics


_TOY = ("recovered", "mmcs", "composed_rate", "sum_latent", "absorption_rate", "l0")


def toy_metrics(directory: Path) -> Metrics:
    """Return what SAEs recover of known features; the null is the same SAE untrained."""
    metrics: Metrics = {}
    rows = table_rows(directory / "summary.parquet", finite=False)
    for kind, ending in (("trained", ""), ("untrained", "_null")):
        for row in rows:
            if row["kind"] != kind or row["measure"] not in _TOY or "mean" not in row:
                continue
            name = f"toy_{row['condition']}_{row['family']}_{row['sparsity']:g}_x{row['expansion']}"
            entry = metrics.setdefault(name, {})
            entry[row["measure"] + ending] = row["mean"]
            if kind == "trained":
                ends = {f"{row['measure']}_{end}": row.get(end) for end in ("low", "high")}
                entry |= {key: value for key, value in ends.items() if value is not None}
    # Here the interval is the extremes over ordered pairs of SAE seeds.
    pairs = read_table(directory / "agreement.parquet").groupby(["condition", "family"])
    for column in ("shared", "shared_null", "true", "true_if_shared"):
        found = pairs[column].agg(["mean", "min", "max"]).dropna()
        for key, mean, low, high in found.itertuples():
            entry = metrics.setdefault(f"toy_{'_'.join(key)}_sae_seeds", {})
            entry[column] = mean
            if column != "shared_null":
                entry |= {f"{column}_low": low, f"{column}_high": high}
    return metrics


_COMPARED = ("explained_variance", "ce_loss_recovered", "ce_difference")
