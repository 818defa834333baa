"""Tables of the study of feature matching."""

from universality.paper.numbers import AllMetrics, Number, null_of
from universality.paper.table import Cell, Table

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
WEIGHTS = {
    "a_to_b": "nearest by decoder, A to B",
    "b_to_a": "nearest by decoder, B to A",
    "mutual": "mutual nearest by decoder",
    "hungarian_decoder": "Hungarian on decoders",
    "hungarian_encoder": "Hungarian on encoders",
    "hungarian_mean": "Hungarian on the mean of both",
    "hungarian_both": "same partner on decoders and encoders",
}
FILTERS = {
    "all": "none",
    "concept_tokens": "no punctuation among top tokens",
    "shared_token": "and a shared top token",
    "one_per_b": "and one for each feature of B",
    "min_r": "and r above the least",
}
"""Each with those before it."""
CONDITIONS = {
    "widths_topk_16_x2_l0_mlp_out": "TopK",
    "widths_topk_16_x4_l0_mlp_out": "TopK",
    "widths_topk_16_x8_l0_mlp_out": "TopK",
    "widths_topk_16_x16_l0_mlp_out": "TopK",
    "architectures_batchtopk_16_x8_l0_mlp_out": "BatchTopK",
    "architectures_matryoshka_16_x8_l0_mlp_out": "Matryoshka",
    "architectures_jumprelu_0.5_x8_l0_mlp_out": "JumpReLU",
    "architectures_gated_3_x8_l0_mlp_out": "gated",
    "architectures_standard_2_x8_l0_mlp_out": "standard",
}
"""SAEs of about the same L0 in the grids of the study of SAEs."""


def tables(metrics: AllMetrics) -> list[Table]:
    """Return the tables of this study; `metrics` says which entries there are."""
    pair = "seed_a_vs_seed_b"
    return [_pairs(), _pairings(pair), _filters(pair), _weights(), _conditions()]


def _pairs() -> Table:
    rows: list[list[Cell]] = []
    for entry, label in PAIRS.items():
        at = f"matching:{entry}"
        rows.append(
            [
                label,
                Number(f"{at}.n_features", 0),
                Number(f"{at}.median_r", 3),
                null_of(f"{at}.median_r", 3),
                Number(f"{at}.share_above", 0, percent=True),
                null_of(f"{at}.share_above", 1, percent=True),
            ]
        )
    return Table(
        "matching_pairs",
        "Best-match Pearson correlation of each feature of A with any feature of B: median, and "
        "share above the threshold. Intervals over documents; the null shifts the positions "
        "of B.",
        ["A, B", "features", "median r", "null", "share above", "null"],
        rows,
    )


def _pairings(pair: str) -> Table:
    rows: list[list[Cell]] = []
    for entry, label in PAIRINGS.items():
        at = f"matching:{pair}_pairing_{entry}"
        rows.append(
            [
                label,
                Number(f"{at}.n_pairs", 0),
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


def _filters(pair: str) -> Table:
    rows: list[list[Cell]] = []
    for entry, label in FILTERS.items():
        at = f"matching:{pair}_filter_{entry}"
        rows.append(
            [
                label,
                Number(f"{at}.n_pairs", 0),
                null_of(f"{at}.n_pairs", 0),
                Number(f"{at}.n_removed_alone", 0),
                Number(f"{at}.median_r", 3),
                Number(f"{at}.mean_r", 3),
                null_of(f"{at}.mean_r", 3),
            ]
        )
    return Table(
        "matching_filters",
        "Filters one after the other, between two LM seeds: pairs left, what each would remove "
        "alone, and correlations of those left. The null under a filter is 0 where no pair passes.",
        ["filter", "pairs", "null", "alone", "median r", "mean r", "null"],
        rows,
    )


def _weights() -> Table:
    rows: list[list[Cell]] = []
    for entry, label in WEIGHTS.items():
        at = f"matching:seed_a_vs_sae_seed_weights_{entry}"
        rows.append(
            [
                label,
                *(
                    Number(f"{at}_{by}.share_above", 0, True)
                    for by in ("decoder", "encoder", "mean")
                ),
                null_of(f"{at}_mean.share_above", 0, True),
            ]
        )
    return Table(
        "matching_weights",
        "Two SAE seeds of one LM, paired by their weights: share of features whose partner's "
        "cosine is above the threshold. Intervals over features; null: B's coordinates permuted.",
        ["paired by", "decoder", "encoder", "mean of both", "null"],
        rows,
    )


def _conditions() -> Table:
    rows: list[list[Cell]] = []
    for entry, label in CONDITIONS.items():
        seeds, others, random = (
            f"matching:{entry}_in_{kind}" for kind in ("sae_seed", "other_lm", "random_lm")
        )
        rows.append(
            [
                label,
                Number(f"{others}.d_sae", 0),
                Number(f"{others}.l0", 0),
                Number(f"{seeds}.median_r"),
                Number(f"{seeds}_drawn.median_r", interval=False),
                Number(f"{others}.median_r"),
                Number(f"{random}.median_r"),
                null_of(f"{others}.median_r"),
                Number(f"{others}.share_of_all", 0, percent=True),
            ]
        )
    return Table(
        "matching_conditions",
        "SAEs of layer 0 that differ in width and architecture, means over seeds: median best r in "
        "another SAE seed (drawn: among equally many candidates), in another LM seed and in an "
        "untrained LM; of all features of the SAE, "
        "dead ones too, share above the threshold in the other LM.",
        ["SAE", "features", "L0", "SAE seeds", "drawn", "LM seeds", "untrained", "null", "of all"],
        rows,
    )
