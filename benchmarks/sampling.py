"""Sampling throughput beside `transformers`' own `generate`, in one run.

`python benchmarks/sampling.py data/models/stories15m` (after `make repro`): medians in tokens/s.
"""

import logging
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from universality.core.sampling import sample_documents

BATCH, TOKENS, REPEATS = 128, 128, 3


def throughput(sample: Callable[[], int]) -> float:
    """Return the median tokens/s of `sample`, which returns how many tokens it made."""
    rates = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        rates.append(sample() / (time.perf_counter() - started))
    return statistics.median(rates)


def main(path: Path) -> None:
    """Measure both and log the ratio."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(2)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    random = torch.Generator().manual_seed(0)
    start = torch.full((BATCH, 1), model.config.bos_token_id)

    def ours() -> int:
        # No stop tokens, so that both make the same number of tokens.
        made = sample_documents(model, BATCH, TOKENS, 1.0, start[0, 0].item(), set(), random)
        return sum(map(len, made))

    def theirs() -> int:
        with torch.inference_mode():
            out = model.generate(
                start, attention_mask=torch.ones_like(start), do_sample=True, top_k=0,
                max_length=TOKENS, min_length=TOKENS, pad_token_id=0,
            )  # fmt: skip
        return out.numel() - BATCH

    rates = {"universality": throughput(ours), "transformers generate": throughput(theirs)}
    for name, rate in rates.items():
        logging.info("%-22s %6.0f tokens/s", name, rate)
    logging.info("ratio %.1f", rates["universality"] / rates["transformers generate"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
