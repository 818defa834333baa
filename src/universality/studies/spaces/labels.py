"""What figures and tables call the measures of similarity, in the order in which they show them."""

MEASURES = {
    "linear_cka_unbiased": "linear CKA (unbiased)",
    "rsa": "RSA (Spearman)",
    "mutual_knn": "mutual k-NN",
    "cca": "CCA (mean)",
    "cca_r2": "CCA (R²)",
    "svcca": "SVCCA (99%)",
    "svcca_k1_as_published": "SVCCA, k = 1",
    "pwcca": "PWCCA",
    "regularised_cca": "regularised CCA",
    "regression_r2": "regression R²",
    "procrustes": "Procrustes",
    "linear_cka": "linear CKA (biased)",
    "rbf_cka": "RBF CKA (unbiased)",
    "rsa_pearson": "RSA (Pearson)",
    "pairwise_distance_pearson": "distances (Pearson)",
    "distance_correlation": "distance correlation",
}
_SIDES = {"_of_query": ", of i", "_of_candidate": ", of j"}
"""A measure that is not symmetric, where layer i looks for its like among layers j."""


def measure(key: str) -> str:
    """Return what a measure is called, also with a side, a bandwidth or a distance in its key."""
    for ending, words in _SIDES.items():
        if key.endswith(ending):
            return measure(key.removesuffix(ending)) + words
    if key in MEASURES:
        return MEASURES[key]
    of, _, variant = key.rpartition("_")
    return {"svcca": "SVCCA (99%, R²)"}.get(of) or f"{MEASURES[of]}, {variant}"


def in_order(keys: list[str]) -> list[str]:
    """Return keys of measures, each once, in the order of `MEASURES`."""
    known = list(MEASURES)

    def place(key: str) -> int:
        return max((i for i, name in enumerate(known) if key.startswith(name)),
                   key=lambda i: len(known[i]))  # fmt: skip

    return sorted(dict.fromkeys(keys), key=place)
