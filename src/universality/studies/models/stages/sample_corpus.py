"""`universality run sample-corpus`: stories written by a language model."""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.core.params.corpora import SampledCorpus


def command(
    corpus: Annotated[str, typer.Argument(help="key of `sampled_corpora`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model that writes")],
    out: Annotated[Path, typer.Option(help="directory of the new corpus")],
    workers: Annotated[int, typer.Option(min=1, help="batches at once; changes no result")] = 1,
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Sample stories from a language model.

    Sample documents until there are `n_tokens` tokens, then split them by document.
    """
    section = load_section(params, SampledCorpus, "sampled_corpora", corpus)

    import torch
    from transformers import AutoModelForCausalLM

    from universality.core.corpora import load_tokenizer, split_documents, write_corpus
    from universality.studies.models.sampled_corpus import sample_texts

    tokenizer, bos = load_tokenizer(model)
    language_model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    texts, n_tokens = sample_texts(language_model, tokenizer, bos, section, corpus, workers)
    splits = split_documents(texts, section.validation_fraction, section.seed, corpus)
    origin = {"sampled_from": model.name, "n_tokens": n_tokens, **section.model_dump()}
    write_corpus(out, splits, origin)
