"""Tables of the study of SAEs: models, SAEs, architectures, widths, errors, toy models."""

from universality.paper.numbers import AllMetrics, Number, null_of
from universality.paper.table import Cell, Table

MODELS = ("stories15m", "smollm2", "seed_a", "seed_b", "random_a")
EVALUATED = {
    "stories15m": range(6),
    "smollm2": (3, 9, 15),
    "seed_a": range(4),
    "random_a": range(4),
}
"""Model -> layers whose SAEs are in the table; those of another seed are much like them."""
FAMILIES = {
    "batchtopk": "BatchTopK",
    "matryoshka": "Matryoshka",
    "topk": "TopK",
    "topk_orthogonal": "TopK, orthogonal decoder",
    "jumprelu": "JumpReLU",
    "gated": "gated",
    "standard": "standard (L1)",
}
COMPARED = [
    ("width", 4, 2), ("width", 8, 4), ("width", 16, 8), ("width", 16, 2),
    ("seed", 2, 2), ("seed", 4, 4), ("seed", 8, 8), ("seed", 16, 16),
]  # fmt: skip
"""Kind, expansion of the wider SAE and of the narrower."""
REMEDIES = {
    "first": "first SAE alone",
    "residual": "first, and a second on what it leaves",
    "single": "one SAE, twice as wide and dense",
    "single_longer": "the same, twice the samples",
}
CONDITIONS = {
    "independent": "independent",
    "correlated": "in correlated groups",
    "composed": "in pairs",
    "hierarchy": "parent and child",
}
TOY = {"standard_1": "L1", "topk_3": "TopK", "matryoshka_3": "Matryoshka"}
"""Family and sparsity of the reference -> label."""


def tables(metrics: AllMetrics) -> list[Table]:
    """Return the tables of this study; `metrics` says which entries there are."""
    return [
        _models(),
        _evaluation(),
        _architectures(),
        _widths(),
        _errors(),
        _remedies(metrics),
        _toy(),
    ]


def _models() -> Table:
    rows: list[list[Cell]] = []
    for model in MODELS:
        at = f"models:{model}_stories"
        rows.append(
            [
                model,
                Number(f"{at}.n_tokens", 0),
                Number(f"{at}.cross_entropy"),
                Number(f"{at}.bigram"),
                Number(f"{at}.unigram"),
                Number(f"{at}.bits_per_character"),
            ]
        )
    return Table(
        "saes_models",
        "Cross-entropy of the language models on validation stories, in nats per token of each "
        "model's own tokenizer, beside that of n-grams counted on the training stories; bits per "
        "character can be compared across tokenizers. Intervals over documents.",
        ["model", "tokens", "cross-entropy", "bigram", "unigram", "bits/character"],
        rows,
    )


def _evaluation() -> Table:
    rows: list[list[Cell]] = []
    for model, layers in EVALUATED.items():
        for layer in layers:
            at = f"saes:{model}_l{layer}_mlp_out_seed0"
            # Where ablation costs nothing, there is nothing to recover a share of.
            recovered = Number(f"{at}.ce_loss_recovered")
            rows.append(
                [
                    f"{model}, layer {layer}",
                    Number(f"{at}.l0", 0, interval=False),
                    Number(f"{at}.explained_variance", 3),
                    Number(f"{at}.ce_difference", 3),
                    "" if model.startswith("random") else recovered,
                    Number(f"{at}.dead_fraction", 0, percent=True),
                ]
            )
    return Table(
        "saes_evaluation",
        "The SAEs that all other studies use (MLP output, TopK, first SAE seed), on validation "
        "stories: active features per token, explained variance, CE added by putting the "
        "reconstruction in the place of the activation (nats per token), share of the CE of zero "
        "ablation that is recovered (left out where ablation costs nothing), and features that "
        "never fire. Intervals over documents.",
        ["SAE", "L0", "explained variance", "CE added", "recovered", "dead"],
        rows,
    )


def _architectures() -> Table:
    rows: list[list[Cell]] = []
    for family, label in FAMILIES.items():
        at = f"saes:architectures_{family}_x8_l0_mlp_out_l0_16"
        rows.append(
            [
                label,
                Number(f"{at}.explained_variance", 3),
                null_of(f"{at}.explained_variance", 3, end="pca"),
                Number(f"{at}.ce_difference", 3),
                null_of(f"{at}.ce_difference", 3, end="pca"),
                Number(f"{at}.dead_fraction", 1, percent=True),
            ]
        )
    return Table(
        "saes_architectures",
        "Architectures at one L0 on the first MLP output of seed_a: means over SAE seeds with "
        "Student's intervals, beside as many principal components as features are active (PCA).",
        ["architecture", "explained variance", "PCA", "CE added", "PCA", "dead"],
        rows,
    )


def _widths() -> Table:
    rows: list[list[Cell]] = []
    for kind, wide, narrow in COMPARED:
        at = f"saes:widths_topk_16_l0_hook_mlp_out_{kind}_x{wide}_in_x{narrow}"
        label = f"×{wide} in ×{narrow}" if kind == "width" else f"×{wide} in another seed"
        rows.append(
            [
                label,
                Number(f"{at}.found", 0, percent=True),
                null_of(f"{at}.found", 0, percent=True),
                Number(f"{at}.cosine"),
                null_of(f"{at}.cosine"),
                Number(f"{at}.lost", 0, percent=True),
                Number(f"{at}.split", 0, percent=True),
            ]
        )
    return Table(
        "saes_widths",
        "Features of one SAE looked for in another by decoder cosine (TopK, first MLP output of "
        "seed_a; × times as many features as dimensions): share found above the threshold, "
        "median best cosine, and shares of the other SAE's features that are nobody's partner "
        "(lost) or of several (split). Intervals over SAE seeds; nulls: random directions.",
        ["SAE", "found", "null", "cosine", "null", "lost", "split"],
        rows,
    )


def _errors() -> Table:
    rows: list[list[Cell]] = []
    for model, layers in (("stories15m", range(6)), ("seed_a", range(4))):
        for layer in layers:
            at = f"saes:errors_{model}_l{layer}_mlp_out_seed0"
            rows.append(
                [
                    f"{model}, layer {layer}",
                    Number(f"{at}.ce_difference", 3),
                    Number(f"{at}.ce_difference_random_error", 3, interval=False),
                    Number(f"{at}.ce_minus_random_error", 3),
                    Number(f"{at}.ce_minus_exchanged_error", 3),
                    Number(f"{at}.norm_ratio", 3, interval=False),
                    null_of(f"{at}.norm_ratio", 3),
                ]
            )
    return Table(
        "saes_errors",
        "What an SAE's error costs (nats per token), what an error of the same norm in a random "
        "direction costs, the SAE's less that, the SAE's less another document's error in the "
        "same norm, and the norm of the reconstruction over that of the input beside what a "
        "projection with the same error would have (null). Intervals over documents.",
        ["SAE", "its error", "random", "less random", "less exchanged", "norm", "null"],
        rows,
    )


def _remedies(metrics: AllMetrics) -> Table:
    seeds = sorted(
        int(entry.removeprefix("remedy_first_seed"))
        for entry in metrics["saes"]
        if entry.startswith("remedy_first_seed")
    )
    rows: list[list[Cell]] = []
    for kind, label in REMEDIES.items() if seeds else ():
        ids = [f"saes:remedy_{kind}_seed{seed}" for seed in seeds]
        explained = [Number(f"{at}.explained_variance", 3, interval=False) for at in ids]
        added = [Number(f"{at}.ce_difference", 3) for at in ids]
        rows.append([label, *explained, *added])
    header = [f"{what}, {seed}" for what in ("variance", "CE added") for seed in seeds]
    return Table(
        "saes_remedies",
        "A second SAE on the error of a frozen first one, against one SAE of their total width and "
        "L0 (TopK, first MLP output of seed_a): explained variance and CE added (nats per token), "
        "for each SAE seed. Intervals over documents.",
        ["", *header],
        rows,
    )


def _toy() -> Table:
    rows: list[list[Cell]] = []
    for condition, what in CONDITIONS.items():
        for family, label in TOY.items():
            at = f"saes:toy_{condition}_{family}_x2"
            seeds = f"saes:toy_{condition}_{family.split('_')[0]}_sae_seeds"
            rows.append(
                [
                    f"{what}: {label}",
                    Number(f"{at}.recovered", 0, percent=True, interval=False),
                    null_of(f"{at}.recovered", 0, percent=True),
                    Number(f"{at}.sum_latent", 0, percent=True, interval=False),
                    Number(f"{at}.absorption_rate", 0, percent=True, interval=False),
                    Number(f"{seeds}.shared", 0, percent=True),
                    Number(f"{seeds}.true_if_shared", 0, percent=True),
                ]
            )
    return Table(
        "saes_toy",
        "SAEs of toy models whose features are known: share of true features found (null: the SAE "
        "before training), of pairs whose sum some latent points along, of samples in which the "
        "parent is absorbed by its child; and of latents, the share found in another SAE seed and "
        "how many of these are true features (in brackets the extremes over pairs of seeds).",
        ["features: SAE", "found", "null", "sum", "absorbed", "in other seed", "of these true"],
        rows,
    )
