"""Published numbers of feature matching beside ours: which claim, and what differs."""

from collections.abc import Mapping
from dataclasses import dataclass

Metrics = Mapping[str, Mapping[str, float]]

NEVER = "not in this profile"


@dataclass(frozen=True)
class Claim:
    """A published number, and where ours is: `metric` of the entry `key` of matching.json."""

    source: str
    claim: str
    published: str
    key: str
    metric: str
    differs: str
    per: str | None = None
    """Entry whose `metric` ours is divided by: a share of pairs."""


BRICKEN = "Bricken et al. 2023"
LAN = "Lan et al. 2024"
PAULO = "Paulo & Belrose 2025"
_SMALLER = (
    "4 layers instead of 1, the MLP's output instead of its 512 neurons, 1,024 features, sampled "
    "stories, and B's layer is searched; 1.2M training tokens and 0.6M SAE samples, far fewer than "
    "theirs, which makes SAEs less stable: see the SAE seeds"
)
_LAN = (
    "seed_a and stories15m instead of Pythia-70m and -160m, stories instead of OpenWebText, and "
    "the layer of B is searched"
)
CLAIMS = [
    Claim(BRICKEN, "median best r of features, two LM seeds", "0.72",
          "seed_a_vs_seed_b_best_of_4_layers", "median_r", _SMALLER),
    Claim(BRICKEN, "the same for two SAE seeds of one LM (not published; the ceiling here)", "-",
          "seed_a_vs_sae_seed_best_of_4_layers", "median_r", "a baseline they do not give"),
    Claim(BRICKEN, "the same against an untrained LM (not published; the control here)", "-",
          "seed_a_vs_random_a_best_of_4_layers", "median_r", "a control they do not give"),
    Claim(BRICKEN, "median best r of neurons, two LM seeds", "0.46",
          "neurons_seed_a_vs_seed_b", "median_r",
          "gated SiLU neurons (512, as theirs), which are signed, instead of ReLU; 4 layers"),
    Claim(BRICKEN, "features with a high activation r may have a negative logit-weight r", "1 pair "
          "at .98", "seed_a_vs_seed_b_agreement", "high_negative_logit",
          "ours is the share of pairs with r of .7 or more; later layers stand between most of our "
          "features and the logits, none between theirs"),
    Claim(LAN, "mean r of all pairs, many to one", "0.70 (Pythia, L2 to L5)",
          "seed_a_vs_stories15m_pairing_a_to_b", "mean_r", _LAN),
    Claim(LAN, "mean r of the pairs that pass the filters", "0.59 (Pythia, L2 to L5)",
          "seed_a_vs_stories15m_filter_min_r", "mean_r",
          _LAN + "; their non-concept filter did nothing in the released pipeline, ours works"),
    Claim(LAN, "share of pairs that pass the filters", "0.1 to 0.3",
          "seed_a_vs_stories15m_filter_min_r", "n_pairs", _LAN,
          per="seed_a_vs_stories15m_filter_all"),
    Claim(PAULO, "share of features that two SAE seeds share (mean cosine above .7)",
          "0.42 (Pythia-160M, 32k features), 0.30 (Llama-3-8B, 131k)",
          "seed_a_vs_sae_seed_weights_hungarian_mean_mean", "share_above",
          "1,024 features and 0.6M samples; larger dictionaries share less, longer training more"),
]  # fmt: skip


def published_page(metrics: Metrics) -> str:
    """Return a page in Markdown: every claim, its published value, ours with interval and null."""
    lines = [
        "# Matching: published numbers beside ours",
        "",
        "Made from `metrics/matching.json`. Intervals are 95% (over documents, of shares of "
        "features over features); nulls are in the same file.",
        "",
        "| source | claim | published | here | null | what differs |",
        "|---|---|---|---|---|---|",
    ]
    for claim in CLAIMS:
        ours, null = _ours(claim, metrics)
        cells = [claim.source, claim.claim, claim.published, ours, null, claim.differs]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _ours(claim: Claim, metrics: Metrics) -> tuple[str, str]:
    row = metrics.get(claim.key)
    if row is None or claim.metric not in row:
        return NEVER, "-"
    value, null = row[claim.metric], row.get(f"{claim.metric}_null")
    if claim.per is not None:
        whole = metrics[claim.per]
        left = f"{value / whole[claim.metric]:.2f} ({value:.0f} of {whole[claim.metric]:.0f})"
        under_null = row["n_pairs_null"] / whole["n_pairs_null"]
        return left, f"{under_null:.2f}"
    ends = [row.get(f"{claim.metric}_{end}") for end in ("low", "high")]
    interval = "" if None in ends else " [{:.2f}, {:.2f}]".format(*ends)
    return f"{value:.2f}{interval}", "-" if null is None else f"{null:.2f}"
