"""`universality sample-corpus`: stories written by a language model."""

import logging
import time
from pathlib import Path
from typing import Annotated

import typer

from universality.params.base import load_section
from universality.params.corpora import SampledCorpus


def command(
    corpus: Annotated[str, typer.Argument(help="key of `sampled_corpora`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the model that writes")],
    out: Annotated[Path, typer.Option(help="directory of the new corpus")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Sample documents until there are `n_tokens` tokens, then split them by document."""
    section = load_section(params, SampledCorpus, "sampled_corpora", corpus)

    import torch
    from transformers import AutoModelForCausalLM

    from universality.corpora import load_tokenizer, split_documents, write_corpus
    from universality.progress import progress
    from universality.randomness import derive_seed
    from universality.sampling import sample_documents

    tokenizer, bos = load_tokenizer(model)
    language_model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    stop = {bos, language_model.config.eos_token_id}
    random = torch.Generator().manual_seed(derive_seed(section.seed, "sample", corpus))
    texts: list[str] = []
    n_tokens, started = 0, time.monotonic()
    with progress(total=section.n_tokens, unit="token", desc="sampling") as bar:
        while n_tokens < section.n_tokens:
            for ids in sample_documents(
                language_model, section.batch_size, section.max_tokens,
                section.temperature, bos, stop, random,
            ):  # fmt: skip
                text = tokenizer.decode(ids).strip()
                if text:
                    texts.append(text)
                    n_tokens += len(ids)
            bar.update(n_tokens - bar.n)
    seconds = time.monotonic() - started
    logging.info("%d tokens in %d stories, %.0f tokens/s", n_tokens, len(texts), n_tokens / seconds)
    splits = split_documents(texts, section.validation_fraction, section.seed, corpus)
    origin = {"sampled_from": model.name, "n_tokens": n_tokens, **section.model_dump()}
    write_corpus(out, splits, origin)
