"""Plain names of models and pairs, for figures and tables."""

MODELS = {
    "stories15m": "stories15M",
    "smollm2": "SmolLM2",
    "seed_a": "LM seed A",
    "seed_b": "LM seed B",
    "random_a": "untrained LM A",
    "random_b": "untrained LM B",
}
PAIRS = {
    "seed_a_vs_sae_seed": "two SAE seeds of LM A",
    "seed_a_vs_seed_b": "two LM seeds",
    "seed_a_vs_stories15m": "LM seed A and stories15M",
    "stories15m_vs_smollm2": "stories15M and SmolLM2",
    "seed_a_vs_random_a": "LM seed A and an untrained LM",
    "random_a_vs_random_b": "two untrained LMs",
}
"""Pairs that have a name of their own, in the order in which figures show them."""


def model(key: str) -> str:
    """Return the name of a model; its key if it has none."""
    return MODELS.get(key, key)


def pair(key: str) -> str:
    """Return the name of a pair `<a>_vs_<b>` or of a stitch `<a>_into_<b>`."""
    if key in PAIRS:
        return PAIRS[key]
    for between, words in (("_vs_", " and "), ("_into_", " into ")):
        a, found, b = key.partition(between)
        if found:
            return f"{model(a)}{words}{'itself' if b == 'itself' else model(b)}"
    return key


def in_order(keys: "list[str]") -> list[str]:
    """Return keys of pairs in the order of `PAIRS`, the others behind."""
    known = list(PAIRS)
    return sorted(keys, key=lambda key: known.index(key) if key in PAIRS else len(known))
