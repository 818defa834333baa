"""Tables of the study of steering."""

from universality.core import names
from universality.core.numbers import AllMetrics, Number, null_of
from universality.present.paper.table import Cell, Table

MODEL, MULTIPLIER = "stories15m", 2
LAYERS = (3, 4, 5)
CONTRASTS = ("love_hate", "happy_sad", "she_he", "cat_dog", "parent_child", "big_small")
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
PARTS = {
    "whole": "the vector",
    "code": "its signed code",
    "code_positive": "features that the code adds",
    "code_negative": "features that it takes away",
    "top_1": "its largest feature",
    "top_5": "its five largest features",
    "without_top_5": "the vector without the five largest",
    "remainder": "what the code leaves out",
    "random": "null: a random vector as long",
}


def tables(metrics: AllMetrics) -> list[Table]:
    """Return the tables of this study; `metrics` says which entries there are."""
    return [_effects(), _decompositions(MODEL, 4), _parts(MODEL, 4)]


def _effects() -> Table:
    rows: list[list[Cell]] = []
    for layer in LAYERS:
        for name in CONTRASTS:
            at = f"steering:effect_{MODEL}_{name}_mean_layer_{layer}_times_{MULTIPLIER}"
            rows.append(
                [
                    f"{name.replace('_', '/')}, layer {layer}",
                    Number(f"{at}.dose"),
                    Number(f"{at}.effect"),
                    null_of(f"{at}.effect", end="null_low"),
                    null_of(f"{at}.effect", end="null_high"),
                    Number(f"{at}.perplexity_sampled", 0, interval=False),
                    null_of(f"{at}.perplexity_sampled", 0),
                ]
            )
    return Table(
        "steering_effects",
        f"Steering {names.model(MODEL)} at multiplier {MULTIPLIER}: dose, length of what is added "
        "over that of the activations; effect on the words of the contrast, nats, with intervals "
        "over prompts; lowest and highest of random vectors as long; perplexity of sampled "
        "continuations under the unsteered model, and with a random vector.",
        ["vector", "dose", "effect", "random, from", "to", "perplexity", "random"],
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
                Number(f"{at}.share_own", interval=False),
                Number(f"{at}.share_matched"),
                Number(f"{at}.share_matched_shuffled") if by_decoder else "",
            ]
        )
    return Table(
        "steering_decompositions",
        f"Decompositions of the vectors of {names.model(model)} in layer {layer}: number of "
        "features; cosine of the sum with the vector (beside it random vectors and a shuffled "
        "dictionary); share of its effect that the sum keeps as it is, and made as long (beside it "
        "a shuffled dictionary). Intervals over vectors.",
        ["decomposition", "features", "cosine", "random", "shuffled", "effect kept", "as long",
         "shuffled"],
        rows,
    )  # fmt: skip


def _parts(model: str, layer: int) -> Table:
    rows: list[list[Cell]] = []
    for part, label in PARTS.items():
        row: list[Cell] = [label]
        for multiplier in (1, 2):
            at = f"steering:part_{model}_layer_{layer}_{part}_times_{multiplier}"
            row += [Number(f"{at}.effect", 1), Number(f"{at}.price")]
        share = Number(f"steering:part_{model}_layer_{layer}_{part}_times_2.effect_share")
        rows.append([*row, "" if part == "whole" else share])
    return Table(
        "steering_parts",
        f"Parts of the vectors of {names.model(model)} in layer {layer}: effect (nats) and price "
        "(change of the continuation's cross-entropy under the unsteered model, nats per token) at "
        "two multipliers, and the share of the whole vector's effect at the second. Intervals over "
        "vectors.",
        ["part", "effect, × 1", "price", "effect, × 2", "price", "share"],
        rows,
    )
