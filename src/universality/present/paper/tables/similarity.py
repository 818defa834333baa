"""Tables of the study of spaces: measures of all layers, and the audit of SVCCA."""

from universality.core import names
from universality.core.numbers import AllMetrics, Number, null_of
from universality.present.paper.table import Cell, Table
from universality.studies.spaces import labels

PAIRS = ("seed_a_vs_seed_b", "seed_a_vs_stories15m", "stories15m_vs_smollm2", "seed_a_vs_random_a")
MEASURES = list(labels.MEASURES)[:3]
"""Those of the maps of layers."""
AUDITED = {
    "layers_0_0_own_hook_filter_none": "layers 0, 0: own layer, no token filter",
    "layers_0_0_own_hook_filter_concept_tokens": "layers 0, 0: own layer, token filter",
    "layers_2_3_before_hook_filter_none": "layers 2, 3: layer before, no token filter",
    "layers_2_3_before_hook_filter_concept_tokens": "layers 2, 3: layer before, token filter",
    "layers_2_3_own_hook_filter_none": "layers 2, 3: own layer, no token filter",
    "layers_2_3_own_hook_filter_concept_tokens": "layers 2, 3: own layer, token filter",
}


def tables(metrics: AllMetrics) -> list[Table]:
    """Return the tables of this study; `metrics` is not asked, all have the same rows."""
    return [_spaces(), _audit()]


def _spaces() -> Table:
    rows: list[list[Cell]] = []
    for pair in PAIRS:
        for measure in MEASURES:
            cells: list[Cell] = [f"{names.pair(pair)}: {labels.measure(measure)}"]
            for space in ("activations", "features"):
                at = f"similarity:{pair}_{space}_{measure}.value"
                cells += [Number(at), null_of(at, end="null_high"), null_of(at, end="random_lm")]
            rows.append(cells)
    return Table(
        "similarity_spaces",
        "Similarity of two models at the pair of layers that each measure finds most alike: of LM "
        "activations at the SAEs' hooks (left) and of SAE features (right). Null: 95% of maps of "
        "exchanged documents have a lower highest value; untr.: an untrained LM in the place of B. "
        "Intervals over documents, at the layers chosen.",
        ["A and B: measure", "activations", "null", "untr.", "features", "null", "untr."],
        rows,
    )


def _audit() -> Table:
    rows: list[list[Cell]] = []
    for variant, label in AUDITED.items():
        at = f"similarity:audit_{variant}"
        k1, share, rsa = (
            f"{at}_{name}.value" for name in ("svcca_k1_as_published", "svcca", "rsa")
        )
        cells: list[Cell] = [label, Number(f"{at}_svcca.n", 0)]
        for number in (k1, share, rsa):
            cells += [Number(number), null_of(number)]
        rows.append(cells)
    return Table(
        "similarity_audit",
        "The published SVCCA on LM seed A and stories15M (decoder rows of filtered pairs): with "
        "the one component that the released code keeps, with the share of the variance that it "
        "means to keep, and RSA. Nulls: partners exchanged. Intervals over pairs.",
        ["fed from; filter", "pairs", "k = 1", "null", "99%", "null", "RSA", "null"],
        rows,
    )
