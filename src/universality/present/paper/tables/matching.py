"""Tables of the study of feature matching."""

from universality.core import names
from universality.core.numbers import AllMetrics, Number, null_of
from universality.present.paper.table import Cell, Table
from universality.studies.matching.labels import BY_WEIGHTS

PAIRS = {
    "seed_a_vs_sae_seed_best_of_4_layers": names.pair("seed_a_vs_sae_seed"),
    "seed_a_vs_seed_b_best_of_4_layers": names.pair("seed_a_vs_seed_b"),
    "seed_a_vs_stories15m_best_of_6_layers": names.pair("seed_a_vs_stories15m"),
    "stories15m_vs_smollm2_best_of_3_layers": names.pair("stories15m_vs_smollm2"),
    "seed_a_vs_random_a_best_of_4_layers": names.pair("seed_a_vs_random_a"),
    "random_a_vs_random_b_best_of_4_layers": names.pair("random_a_vs_random_b"),
    "neurons_seed_a_vs_seed_b": "neurons of two LM seeds",
    "neurons_seed_a_vs_random_a": "neurons of LM seed A and an untrained LM",
}
"""Entry of the metrics -> what it compares."""
CONDITIONS = {
    "widths_topk_16_x2_l0_mlp_out": "TopK",
    "widths_topk_16_x4_l0_mlp_out": "TopK",
    "widths_topk_16_x8_l0_mlp_out": "TopK",
    "widths_topk_16_x16_l0_mlp_out": "TopK",
    "architectures_batchtopk_16_x8_l0_mlp_out": "BatchTopK",
    "architectures_matryoshka_16_x8_l0_mlp_out": "Matryoshka",
    "architectures_jumprelu_0.5_x8_l0_mlp_out": "JumpReLU",
    "architectures_gated_3_x8_l0_mlp_out": "gated",
    "architectures_standard_2_x8_l0_mlp_out": "ReLU, L1",
}
"""SAEs of about the same L0 in the grids of the study of SAEs."""


def tables(metrics: AllMetrics) -> list[Table]:
    """Return the tables of this study; `metrics` says which entries there are."""
    return [_pairs(), _weights(), _conditions()]


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
        "share above the threshold. Intervals over documents, partners held fixed; null: the mean "
        "of draws that shift the positions of B.",
        ["A, B", "features", "median r", "null", "share above", "null"],
        rows,
    )


def _weights() -> Table:
    rows: list[list[Cell]] = []
    for entry, label in BY_WEIGHTS.items():
        at = f"matching:seed_a_vs_sae_seed_weights_{entry}"
        rows.append(
            [
                label.name,
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
