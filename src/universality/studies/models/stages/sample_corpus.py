"""`universality sample-corpus`: stories written by a language model."""

import logging
import time
from collections import deque
from itertools import count
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

    from concurrent.futures import ThreadPoolExecutor

    import torch
    from transformers import AutoModelForCausalLM

    from universality.core.corpora import load_tokenizer, split_documents, write_corpus
    from universality.core.progress import progress
    from universality.core.randomness import derive_seed
    from universality.core.sampling import sample_documents

    tokenizer, bos = load_tokenizer(model)
    language_model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    stop = {bos, language_model.config.eos_token_id}

    def batch(index: int) -> list[list[int]]:
        seed = derive_seed(section.seed, "sample", corpus, index)
        random = torch.Generator().manual_seed(seed)
        return list(sample_documents(
            language_model, section.batch_size, section.max_tokens,
            section.temperature, bos, stop, random,
        ))  # fmt: skip

    texts: list[str] = []
    n_tokens, started = 0, time.monotonic()
    with (
        progress(total=section.n_tokens, unit="token", desc="sampling") as bar,
        ThreadPoolExecutor(workers) as pool,
    ):
        batches = deque(pool.submit(batch, index) for index in range(workers))
        for n_done in count(1):
            for ids in batches.popleft().result():
                text = tokenizer.decode(ids).strip()
                if text:
                    texts.append(text)
                    n_tokens += len(ids)
            bar.update(n_tokens - bar.n)
            if n_tokens >= section.n_tokens:
                break
            # No more than it takes, if they are like those so far: the last would be for nothing.
            expected = n_tokens * (n_done + len(batches)) / n_done
            if not batches or expected < section.n_tokens:
                batches.append(pool.submit(batch, n_done + len(batches)))
    seconds = time.monotonic() - started
    logging.info("%d tokens in %d stories, %.0f tokens/s", n_tokens, len(texts), n_tokens / seconds)
    splits = split_documents(texts, section.validation_fraction, section.seed, corpus)
    origin = {"sampled_from": model.name, "n_tokens": n_tokens, **section.model_dump()}
    write_corpus(out, splits, origin)
