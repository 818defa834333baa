"""Tables of the study of hierarchy."""

from universality.paper.numbers import AllMetrics, Number, null_of
from universality.paper.table import Cell, Table

GRAPHS = {
    "smollm2_nouns_above_50": "smollm2, nouns",
    "smollm2_verbs_above_50": "smollm2, verbs",
    "stories15m_nouns_above_20": "stories15m, nouns",
}
"""Entry of the metrics, with the tokens that a concept has more than -> what it is of."""
CLAIMS = {
    "held_out_test": "existence: its held-out words",
    "held_out_random": "existence: other words",
    "to_parent_abs": "|cos(child − parent, parent)|",
    "to_grandparent_abs": "|cos(child − parent, parent − grandparent)|",
    "to_stranger": "cos(child − other, other), a random parent",
    "to_strange_grandparent": "cos(child − other, other − above)",
    "siblings": "cos(child − parent, sibling − parent)",
    "held_out_rest_on_rest": "parent without the child: its other words",
    "held_out_child_on_rest": "parent without the child: the child's words",
    "held_out_stranger_on_rest": "parent without the child: another's words",
    "held_out_rest_above_child": "what the child lacks",
    "held_out_child_above_stranger": "what it has more than others",
    "closeness": "closeness and cos",
    "closeness_apart": "closeness and cos, no common word",
    "closeness_differences": "closeness and cos(child − parent)",
    "closeness_differences_apart": "the same, no common word",
}
"""Statistics of `hierarchy.study`."""
OTHERS = {"smollm2_verbs": "smollm2, verbs", "stories15m_nouns": "stories15m, nouns"}
ESTIMATORS = {
    "lda": "LDA, whitened (the study's own)",
    "mean": "mean, whitened",
    "lda_unshrunk": "LDA without shrinkage, whitened",
    "lda_euclidean": "LDA, not whitened",
    "mean_euclidean": "mean, not whitened",
}
POLYTOPES = {
    "smollm2_nouns": ("animals", "mammals_birds_fish", "plants", "foods", "artifacts"),
    "stories15m_nouns": ("animals", "foods"),
}
INTERVENTIONS = {
    "smollm2_nouns": (
        "organism_animal", "animal_mammal", "animal_bird", "artifact_vehicle", "artifact_clothing",
        "food_meat",
    ),
    "stories15m_nouns": (
        "organism_animal", "animal_mammal", "animal_bird", "artifact_vehicle", "artifact_clothing",
        "food_fruit",
    ),
}  # fmt: skip
"""Graph -> parent and child."""
FEATURES = {
    "selectivity": "P(fires | concept) − P(fires | other), held out",
    "own_cosine": "cosine of its features with its vector",
    "stranger_cosine": "the same with another concept's vector",
    "random_feature_cosine": "random features with its vector",
    "made_of_cosine": "a few features, by pursuit: cosine",
    "made_of_own": "those of them that are selective",
}
SAES = {
    "smollm2_l15_mlp_out_seed0": "smollm2, MLP of layer 15",
    "stories15m_topk_32_x8_l3_resid_post_seed0": "stories15m, stream of layer 3",
}


def tables(metrics: AllMetrics) -> list[Table]:
    """Return the tables of this study; `metrics` says which entries there are."""
    return [
        _counts(),
        _claims("smollm2_nouns"),
        _other_claims(),
        _estimators("smollm2_nouns"),
        _polytopes(),
        _interventions(),
        _features(),
    ]


def _with_null(at: str, digits: int = 2, end: str = "nested") -> list[Cell]:
    return [Number(f"{at}.value", digits), null_of(f"{at}.value", digits, end=end)]


def _counts() -> Table:
    columns = ("words", "words_with_tokens", "synsets_with_tokens", "concepts", "edges", "chains")
    rows: list[list[Cell]] = [
        [label, *(Number(f"hierarchy:counts_{entry}.{name}", 0) for name in columns)]
        for entry, label in GRAPHS.items()
    ]
    return Table(
        "hierarchy_counts",
        "WordNet as tokenizers see it: words, words that are a single token, synsets with such a "
        "word below them, and the concepts that have enough of them, with pairs of child and "
        "parent and chains of child, parent and grandparent.",
        ["model", "words", "single tokens", "synsets", "concepts", "pairs", "chains"],
        rows,
    )


def _claims(graph: str) -> Table:
    rows: list[list[Cell]] = []
    for statistic, label in CLAIMS.items():
        at = f"hierarchy:{graph}_lda_{statistic}"
        digits = 3 if statistic.endswith("_abs") else 2
        rows.append(
            [
                label,
                *_with_null(at, digits),
                null_of(f"{at}.value", end="nested_p"),
                null_of(f"{at}.value", digits, end="shuffled"),
            ]
        )
    return Table(
        "hierarchy_claims",
        "Claims about concept vectors in the unembedding of smollm2, nouns: WordNet's concepts, "
        "random words with the same nesting and sizes, p of the claim against these (where there "
        "is a claim), and shuffled unembeddings. Projections are in units of the vector; closeness "
        "in WordNet and cosine by Spearman. Intervals over parents.",
        ["statistic", "WordNet", "random, nested", "p", "shuffled"],
        rows,
    )


def _other_claims() -> Table:
    rows: list[list[Cell]] = []
    for statistic, label in CLAIMS.items():
        row: list[Cell] = [label]
        for graph in OTHERS:
            digits = 3 if statistic.endswith("_abs") else 2
            row += _with_null(f"hierarchy:{graph}_lda_{statistic}", digits)
        rows.append(row)
    return Table(
        "hierarchy_other_claims",
        "The same claims for verbs and for a smaller model. Beside each, random words with the "
        "same nesting and sizes.",
        ["statistic", *(cell for label in OTHERS.values() for cell in (label, "random"))],
        rows,
    )


def _estimators(graph: str) -> Table:
    rows: list[list[Cell]] = []
    for estimator, label in ESTIMATORS.items():
        row: list[Cell] = [label]
        for statistic in ("held_out_test", "held_out_rest_above_child", "to_parent_abs"):
            row += _with_null(f"hierarchy:{graph}_{estimator}_{statistic}")
        rows.append(row)
    return Table(
        "hierarchy_estimators",
        "What the estimator does, nouns of smollm2: existence, what a child lacks of its parent's "
        "vector made without it, and the size of cos(child − parent, parent). Beside each, random "
        "words with the same nesting and sizes; intervals over parents.",
        ["estimator", "existence", "random", "lacks", "random", "|cos|", "random"],
        rows,
    )


def _polytopes() -> Table:
    rows: list[list[Cell]] = []
    for graph, names in POLYTOPES.items():
        for name in names:
            row: list[Cell] = [f"{graph.partition('_')[0]}, {name.replace('_', ' ')}"]
            for statistic in ("nearest_corner", "edge_variation", "parent_in_span"):
                row += _with_null(f"hierarchy:{graph}_polytope_{name}_{statistic}", end="random")
            rows.append(row)
    return Table(
        "hierarchy_polytopes",
        "Categories as corners of a simplex: held-out words nearest to the corner of their own "
        "category, variation of the edges' lengths (0: regular), and length of the parent's unit "
        "vector in the simplex's span (0: orthogonal). Beside each, random parts of the same "
        "parent; intervals over groups of words.",
        ["categories", "own corner", "random", "edges", "random", "parent", "random"],
        rows,
    )


def _interventions() -> Table:
    rows: list[list[Cell]] = []
    for graph, pairs in INTERVENTIONS.items():
        for pair in pairs:
            parent, child = pair.split("_")
            row: list[Cell] = [f"{graph.partition('_')[0]}: {child} − {parent}"]
            for contrast in ("child", "parent"):
                at = f"hierarchy:{graph}_intervention_{pair}_{contrast}"
                row += [
                    Number(f"{at}.value"),
                    null_of(f"{at}.value", end="nested"),
                    null_of(f"{at}.value", end="random"),
                ]
            rows.append(row)
    return Table(
        "hierarchy_interventions",
        "l_child − l_parent added to the last residual: change of the mean logit of the child's "
        "held-out words over the parent's others, and of these over all other words (claim: none). "
        "Beside each, a random part of the parent in the child's place, and a random vector as "
        "long; intervals over documents.",
        ["vector", "child", "part", "vector", "parent", "part", "vector"],
        rows,
    )


def _features() -> Table:
    rows: list[list[Cell]] = []
    for statistic, label in FEATURES.items():
        row: list[Cell] = [label]
        for sae in SAES:
            row += _with_null(f"hierarchy:{sae}_{statistic}", 3)
        rows.append(row)
    return Table(
        "hierarchy_features",
        "SAE features and concept vectors at the same hook: how selectively the most selective "
        "features of a concept fire, and how they lie to its vector. Beside each, random words "
        "with the same nesting and sizes; intervals over parents.",
        ["statistic", *(cell for label in SAES.values() for cell in (label, "random"))],
        rows,
    )
