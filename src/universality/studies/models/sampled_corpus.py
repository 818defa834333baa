"""Stories written by a language model, as many as it takes to have some number of tokens."""

import logging
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import torch

from universality.core.params.corpora import SampledCorpus
from universality.core.progress import progress
from universality.core.randomness import derive_seed
from universality.core.sampling import sample_documents


def sample_texts(
    model: Any, tokenizer: Any, bos: int, section: SampledCorpus, name: str, workers: int
) -> tuple[list[str], int]:
    """Return the texts that `model` writes, and how many tokens they have together.

    Batches are written until there are `n_tokens` tokens, `workers` at a time. The random numbers
    of a batch come from its number and from `name`, that of the corpus.
    """
    stop = {bos, model.config.eos_token_id}

    def batch(index: int) -> list[list[int]]:
        seed = derive_seed(section.seed, "sample", name, index)
        random = torch.Generator().manual_seed(seed)
        return list(sample_documents(
            model, section.batch_size, section.max_tokens,
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
    return texts, n_tokens
