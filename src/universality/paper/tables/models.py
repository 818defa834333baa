"""Tables of the language models."""

from universality.paper.numbers import AllMetrics, Number
from universality.paper.table import Cell, Table


def tables(metrics: AllMetrics) -> list[Table]:
    """Return cross-entropies beside n-gram baselines, for every model on every text."""
    rows: list[list[Cell]] = []
    for entry in metrics["models"]:
        at = f"models:{entry}"
        rows.append(
            [
                entry.replace("_stories", ""),
                Number(f"{at}.vocab_size", 0),
                Number(f"{at}.cross_entropy", 3),
                Number(f"{at}.unigram", 3),
                Number(f"{at}.bigram", 3),
                Number(f"{at}.bits_per_character", 3),
            ]
        )
    caption = (
        "Cross-entropy of every model on held-out stories, in nats per token, beside unigram and "
        "bigram models of the same tokens; bits per character compare models of different "
        "tokenizers. Intervals over documents."
    )
    header = ["model", "vocabulary", "cross-entropy", "unigram", "bigram", "bits/character"]
    return [Table("models_loss", caption, header, rows)]
