"""Time and final loss of four SAEs of one hook: ours against SAELens' own runner.

    python benchmarks/sae_training.py --model data/models/stories15m --corpus data/corpora/stories

SAELens: `LanguageModelSAETrainingRunner`, one SAE after another, each with its own forward pass of
the model. Ours: one activation cache, then one SAE after another from it; the time of the cache is
counted. Both see the same number of tokens of the same text. The order of runs alternates and the
medians are printed, with the loss of both on the same held-out activations.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import universality.cli

os.environ.setdefault("GOMP_SPINCOUNT", "20000")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("WANDB_MODE", "disabled")

import numpy as np
import torch
from datasets import Dataset
from sae_lens import (
    LanguageModelSAERunnerConfig,
    LanguageModelSAETrainingRunner,
    LoggingConfig,
    TopKTrainingSAEConfig,
)

from universality.core.activations import collect, open_activations, write_cache
from universality.core.corpora import load_tokens
from universality.core.io import read_json
from universality.core.models import load_bridge
from universality.core.params.activations import Activations
from universality.studies.saes.params.saes import Recipe, SaeTraining
from universality.studies.saes.training.loop import Job, train_sae

K, EXPANSION, BATCH, RATE, CONTEXT = 32, 8, 4096, 0.003, 256


def ours(args: argparse.Namespace, tokens: object) -> list:
    """Train `args.saes` SAEs from one cache; return them."""
    settings = Activations(
        max_tokens=CONTEXT, n_tokens=args.tokens, batch_tokens=4096, dtype="float16",
        mask_special=True, memory_mb=1024, seed=0,
    )  # fmt: skip
    params = SaeTraining(
        step="sparse", batch_size=BATCH, learning_rate=RATE, warmup_fraction=0.0,
        decay_fraction=0.0, sparsity_warmup_fraction=0.0,
        normalize_activations="expected_average_only_in", apply_b_dec_to_input=True,
        aux_coefficient=1.0, dead_window=1000 * BATCH, jumprelu_bandwidth=1.0,
        jumprelu_threshold=0.5, matryoshka_levels=[0.5], resample_at=[], resample_samples=8,
        resample_warmup=1, checkpoint_every=10**9, log_every=100,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        write_cache(Path(folder), load_bridge(args.model), tokens, [args.hook], settings)  # pyright: ignore
        activations = open_activations(Path(folder), args.hook)
        norm = read_json(Path(folder) / "statistics.json")[args.hook]["mean_norm"]
        recipe = Recipe(architecture="topk", sparsity=K, expansion=EXPANSION)
        jobs = [
            Job(f"s{seed}", "m", args.hook, recipe, seed, args.tokens) for seed in range(args.saes)
        ]
        return [train_sae(activations, norm, job, params)[0] for job in jobs]


def saelens(args: argparse.Namespace, dataset: Dataset, d_in: int) -> list:
    """Train the same number of SAEs with SAELens' runner, one after another; return them."""
    found = []
    for seed in range(args.saes):
        config = LanguageModelSAERunnerConfig(
            sae=TopKTrainingSAEConfig(
                d_in=d_in, d_sae=d_in * EXPANSION, k=K,
                normalize_activations="expected_average_only_in", device="cpu",
            ),
            model_name="bench", hook_name=args.hook,
            dataset_path="unused", is_dataset_tokenized=True,
            context_size=CONTEXT, prepend_bos=False, train_batch_size_tokens=BATCH,
            training_tokens=args.tokens, lr=RATE, lr_warm_up_steps=0, lr_decay_steps=0,
            store_batch_size_prompts=16, n_batches_in_buffer=16, n_checkpoints=0, seed=seed,
            n_batches_for_norm_estimate=4,  # its default, 1000, would take minutes here
            device="cpu", checkpoint_path=None, output_path=None,
            logger=LoggingConfig(log_to_wandb=False),
        )  # fmt: skip
        runner = LanguageModelSAETrainingRunner(
            config, override_dataset=dataset, override_model=load_bridge(args.model)
        )
        found.append(runner.run())
    return found


def losses(saes: list, x: torch.Tensor) -> list[float]:
    """Unexplained share of the variance of held-out activations `x`, for each SAE."""
    total = float((x - x.mean(0)).square().sum())
    with torch.inference_mode():
        return [float((sae.decode(sae.encode(x)) - x).square().sum()) / total for sae in saes]


def main() -> None:
    """Run both, alternating, and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--hook", default="blocks.3.hook_mlp_out")
    parser.add_argument("--saes", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    universality.cli._keep_large_buffers()  # both sides profit
    torch.set_num_threads(int(os.environ.get("UNIVERSALITY_THREADS", "2")))
    tokens = load_tokens(args.corpus, "train", args.model, CONTEXT).first(args.tokens)
    rows = [
        tokens.ids[a:b].tolist() for a, b in zip(tokens.bounds[:-1], tokens.bounds[1:], strict=True)
    ]
    packed = np.concatenate(rows)
    packed = packed[: len(packed) // CONTEXT * CONTEXT].reshape(-1, CONTEXT)
    dataset = Dataset.from_dict({"tokens": packed.tolist()})
    held_out = load_tokens(args.corpus, "validation", args.model, CONTEXT, 50)
    bridge = load_bridge(args.model)
    parts = collect(bridge, held_out, [args.hook], 4096, mask_special=True)
    x = torch.cat([part.activations[args.hook] for part in parts])
    times: dict[str, list[float]] = {"saelens": [], "ours": []}
    found: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        for name in times:
            begin = time.perf_counter()
            saes = ours(args, tokens) if name == "ours" else saelens(args, dataset, x.shape[1])
            times[name].append(time.perf_counter() - begin)
            found[name] = losses(saes, x)
    for name, seconds in times.items():
        share = ", ".join(f"{value:.4f}" for value in found[name])
        runs = ", ".join(f"{value:.1f}" for value in seconds)
        print(f"{name}: median {statistics.median(seconds):.1f} s ({runs}); unexplained {share}")
    print(f"ratio {statistics.median(times['saelens']) / statistics.median(times['ours']):.2f}")


if __name__ == "__main__":
    main()
