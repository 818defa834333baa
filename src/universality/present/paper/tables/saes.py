"""Tables of the study of SAEs: how good they are, widths, toy models."""

from universality.core import names
from universality.core.numbers import AllMetrics, Number, null_of
from universality.present.paper.table import Cell, Table

EVALUATED = {
    "stories15m": range(6),
    "smollm2": (3, 9, 15),
    "seed_a": range(4),
    "random_a": range(4),
}
"""Model -> layers whose SAEs are in the table; those of another seed are much like them."""
COMPARED = [
    ("width", 4, 2), ("width", 8, 4), ("width", 16, 8),
    ("seed", 2, 2), ("seed", 4, 4), ("seed", 8, 8), ("seed", 16, 16),
]  # fmt: skip
"""Kind, expansion of the wider SAE and of the narrower."""
CONDITIONS = {
    "independent": "independent",
    "correlated": "in correlated groups",
    "composed": "mostly in pairs",
    "hierarchy": "parent and child",
}
TOY = {"standard_1": "L1", "topk_3": "TopK", "matryoshka_3": "Matryoshka"}
"""Family and sparsity of the reference -> label."""


def tables(_: AllMetrics) -> list[Table]:
    """Return the tables of this study."""
    return [_evaluation(), _widths(), _toy()]


def _evaluation() -> Table:
    rows: list[list[Cell]] = []
    for model, layers in EVALUATED.items():
        for layer in layers:
            at = f"saes:{model}_l{layer}_mlp_out_seed0"
            rows.append(
                [
                    f"{names.model(model)}, layer {layer}",
                    Number(f"{at}.l0", 0, interval=False),
                    Number(f"{at}.explained_variance", 3),
                    Number(f"{at}.ce_difference", 3),
                    Number(f"{at}.ce_loss_recovered"),
                    Number(f"{at}.dead_fraction", 0, percent=True),
                ]
            )
    return Table(
        "saes_evaluation",
        "The SAEs that all other studies use (MLP output, TopK, first SAE seed), on validation "
        "stories: active features per token, explained variance, CE added by putting the "
        "reconstruction in the place of the activation (nats per token), share of the CE of zero "
        "ablation that is recovered (where ablation costs something), and features that never "
        "fire. Intervals over documents.",
        ["SAE", "L0", "explained variance", "CE added", "recovered", "dead"],
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
        "LM seed A; × times as many features as dimensions): share found above the threshold, "
        "median best cosine, and shares of the other SAE's features that are nobody's partner "
        "(lost) or of several (split). Student's intervals over SAE seeds; nulls: random "
        "directions.",
        ["SAE", "found", "null", "cosine", "null", "lost", "split"],
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
        "how many of these are true features (in brackets the range over pairs of seeds).",
        ["features: SAE", "found", "null", "sum", "absorbed", "in other seed", "of these true"],
        rows,
    )
