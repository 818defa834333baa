"""Training steps per architecture: ours, SAELens', and the share of the limit that ours reaches.

    python benchmarks/sae_steps.py --activations data/activations/stories15m

Both train the same SAE on the same activations in one run, in turn; medians in activations/s. The
limit is the encoder's dense product alone, at the rate that it reaches by itself here: a step
cannot do without it, all else touches active features only.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import universality.cli

os.environ.setdefault("GOMP_SPINCOUNT", "20000")
os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import torch

from universality.core.activations import open_activations
from universality.core.io import read_json
from universality.studies.saes.params.saes import Recipe, SaeTraining
from universality.studies.saes.training.loop import Job, train_sae

SPARSITY = {
    "topk": 32, "batchtopk": 32, "matryoshka": 32, "standard": 5, "jumprelu": 0.5, "gated": 8,
}  # fmt: skip
EXPANSION, BATCH = 8, 4096


def parameters(step: str) -> SaeTraining:
    """Return the common settings."""
    return SaeTraining.model_validate(
        {
            "step": step, "batch_size": BATCH, "learning_rate": 0.003, "warmup_fraction": 0.0,
            "decay_fraction": 0.0, "sparsity_warmup_fraction": 0.0,
            "normalize_activations": "expected_average_only_in", "apply_b_dec_to_input": True,
            "aux_coefficient": 1.0, "dead_window": 10**9, "jumprelu_bandwidth": 0.5,
            "jumprelu_threshold": 0.3, "matryoshka_levels": [0.0625, 0.25, 0.5],
            "resample_at": [], "resample_samples": 8, "resample_warmup": 1,
            "checkpoint_every": 10**9, "log_every": 5,
        }
    )  # fmt: skip


def product_rate(d_in: int) -> float:
    """Return rows/s of the encoder's product `(BATCH, d_in) @ (d_in, d_sae)`."""
    x, w = torch.randn(BATCH, d_in), torch.randn(d_in, d_in * EXPANSION)
    out = x @ w
    rates = []
    for _ in range(10):
        begin = time.perf_counter()
        torch.mm(x, w, out=out)
        rates.append(BATCH / (time.perf_counter() - begin))
    return statistics.median(rates)


def main() -> None:
    """Time every architecture under both steps and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--activations", type=Path, required=True)
    parser.add_argument("--hook", default="blocks.3.hook_mlp_out")
    parser.add_argument("--samples", type=int, default=20 * BATCH)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    universality.cli._keep_large_buffers()  # both sides profit
    torch.set_num_threads(int(os.environ.get("UNIVERSALITY_THREADS", "2")))
    x = np.array(open_activations(args.activations, args.hook)[:100_000])
    norm = read_json(args.activations / "statistics.json")[args.hook]["mean_norm"]
    limit = product_rate(x.shape[1])
    print(f"limit (encoder's product): {limit:,.0f} activations/s")
    for architecture, sparsity in SPARSITY.items():
        recipe = Recipe.model_validate(
            {"architecture": architecture, "sparsity": sparsity, "expansion": EXPANSION}
        )
        rates: dict[str, list[float]] = {"sparse": [], "saelens": []}
        for turn in range(args.rounds + 1):
            for step, found in rates.items():
                job = Job("bench", "m", args.hook, recipe, 0, args.samples)
                begin = time.perf_counter()
                train_sae(x, norm, job, parameters(step))
                if turn:  # the first is for compilers and caches
                    found.append(args.samples / (time.perf_counter() - begin))
        ours, theirs = (statistics.median(found) for found in rates.values())
        print(
            f"{architecture}: ours {ours:,.0f}, SAELens {theirs:,.0f} activations/s; "
            f"ratio {ours / theirs:.1f}; {ours / limit:.0%} of the limit"
        )


if __name__ == "__main__":
    main()
