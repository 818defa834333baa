"""Tables of the study of steering."""

from universality.paper.numbers import AllMetrics, Number, null_of
from universality.paper.table import Cell, Table

CONTRASTS = ("love_hate", "happy_sad", "she_he", "cat_dog", "parent_child", "big_small")
EFFECTS = {("stories15m", 2): (4, 5), ("smollm2", 4): (15, 24)}
"""Model and multiplier -> the layers shown."""
DOWNSTREAM = [
    ("stories15m", 3, "resid_post_5", "stream of layer 5"),
    ("stories15m", 3, "mlp_out_4", "MLP of layer 4"),
    ("smollm2", 8, "mlp_out_15", "MLP of layer 15"),
]
"""Model, layer in which a vector is added, where it is looked at, and how that is called."""
TRANSFER = {
    "seed_a_vs_seed_b": (("she_he",), (1, 2, 3), (4, -4)),
    "stories15m_vs_smollm2": (("love_hate", "happy_sad", "cat_dog"), (3, 4, 5), (4,)),
}
"""Pair -> contrasts, layers of A and multipliers."""
DECOMPOSITIONS = {
    "encode": "encode(v)",
    "encode_and_bias": "encode(v), with the decoder's bias",
    "encode_shift": "encode(x + v) − encode(x), mean over x",
    "encode_shift_top": "its largest features",
    "prompt_difference": "encode(prompts), difference of means",
    "prompt_difference_top": "its largest features",
    "encoder_support": "least squares on encode(v)'s features",
    "non_negative_pursuit": "gradient pursuit, non-negative",
    "signed_pursuit": "gradient pursuit, signed",
    "omp": "orthogonal matching pursuit",
}
MISREADINGS = {
    "stories15m_layer_3": "stories15m, stream of layer 3",
    "stories15m_layer_4": "stories15m, stream of layer 4",
    "stories15m_layer_5": "stories15m, stream of layer 5",
    "smollm2_layer_15": "smollm2, MLP of layer 15",
}
PARTS = {
    "whole": "the vector",
    "code": "its signed code",
    "code_positive": "features that the code adds",
    "code_negative": "features that it takes away",
    "top_1": "its largest feature",
    "top_1_matched": "the same, as long as the vector",
    "top_5": "its five largest features",
    "without_top_1": "the vector without the largest",
    "without_top_5": "the vector without the five largest",
    "remainder": "what the code leaves out",
    "random": "null: a random vector as long",
}
ABLATIONS = {
    "happy_sad_writes_happy": "happy_sad; features that write happy words",
    "happy_sad_fires_on_happy": "happy_sad; that fire on happy words",
    "happy_sad_writes_sad": "happy_sad; that write sad words",
    "happy_sad_fires_on_sad": "happy_sad; that fire on sad words",
    "cat_dog_writes_dog": "cat_dog; that write dog words",
    "cat_dog_writes_animals": "cat_dog; that write animals",
    "cat_dog_fires_on_animals": "cat_dog; that fire on animals",
}
PATCHES = {
    "reconstruction": "patched: the SAE's reconstruction, without its error",
    "features": "patched: steered features, unsteered error",
    "error": "patched: unsteered features, steered error",
    "random": "patched: a random change as long (null)",
}


def tables(metrics: AllMetrics) -> list[Table]:
    """Return the tables of this study; `metrics` says which entries there are."""
    return [
        _effects(),
        _downstream(),
        _transfer(metrics),
        _decompositions("stories15m", 4),
        _misreadings(),
        _parts("stories15m", 4),
        _causes("stories15m", 4, 5),
    ]


def _effects() -> Table:
    rows: list[list[Cell]] = []
    for (model, multiplier), layers in EFFECTS.items():
        for layer in layers:
            for name in CONTRASTS:
                at = f"steering:effect_{model}_{name}_mean_layer_{layer}_times_{multiplier}"
                rows.append(
                    [
                        f"{model}, {name}, layer {layer}, × {multiplier}",
                        Number(f"{at}.effect"),
                        null_of(f"{at}.effect", end="null_low"),
                        null_of(f"{at}.effect", end="null_high"),
                        null_of(f"{at}.effect", end="p"),
                        Number(f"{at}.perplexity_sampled", 0),
                        null_of(f"{at}.perplexity_sampled", 0),
                    ]
                )
    return Table(
        "steering_effects",
        "Effect of steering vectors on the words of their contrast, nats, with intervals over "
        "prompts; the central range of random vectors as long, and p against them; and perplexity "
        "of sampled continuations under the unsteered model. After × stands the multiplier.",
        ["vector", "effect", "random, from", "to", "p", "perplexity", "random"],
        rows,
    )


def _downstream() -> Table:
    rows: list[list[Cell]] = []
    for model, layer, where, label in DOWNSTREAM:
        for name in CONTRASTS:
            at = f"steering:downstream_{model}_{name}_layer_{layer}_at_{where}"
            rows.append(
                [
                    f"{model}, {name}: {layer}, {label}",
                    Number(f"{at}.relative_change", 0, percent=True),
                    null_of(f"{at}.relative_change", 0, percent=True),
                    Number(f"{at}.changed", 0, percent=True),
                    null_of(f"{at}.changed", 0, percent=True),
                    Number(f"{at}.top_change"),
                    null_of(f"{at}.top_change"),
                ]
            )
    return Table(
        "steering_downstream",
        "What a vector changes downstream (model, vector: layer where it is added, place where it "
        "is looked at): length of the change over that of the activation; features that start or "
        "stop to fire, of all that fire; and the mean change of the features that change most. "
        "Intervals over documents; beside each, random vectors as long.",
        ["vector and place", "change", "random", "features", "random", "most", "random"],
        rows,
    )


def _transfer(metrics: AllMetrics) -> Table:
    rows: list[list[Cell]] = []
    for pair, (names, layers, multipliers) in TRANSFER.items():
        for name in names:
            for layer in layers:
                for multiplier in multipliers:
                    entry = f"transfer_{pair}_{name}_layer_{layer}_times_{multiplier}"
                    to = metrics["steering"].get(entry, {}).get("layer_b", layer)
                    at = f"steering:{entry}"
                    sign = "−" if multiplier < 0 else ""
                    rows.append(
                        [
                            f"{name}, {layer} to {to:.0f}, × {sign}{abs(multiplier)}",
                            Number(f"{at}.own"),
                            Number(f"{at}.mapped"),
                            null_of(f"{at}.mapped", end="random_low"),
                            null_of(f"{at}.mapped", end="random_high"),
                            null_of(f"{at}.mapped", end="p_mapped_random"),
                            Number(f"{at}.cosine"),
                        ]
                    )
    return Table(
        "steering_transfer",
        "B steered with its own vector and with A's through an affine map, nats, intervals over "
        "prompts; the central range of random vectors of A through the same map, p of the mapped "
        "vector against them, and its cosine with B's own. she_he: from seed_a to seed_b; the "
        "others: from stories15m to smollm2. Layers of A and of B, and after × the multiplier.",
        ["vector", "B's own", "A's, mapped", "random, from", "to", "p", "cosine"],
        rows,
    )


def _decompositions(model: str, layer: int) -> Table:
    rows: list[list[Cell]] = []
    for method, label in DECOMPOSITIONS.items():
        at = f"steering:decomposition_{model}_layer_{layer}_{method}"
        # What the encoder alone makes has no shuffled counterpart to be held against.
        by_decoder = "pursuit" in method or method == "omp"
        rows.append(
            [
                label,
                Number(f"{at}.l0", 0, interval=False),
                Number(f"{at}.cosine"),
                null_of(f"{at}.cosine"),
                null_of(f"{at}.cosine", end="shuffled") if by_decoder else "",
                Number(f"{at}.share_matched"),
                null_of(f"{at}.share_matched", end="shuffled") if by_decoder else "",
            ]
        )
    return Table(
        "steering_decompositions",
        f"Decompositions of the vectors of {model} in layer {layer}: number of features, cosine of "
        "the reconstruction with the vector (beside it random vectors and a shuffled dictionary), "
        "and share of the vector's effect that the reconstruction keeps when made as long. "
        "Intervals over vectors.",
        ["decomposition", "features", "cosine", "random", "shuffled", "effect kept", "shuffled"],
        rows,
    )


def _misreadings() -> Table:
    rows: list[list[Cell]] = []
    for entry, label in MISREADINGS.items():
        at = f"steering:misreading_{entry}"
        rows.append(
            [
                label,
                Number(f"{at}.overlap_zero", 0, percent=True),
                null_of(f"{at}.overlap_zero", 0, percent=True),
                Number(f"{at}.overlap_others", 0, percent=True),
                Number(f"{at}.negative_share", 0, percent=True),
                Number(f"{at}.positive_named", 0, percent=True),
                Number(f"{at}.negative_named", 0, percent=True),
            ]
        )
    return Table(
        "steering_misreadings",
        "What the encoder makes of steering vectors, means over vectors. Of its strongest "
        "features: those of the zero vector (beside it, of random vectors as long), and those that "
        "another vector has too. Of what differs between the prompts of both sides, by squared "
        "contribution: what falls, and how much of what rises and of what falls encode(v) names.",
        ["SAE", "zero's", "random", "others'", "falls", "rising named", "falling named"],
        rows,
    )


def _parts(model: str, layer: int) -> Table:
    rows: list[list[Cell]] = []
    for part, label in PARTS.items():
        row: list[Cell] = [label]
        for multiplier in (1, 2):
            at = f"steering:part_{model}_layer_{layer}_{part}_times_{multiplier}"
            row += [Number(f"{at}.effect", 1), Number(f"{at}.price")]
        rows.append(
            [*row, Number(f"steering:part_{model}_layer_{layer}_{part}_times_4.effect_share")]
        )
    return Table(
        "steering_parts",
        f"Parts of the vectors of {model} in layer {layer}: effect (nats) and price (change of the "
        "continuation's cross-entropy under the unsteered model, nats per token) at two "
        "multipliers, and the share of the whole vector's effect at a third. Intervals over "
        "vectors.",
        ["part", "effect, × 1", "price", "effect, × 2", "price", "share, × 4"],
        rows,
    )


def _causes(model: str, layer: int, above: int) -> Table:
    rows: list[list[Cell]] = []
    for entry, label in ABLATIONS.items():
        at = f"steering:ablation_{model}_layer_{layer}_{entry}"
        rows.append(
            [
                label,
                Number(f"{at}.n_features", 0),
                Number(f"{at}.share"),
                null_of(f"{at}.share"),
                null_of(f"{at}.share", end="p"),
            ]
        )
    for patch, label in PATCHES.items():
        share = Number(f"steering:patches_{model}_layer_{layer}_{above}_{patch}.share")
        rows.append([label, "", share, "", ""])
    return Table(
        "steering_causes",
        f"Share of the effect of vectors added in layer {layer} that is left with features of "
        f"layer {above} ablated (intervals over prompts; null: as many features drawn by how often "
        "they fire), and with its activations patched (intervals over vectors).",
        ["downstream", "features", "effect left", "null", "p"],
        rows,
    )
