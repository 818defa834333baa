"""Tables of the study of feature matching."""

from universality.paper.numbers import AllMetrics, Number, null_of
from universality.paper.table import Table

PAIRS = {
    "seed_a_vs_sae_seed_best_of_4_layers": "seed_a, another SAE seed of it",
    "seed_a_vs_seed_b_best_of_4_layers": "seed_a, seed_b (two LM seeds)",
    "seed_a_vs_stories15m_best_of_6_layers": "seed_a, stories15m",
    "stories15m_vs_smollm2_best_of_3_layers": "stories15m, smollm2",
    "seed_a_vs_random_a_best_of_4_layers": "seed_a, random_a (untrained)",
    "random_a_vs_random_b_best_of_4_layers": "random_a, random_b (both untrained)",
    "neurons_seed_a_vs_seed_b": "neurons of seed_a, of seed_b",
    "neurons_seed_a_vs_random_a": "neurons of seed_a, of random_a",
}
"""Entry of the metrics -> what it compares."""
PAIRINGS = {
    "a_to_b": "nearest in B (many to one)",
    "b_to_a": "nearest in A (one to many)",
    "one_per_b": "nearest in B, one for each feature of B",
    "mutual": "mutual nearest",
    "hungarian": "Hungarian",
    "transport": "optimal transport",
}
FILTERS = {
    "all": "none",
    "concept_tokens": "no punctuation or BOS among top tokens",
    "shared_tokens": "and a shared top token",
    "one_per_b": "and one for each feature of B",
    "min_r": "and r above the least",
}


def tables(metrics: AllMetrics) -> list[Table]:
    """Return the tables of this study; `metrics` says which entries there are."""
    return [_pairs(), _pairings("seed_a_vs_seed_b")]


def _pairs() -> Table:
    rows = []
    for entry, label in PAIRS.items():
        at = f"matching:{entry}"
        rows.append(
            [
                label,
                Number(f"{at}.n", 0),
                Number(f"{at}.median_r", 3),
                null_of(f"{at}.median_r", 3),
                Number(f"{at}.share_above", 0, percent=True),
                null_of(f"{at}.share_above", 1, percent=True),
            ]
        )
    return Table(
        "matching_pairs",
        "Best-match Pearson correlation of each feature of A with any feature of B: median, and "
        "share above the threshold. Intervals over documents; the null shifts the positions of B.",
        ["A, B", "features", "median r", "null", "share above", "null"],
        rows,
    )


def _pairings(pair: str) -> Table:
    rows = []
    for entry, label in PAIRINGS.items():
        at = f"matching:{pair}_pairing_{entry}"
        rows.append(
            [
                label,
                Number(f"{at}.n_pairs", 0, interval=False),
                null_of(f"{at}.n_pairs", 0),
                Number(f"{at}.median_r", 3),
                null_of(f"{at}.median_r", 3),
            ]
        )
    return Table(
        "matching_pairings",
        "The same correlations under different pairings, between two LM seeds.",
        ["pairing", "pairs", "null", "median r", "null"],
        rows,
    )
