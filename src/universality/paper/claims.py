"""Published claims beside ours, over all studies: value, interval, null, verdict.

A verdict follows from numbers by a rule that the table states, so that another run has its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from universality.paper.numbers import NOT_HERE, AllMetrics, Number, beside, value
from universality.paper.table import Table

HOLDS = "holds"
WEAKER = "holds, weaker"
FAILS = "does not hold"
UNTESTED = "cannot be tested here"

LEAST_P = 0.05
"""A number with a p above it does not count as beyond its null."""
ENOUGH = 0.8
"""Of the published distance from the null, what ours must reach to hold as published."""

Rule = Callable[[AllMetrics, "Claim"], str | None]
"""Gives the verdict, None where a number it needs does not exist in this run."""


@dataclass(frozen=True)
class Claim:
    """A published claim, our number for it, and the rule that compares them."""

    id: str
    study: str
    source: str
    claim: str
    published: str
    differs: str
    rule: Rule | None = None
    """None for a claim that cannot be tested here; `differs` then says why."""
    ours: Number | None = None
    null: Number | None = None

    def verdict(self, metrics: AllMetrics) -> str:
        """Return what our numbers say of it."""
        found = self.rule(metrics, self) if self.rule else UNTESTED
        return UNTESTED if found is None else found


def _ends(metrics: AllMetrics, number: Number) -> tuple[float | None, float | None, float | None]:
    """Return a number with the ends of its interval (itself where it has none)."""
    (here, *over) = number.addresses
    x = value(metrics, here)
    if over:
        whole = value(metrics, over[0])
        x = None if x is None or not whole else x / whole
    ends = [None if over else value(metrics, beside(here, end)) for end in ("low", "high")]
    return x, *(x if end is None else end for end in ends)


def _beyond_null(metrics: AllMetrics, claim: Claim) -> bool | None:
    """Whether the interval lies above the null, and p (if there is one) is small enough."""
    assert claim.ours is not None
    assert claim.null is not None
    x, low, _ = _ends(metrics, claim.ours)
    null, _, _ = _ends(metrics, claim.null)
    if x is None or low is None or null is None:
        return None
    p = value(metrics, beside(claim.ours.addresses[0], "p"))
    return low > null and (p is None or p <= LEAST_P + 1e-9)


def reaches(published: float, null: float = 0.0) -> Rule:
    """Return the rule for a number that is beyond its null by so much in the published work."""

    def rule(metrics: AllMetrics, claim: Claim) -> str | None:
        beyond = _beyond_null(metrics, claim)
        if beyond is None:
            return None
        assert claim.ours is not None
        assert claim.null is not None
        x, ours_null = _ends(metrics, claim.ours)[0], _ends(metrics, claim.null)[0]
        assert x is not None
        assert ours_null is not None
        if not beyond:
            return FAILS
        return HOLDS if x - ours_null >= ENOUGH * (published - null) else WEAKER

    return rule


def above_null(metrics: AllMetrics, claim: Claim) -> str | None:
    """Rule for a claim without a number: ours must be beyond its null."""
    beyond = _beyond_null(metrics, claim)
    return None if beyond is None else HOLDS if beyond else FAILS


def between(low: float, high: float) -> Rule:
    """Return the rule for a number that the published work has in a range."""

    def rule(metrics: AllMetrics, claim: Claim) -> str | None:
        assert claim.ours is not None
        x = _ends(metrics, claim.ours)[0]
        return None if x is None else HOLDS if low <= x <= high else FAILS

    return rule


def below(most: float) -> Rule:
    """Return the rule for a number that must be small: its interval ends below `most`."""

    def rule(metrics: AllMetrics, claim: Claim) -> str | None:
        assert claim.ours is not None
        high = _ends(metrics, claim.ours)[2]
        return None if high is None else HOLDS if high < most else FAILS

    return rule


def exists(metrics: AllMetrics, claim: Claim) -> str | None:
    """Rule for a claim that something occurs: the interval does not hold 0."""
    assert claim.ours is not None
    low = _ends(metrics, claim.ours)[1]
    return None if low is None else HOLDS if low > 0 else FAILS


def below_null(metrics: AllMetrics, claim: Claim) -> str | None:
    """Rule for a number that must be smaller than its null has it."""
    assert claim.ours is not None
    assert claim.null is not None
    high, null = _ends(metrics, claim.ours)[2], _ends(metrics, claim.null)[0]
    return None if high is None or null is None else HOLDS if high < null else FAILS


def within_random(metrics: AllMetrics, claim: Claim) -> str | None:
    """Rule for what must not move: the number lies within the range of random vectors."""
    assert claim.ours is not None
    here = claim.ours.addresses[0]
    x = value(metrics, here)
    low, high = (value(metrics, beside(here, f"random_{end}")) for end in ("low", "high"))
    if x is None or low is None or high is None:
        return None
    return HOLDS if low <= x <= high else FAILS


def pareto(price: Number, other_price: Number) -> Rule:
    """Return the rule for more effect (`ours` above `null`) at no higher price."""

    def rule(metrics: AllMetrics, claim: Claim) -> str | None:
        assert claim.ours is not None
        assert claim.null is not None
        numbers = (claim.ours, claim.null, price, other_price)
        x, y, cost, other = (_ends(metrics, number)[0] for number in numbers)
        if x is None or y is None or cost is None or other is None:
            return None
        return HOLDS if x >= y and cost <= other else FAILS

    return rule


BRICKEN = "Bricken et al. 2023"
LAN = "Lan et al. 2024"
PAULO = "Paulo & Belrose 2025"
LEASK = "Leask et al. 2025"
NANDA = "Nanda 2023"
KORNBLITH = "Kornblith et al. 2019"
ENGELS = "Engels et al. 2024"
TURNER = "Turner et al. 2023"
MAYNE = "Mayne et al. 2024"
SMITH = "Smith et al. 2024"
PARK = "Park et al. 2024"

_SMALLER = (
    "4 layers instead of 1, the MLP's output instead of its 512 neurons, 1,024 features, sampled "
    "stories, B's layer is searched; far less training, which makes SAEs less stable"
)
_LAN = (
    "seed_a and stories15m instead of Pythia-70m and -160m, stories instead of OpenWebText, the "
    "layer of B is searched"
)
_AUDIT = "layers with the highest match, seed_a and stories15m instead of the Pythias"
_HUB = "needs the models of the hub: `make repro PROFILE=pretrained`"


def _m(address: str, digits: int = 2, percent: bool = False, **options: Any) -> Number:
    return Number(address, digits, percent, **options)


_BEST = "matching:seed_a_vs_seed_b_best_of_4_layers.median_r"
_NEURONS = "matching:neurons_seed_a_vs_seed_b.median_r"
_OPPOSED = "matching:seed_a_vs_seed_b_agreement.high_negative_logit"
_ALL = "matching:seed_a_vs_stories15m_pairing_a_to_b.mean_r"
_KEPT = "matching:seed_a_vs_stories15m_filter_min_r"
_SHARED = "matching:seed_a_vs_sae_seed_weights_hungarian_mean_mean.share_above"
_AUDITED = "similarity:audit_own_hook_filter_concept_tokens"
_TIME = "similarity:stories15m_vs_smollm2_decoders_concept_time_svcca_k1_as_published.value"
_LAYERS = "similarity:identified_resid_post"
_CIRCLE = "similarity:stories15m_vs_smollm2_b_weekdays_sentences_activations.circle_r2"
_LOVE = "steering:effect_stories15m_love_hate_mean_layer_4_times_2.effect"
_READ = "steering:misreading_stories15m_layer_4"
_PART = "steering:part_stories15m_layer_4"
_NOUNS = "hierarchy:smollm2_nouns"
_CORNERS = f"{_NOUNS}_polytope_animals"
_ANATOMY = "saes:anatomy_seed_a_l0_mlp_out_seed0"
_WIDTH = "saes:widths_topk_16_l0_hook_mlp_out_width_x16_in_x8"

CLAIMS = [
    Claim("nanda_neurons", "saes", NANDA, "some features are written by two to ten neurons", "4%",
          "seed_a, layer 0; gated SiLU neurons; 0.6M samples", reaches(0.04),
          _m(f"{_ANATOMY}.few_neurons", 1, True), _m(f"{_ANATOMY}.few_neurons", 1, True, end="null")),
    Claim("bricken_density", "saes", BRICKEN, "densities of features have two modes (gain in BIC of "
          "two normals over one, in log density)", "figure only",
          "seed_a, layer 0; in stories15m only layers 3 to 5", above_null,
          _m(f"{_ANATOMY}.delta_bic", 0), _m(f"{_ANATOMY}.delta_bic", 0, end="null")),
    Claim("leask_stitching", "saes", LEASK, "of a larger SAE's features, share that one half as wide "
          "has too", "65%", "2,048 against 1,024 features; decoder cosine above .7; another seed of "
          "the same width shares as many", reaches(0.65),
          _m(f"{_WIDTH}.found", 0, True), _m(f"{_WIDTH}.found", 0, True, end="null")),
    Claim("bricken_interpretable", "saes", BRICKEN, "features of random transformers score higher on "
          "interpretability", "figure only", "needs raters or a large model to explain features"),
    Claim("bricken_features", "matching", BRICKEN, "median best r of features, two LM seeds", "0.72",
          _SMALLER, reaches(0.72), _m(_BEST), _m(_BEST, end="null")),
    Claim("bricken_neurons", "matching", BRICKEN, "median best r of neurons, two LM seeds", "0.46",
          "gated SiLU neurons (512, as theirs), which are signed, instead of ReLU; 4 layers",
          reaches(0.46), _m(_NEURONS), _m(_NEURONS, end="null")),
    Claim("bricken_more", "matching", BRICKEN, "features agree more than neurons (as null: neurons)",
          "0.72 against 0.46", _SMALLER, reaches(0.72, 0.46), _m(_BEST), _m(_NEURONS)),
    Claim("bricken_opposed", "matching", BRICKEN, "features that fire alike may write opposed logits "
          "(share of pairs with high r)", "one pair, at .98", "later layers stand between most of our "
          "features and the logits, none between theirs", exists,
          _m(_OPPOSED, 0, True), _m(_OPPOSED, 0, True, end="null")),
    Claim("lan_r", "matching", LAN, "mean r of all pairs, many to one", "0.70 (Pythia, L2 to L5)",
          _LAN, reaches(0.698), _m(_ALL), _m(_ALL, end="null")),
    Claim("lan_kept", "matching", LAN, "mean r of the pairs that pass the filters",
          "0.59 (Pythia, L2 to L5)", _LAN + "; their non-concept filter did nothing in the released "
          "pipeline, ours works", reaches(0.594),
          _m(f"{_KEPT}.mean_r"), _m(f"{_KEPT}.mean_r", end="null")),
    Claim("lan_survive", "matching", LAN, "share of pairs that pass the filters", "0.1 to 0.3", _LAN,
          between(0.1, 0.3),
          _m(f"{_KEPT}.n_pairs", over="matching:seed_a_vs_stories15m_filter_all.n_pairs"),
          _m(f"{_KEPT}.n_pairs_null", over="matching:seed_a_vs_stories15m_filter_all.n_pairs_null")),
    Claim("paulo_seeds", "matching", PAULO, "two SAE seeds share less than half of their features "
          "(mean cosine above .7)", "0.42 (Pythia-160M, 32k features), 0.30 (Llama-3-8B, 131k)",
          "1,024 features and 0.6M samples; larger dictionaries share less, longer training more",
          below(0.5), _m(_SHARED), _m(_SHARED, end="null")),
    Claim("lan_pretrained", "matching", LAN, "the same on Pythia and Gemma", "see above", _HUB),
    Claim("lan_svcca", "similarity", LAN, "SVCCA, as released, of decoder rows of kept pairs",
          "0.54 to 0.68 (null .01)", _AUDIT, reaches(0.54, 0.01),
          _m(f"{_AUDITED}_svcca_k1_as_published.value"),
          _m(f"{_AUDITED}_svcca_k1_as_published.value", end="null")),
    Claim("lan_rsa", "similarity", LAN, "RSA of decoder rows of kept pairs", "0.11 to 0.21", _AUDIT,
          reaches(0.107), _m(f"{_AUDITED}_rsa.value"), _m(f"{_AUDITED}_rsa.value", end="null")),
    Claim("lan_time", "similarity", LAN, "SVCCA, as released, of features of time words",
          "0.59 (null about .1)", "stories15m and smollm2; few features, so a wide interval",
          reaches(0.59, 0.1), _m(_TIME), _m(_TIME, end="null")),
    Claim("kornblith_cka", "similarity", KORNBLITH, "linear CKA finds the same layer in another seed "
          "(as null: untrained LMs; chance is .20)", "0.99", "five LM seeds of 5 layers that have "
          "learned little, instead of ten CNNs of 10", reaches(0.993, 0.2),
          _m(f"{_LAYERS}_linear_cka.accuracy"), _m(f"{_LAYERS}_linear_cka.accuracy", end="null")),
    Claim("kornblith_cca", "similarity", KORNBLITH, "CCA does not find it (as null: linear CKA)",
          "0.01", "as above", below_null, _m(f"{_LAYERS}_cca.accuracy"),
          _m(f"{_LAYERS}_linear_cka.accuracy", interval=False)),
    Claim("engels_weekdays", "similarity", ENGELS, "weekdays lie on a circle (R² of their order)",
          "figure only (GPT-2)", "smollm2, MLP output of layer 9; not in the story models",
          above_null, _m(_CIRCLE), _m(_CIRCLE, end="null")),
    Claim("turner_steers", "steering", TURNER, "the difference of two prompts, added, steers what "
          "comes (love and hate; change of log odds)", "examples",
          "stories15m, layer 4, multiplier 2, mean of six pairs", above_null,
          _m(_LOVE), _m(_LOVE, end="null")),
    Claim("mayne_zero", "steering", MAYNE, "the zero vector has nearly the same strongest features as "
          "the steering vector (share of ten; as null: random vectors)", "two of two shown",
          "stories15m, layer 4, an SAE trained here; it becomes true of vectors far shorter",
          reaches(1.0), _m(f"{_READ}.overlap_zero"), _m(f"{_READ}.overlap_zero", end="null")),
    Claim("mayne_negative", "steering", MAYNE, "encoding a vector names none of the features that fall",
          "examples", "share of falling features it names, by squared contribution", below(0.1),
          _m(f"{_READ}.negative_named"), None),
    Claim("smith_pareto", "steering", SMITH, "one feature steers as much as the vector at a lower price "
          "(nats; as null: the vector)", "figure only (GPT-2 XL)", "stories15m, layer 4, multiplier "
          "4 for the feature, 2 for the vector; four vectors",
          pareto(_m(f"{_PART}_top_1_times_4.price"), _m(f"{_PART}_whole_times_2.price")),
          _m(f"{_PART}_top_1_times_4.effect"), _m(f"{_PART}_whole_times_2.effect")),
    Claim("park_existence", "hierarchy", PARK, "a concept's held-out words project on its vector by "
          "about 1 (as null: random words, nested alike)", "about 1", "smollm2, 622 noun concepts "
          "instead of Gemma-2B's 957", reaches(1.0), _m(f"{_NOUNS}_lda_held_out_test.value"),
          _m(f"{_NOUNS}_lda_held_out_test.value", end="nested")),
    Claim("park_orthogonal", "hierarchy", PARK, "child - parent is orthogonal to the parent: |cos| "
          "below that of random words, nested alike", "near 0", "their null shuffles unembeddings, "
          "which any nesting passes", below_null, _m(f"{_NOUNS}_lda_to_parent_abs.value", 3),
          _m(f"{_NOUNS}_lda_to_parent_abs.value", 3, end="nested")),
    Claim("park_siblings", "hierarchy", PARK, "two animal classes have alike vectors (cosine; as null: "
          "random parts of the animals)", "0.198 (mammal, reptile; shuffled .031)", "mean of all pairs "
          "of classes", reaches(0.198, 0.031), _m(f"{_CORNERS}_corner_cosine.value"),
          _m(f"{_CORNERS}_corner_cosine.value", end="random")),
    Claim("park_corners", "hierarchy", PARK, "categories are corners: held-out words are nearest to "
          "their own", "figure only", "animals, four classes", above_null,
          _m(f"{_CORNERS}_nearest_corner.value"), _m(f"{_CORNERS}_nearest_corner.value", end="random")),
    Claim("park_regular", "hierarchy", PARK, "the simplex is regular: its edges vary less than those of "
          "random parts", "figure only", "animals, four classes", below_null,
          _m(f"{_CORNERS}_edge_variation.value"), _m(f"{_CORNERS}_edge_variation.value", end="random")),
    Claim("park_child", "hierarchy", PARK, "adding child - parent raises the child's logits",
          "5.13 ± 1.17 (plant to animal)", "organism to animal; words not used for the vector",
          reaches(5.13), _m(f"{_NOUNS}_intervention_organism_animal_child.value"),
          _m(f"{_NOUNS}_intervention_organism_animal_child.value", end="nested")),
    Claim("park_parent", "hierarchy", PARK, "and leaves the parent's: no more than random vectors move "
          "them", "-0.06 ± 1.22", "organism to animal; of mammals and of meat they fall by more than "
          "random vectors lower them", within_random,
          _m(f"{_NOUNS}_intervention_organism_animal_parent.value"),
          _m(f"{_NOUNS}_intervention_organism_animal_parent.value", end="random")),
]  # fmt: skip

_RULE = (
    "Published claims beside ours. Intervals are 95%. Verdicts follow from the numbers: a value is "
    f"beyond its null if its interval is and its p (where there is one) is at most {LEAST_P:.2f}; it "
    f"then holds if it reaches {ENOUGH:.0%} of the published distance from the null, and holds weaker "
    "if not. A claim that something is small or absent holds if the whole interval says so."
)


def _texts(metrics: AllMetrics, claim: Claim) -> tuple[str, str]:
    ours, null = (
        NOT_HERE if number is None else number.text(metrics) for number in (claim.ours, claim.null)
    )
    return ours, null


def claims_json(metrics: AllMetrics) -> list[dict[str, str]]:
    """Return every claim with its published value, ours, the null and the verdict, as text."""
    found = []
    for claim in CLAIMS:
        ours, null = _texts(metrics, claim)
        found.append(
            {
                "id": claim.id,
                "study": claim.study,
                "source": claim.source,
                "claim": claim.claim,
                "published": claim.published,
                "ours": ours,
                "null": null,
                "verdict": claim.verdict(metrics),
                "differs": claim.differs,
            }
        )
    return found


def claims_table(metrics: AllMetrics) -> Table:
    """Return the claims of all studies as one table."""
    header = ["claim", "source", "published", "ours", "null", "verdict", "what differs"]
    rows = [
        [claim.claim, claim.source, claim.published, claim.ours or NOT_HERE, claim.null or NOT_HERE,
         claim.verdict(metrics), claim.differs]
        for claim in CLAIMS
    ]  # fmt: skip
    return Table("published", _RULE, header, rows, "lllllll", keep_empty=True)
