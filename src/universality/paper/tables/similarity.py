"""Tables of the study of spaces: measures, concepts, decoders, audit, layers, stitching, maps."""

from universality.paper.numbers import AllMetrics, Number, null_of
from universality.paper.table import Cell, Table

PAIRS = {
    "seed_a_vs_seed_b": "seed_a, seed_b",
    "seed_a_vs_stories15m": "seed_a, stories15m",
    "stories15m_vs_smollm2": "stories15m, smollm2",
    "seed_a_vs_random_a": "seed_a, random_a",
}
TRAINED = list(PAIRS)[:3]
MEASURES = {
    "svcca": "SVCCA",
    "linear_cka_unbiased": "CKA",
    "rsa": "RSA",
    "mutual_knn": "neighbours",
}
CONCEPTS = {
    "she_her": "she, her", "people": "people", "emotions": "emotions", "time": "time",
    "food": "food", "nature": "nature", "colours": "colours", "animals": "animals",
    "names": "names",
}  # fmt: skip
PAIRINGS = {
    "a_to_b": "nearest in B",
    "b_to_a": "nearest in A",
    "one_per_b": "nearest in B, one each",
    "mutual": "mutual nearest",
    "hungarian": "Hungarian",
    "transport": "optimal transport",
    "filter_concept_tokens": "filter: concept tokens",
    "filter_shared_token": "and a shared top token",
    "filter_one_per_b": "and one per feature of B",
    "filter_min_r": "and r above the least",
}
VARIANTS = {
    "before_hook_filter_none": "layer before, no token filter (as released)",
    "before_hook_filter_concept_tokens": "layer before, token filter",
    "own_hook_filter_none": "own layer, no token filter",
    "own_hook_filter_concept_tokens": "own layer, token filter",
}
IDENTIFIED = {
    "cca": "CCA, mean",
    "svcca": "SVCCA",
    "pwcca_of_query": "PWCCA",
    "regression_of_query": "regression",
    "procrustes": "Procrustes",
    "linear_cka": "linear CKA",
    "rbf_cka_0.8": "RBF CKA, unbiased",
    "rsa_correlation": "RSA",
    "pairwise_distance_pearson": "distances, Pearson",
    "mutual_knn": "mutual neighbours",
}
STITCHED = {
    "seed_a_into_itself": "seed_a into itself",
    "seed_a_into_seed_b": "seed_a into seed_b",
    "seed_b_into_seed_a": "seed_b into seed_a",
    "stories15m_into_seed_a": "stories15m into seed_a",
}
SIDES = {
    "seed_a_vs_seed_b_a": "seed_a (with seed_b)",
    "seed_a_vs_seed_b_b": "seed_b",
    "seed_a_vs_random_a_b": "random_a (with seed_a)",
    "stories15m_vs_smollm2_a": "stories15m (with smollm2)",
    "stories15m_vs_smollm2_b": "smollm2",
}
SPACES = {"decoder": "decoder rows", "activations": "activations"}
ORDERED = {
    "seed_a_vs_seed_b_a": "seed_a",
    "seed_a_vs_random_a_b": "random_a",
    "stories15m_vs_smollm2_a": "stories15m",
    "stories15m_vs_smollm2_b": "smollm2",
}


def tables(metrics: AllMetrics) -> list[Table]:
    """Return the tables of this study; `metrics` says which entries there are."""
    return [
        _spaces(),
        _concepts(),
        _decoders(metrics),
        _audit(),
        _identification(),
        _stitching(metrics),
        _clusters(),
        _words(),
    ]


def _spaces() -> Table:
    rows: list[list[Cell]] = []
    for pair, label in PAIRS.items():
        for measure, name in MEASURES.items():
            cells: list[Cell] = [f"{label}: {name}"]
            for space in ("activations", "features"):
                at = f"similarity:{pair}_{space}_{measure}.value"
                cells += [Number(at), null_of(at), null_of(at, end="random_lm")]
            rows.append(cells)
    return Table(
        "similarity_spaces",
        "Similarity of two models at the pair of layers that each measure finds most alike: of LM "
        "activations at the SAEs' hooks (left) and of SAE features (right). Null: documents of B "
        "exchanged; untr.: an untrained LM in the place of B. CKA is unbiased. Intervals over "
        "documents.",
        ["A, B: measure", "activations", "null", "untr.", "features", "null", "untr."],
        rows,
    )


def _concepts() -> Table:
    rows: list[list[Cell]] = []
    for concept, label in CONCEPTS.items():
        cells: list[Cell] = [label]
        for pair in TRAINED:
            at = f"similarity:{pair}_activations_inside_{concept}.value"
            cells += [Number(at), null_of(at, end="random")]
        rows.append(cells)
    header = [text for pair in TRAINED for text in (PAIRS[pair], "random")]
    return Table(
        "similarity_concepts",
        "Unbiased CKA of LM activations on the positions of one concept alone, one position per "
        "document, at the layers most alike; random: as many positions of other documents. "
        "Intervals over positions.",
        ["concept", *header],
        rows,
    )


def _decoders(metrics: AllMetrics) -> Table:
    rows: list[list[Cell]] = []
    for pairing, label in PAIRINGS.items():
        cells: list[Cell] = [label]
        for pair in TRAINED:
            # At the pair of layers that the matching study found most alike.
            start, end = f"{pair}_decoders_{pairing}_layer_", "_linear_cka_unbiased"
            found = [
                entry
                for entry in metrics["similarity"]
                if entry.startswith(start) and entry.endswith(end)
            ]
            at = f"similarity:{found[0] if found else start + '0' + end}.value"
            cells += [Number(at), null_of(at)]
        rows.append(cells)
    header = [text for pair in TRAINED for text in (PAIRS[pair], "null")]
    return Table(
        "similarity_decoders",
        "Unbiased CKA of the decoder rows of paired features at the layers that matching finds "
        "most alike, by how features are paired and filtered. Null: partners exchanged. Intervals "
        "over pairs.",
        ["pairing", *header],
        rows,
    )


def _audit() -> Table:
    rows: list[list[Cell]] = []
    for variant, label in VARIANTS.items():
        at = f"similarity:audit_{variant}"
        k1, share, cka = (
            f"{at}_{name}.value"
            for name in ("svcca_k1_as_published", "svcca", "linear_cka_unbiased")
        )
        cells: list[Cell] = [label, Number(f"{at}_svcca.n", 0)]
        cells += [Number(k1), null_of(k1), Number(share), null_of(share), Number(cka)]
        rows.append(cells)
    return Table(
        "similarity_audit",
        "The published SVCCA on our models (decoder rows of filtered pairs): with the one "
        "component that the released code keeps, with the share of the variance that it means to "
        "keep, and unbiased CKA, whose null is 0. Nulls: partners exchanged. Intervals over "
        "pairs.",
        ["fed from; filter", "pairs", "k = 1", "null", "all", "null", "CKA"],
        rows,
    )


def _identification() -> Table:
    rows: list[list[Cell]] = []
    for measure, label in IDENTIFIED.items():
        cells: list[Cell] = [label]
        for site in ("resid_post", "mlp_out"):
            at = f"similarity:identified_{site}_{measure}.accuracy"
            cells += [Number(at), null_of(at)]
        rows.append(cells)
    return Table(
        "similarity_identification",
        "Share of layers whose most similar layer in another LM seed is the same layer, after "
        "training and before (null). Intervals over LMs; the figure has every measure.",
        ["measure", "residual stream", "untrained", "MLP output", "untrained"],
        rows,
    )


def _stitching(metrics: AllMetrics) -> Table:
    rows: list[list[Cell]] = []
    for pair, label in STITCHED.items():
        start = f"stitch_{pair}_layer_"
        layers = sorted(
            int(entry.removeprefix(start))
            for entry in metrics["similarity"]
            if entry.startswith(start)
        )
        for layer in layers:
            at = f"similarity:{start}{layer}"
            rows.append(
                [
                    f"{label}, layer {layer}",
                    Number(f"{at}.layer_a", 0),
                    Number(f"{at}.ce"),
                    Number(f"{at}.ce_clean", interval=False),
                    Number(f"{at}.recovered"),
                    Number(f"{at}.recovered_control"),
                    null_of(f"{at}.recovered"),
                ]
            )
    return Table(
        "similarity_stitching",
        "Stitching A into a layer of B's residual stream: the layer of A with the best fit, B's CE "
        "with it and as it is (nats per token), and the share of what mean ablation costs that is "
        "kept, with A, with an untrained LM in its place, and with A fitted to shuffled positions "
        "(null). Intervals over documents.",
        ["A into B", "layer of A", "CE", "CE of B", "kept", "untrained", "null"],
        rows,
    )


def _clusters() -> Table:
    rows: list[list[Cell]] = []
    for side, label in SIDES.items():
        for space, name in SPACES.items():
            at = f"similarity:{side}_{space}_hdbscan_umap"
            rows.append(
                [
                    f"{label}: {name}",
                    Number(f"{at}.n_clusters", 0),
                    null_of(f"{at}.n_clusters", 0),
                    Number(f"{at}.purity"),
                    null_of(f"{at}.purity"),
                    Number(f"{at}.rand_across"),
                    null_of(f"{at}.rand_across"),
                ]
            )
    return Table(
        "similarity_clusters",
        "Clusters of features (HDBSCAN on a UMAP): how many, and in as many random directions; "
        "share of a cluster's features with its commonest top token, and with tokens permuted; "
        "adjusted Rand index of the clusters of matched features in the two models, and with "
        "clusters permuted. Intervals over features.",
        ["model: space", "clusters", "null", "purity", "null", "shared", "null"],
        rows,
    )


def _words() -> Table:
    rows: list[list[Cell]] = []
    for side, label in ORDERED.items():
        for order in ("weekdays", "months", "numbers"):
            at = f"similarity:{side}_{order}_sentences_activations"
            cells: list[Cell] = [f"{label}: {order}"]
            for shape in ("circle_r2", "line_r2"):
                where = f"{at}.{shape}"
                cells += [Number(where), null_of(where), null_of(where, 3, end="q")]
            rows.append(cells)
    return Table(
        "similarity_words",
        "Words in made sentences, activations at one MLP output of each model: how much of the "
        "spread of their means a circle or a line in their order explains, on the best of the "
        "first principal planes or components. Null: words permuted; q over the tests of the pair "
        "of models. Intervals over sentences.",
        ["model: words", "circle", "null", "q", "line", "null", "q"],
        rows,
    )
