"""`universality run evaluate-model`: a language model's cross-entropy beside n-gram baselines."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.core.params.models import ModelEvaluation


def command(
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model")],
    corpus: Annotated[Path, typer.Option(help="corpus directory")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    out: Annotated[Path, typer.Option(help="table of one row")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Measure a model's cross-entropy beside n-gram baselines.

    Evaluate on validation documents; the n-grams are counted on the training documents.
    """
    section = load_section(params, ModelEvaluation, "model_evaluation")

    import numpy as np
    import pandas as pd

    from universality.core.corpora import load_tokens
    from universality.core.io import write_table
    from universality.core.models import document_losses, load_bridge
    from universality.core.ngrams import bigram_losses, unigram_losses
    from universality.core.randomness import generator
    from universality.core.stats import ratio_interval

    bridge = load_bridge(model)
    vocab_size = bridge.cfg.d_vocab
    train = load_tokens(corpus, "train", model, max_tokens)
    tokens = load_tokens(corpus, "validation", model, max_tokens, section.n_documents)
    sums, counts = document_losses(bridge, tokens, section.batch_tokens)
    random = generator(section.seed, "evaluate_model", model.name, corpus.name)
    low, high = ratio_interval(sums, counts, section.n_bootstrap, random)
    characters = sum(tokens.end[last - 1] for last in tokens.bounds[1:])
    row = {
        "model": model.name,
        "corpus": corpus.name,
        "cross_entropy": sums.sum() / counts.sum(),
        "cross_entropy_low": low,
        "cross_entropy_high": high,
        "unigram": unigram_losses(train, tokens, vocab_size).sum() / counts.sum(),
        "bigram": bigram_losses(train, tokens, vocab_size).sum() / counts.sum(),
        "bits_per_character": sums.sum() / np.log(2) / characters,
        "vocab_size": vocab_size,
        "n_tokens": int(counts.sum()),
        "n_documents": tokens.n_documents,
    }
    write_table(out, pd.DataFrame([row]))
