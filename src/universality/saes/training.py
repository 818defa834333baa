"""Sparse autoencoders: trained by SAELens on the shuffled cache, and judged on validation text.

Terms are the field's: `l0` (active features per token), `explained_variance`, and
`ce_loss_recovered` = (CE_ablated - CE_sae) / (CE_ablated - CE), where the ablation replaces the
hook's activations by zero or by their mean.
"""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from universality.errors import InputError
from universality.params.saes import SaeModel, SaeTraining
from universality.progress import progress
from universality.randomness import derive_seed, generator

if TYPE_CHECKING:
    import pandas as pd


def sae_id(hook: str, seed: int) -> str:
    """Return the id of an SAE: `blocks.3.hook_mlp_out`, seed 1 -> `l3_mlp_out_seed1`."""
    _, layer, *site = hook.split(".")
    return f"l{layer}_{'_'.join(site).removeprefix('hook_')}_seed{seed}"


def new_sae(params: SaeTraining, d_in: int, k: int, hook: str, model: str, seed: int) -> Any:
    """Return an untrained SAELens training SAE, its weights drawn from `seed` and the hook."""
    import sae_lens

    classes: dict[str, tuple[Any, Any]] = {
        "topk": (sae_lens.TopKTrainingSAE, sae_lens.TopKTrainingSAEConfig),
        "batchtopk": (sae_lens.BatchTopKTrainingSAE, sae_lens.BatchTopKTrainingSAEConfig),
    }
    sae_class, config_class = classes[params.architecture]
    config = config_class(
        d_in=d_in,
        d_sae=d_in * params.expansion,
        k=k,
        normalize_activations="expected_average_only_in",
        aux_loss_coefficient=params.aux_coefficient,
        device="cpu",
    )
    config.metadata.model_name = model
    config.metadata.hook_name = hook
    torch.manual_seed(derive_seed(seed, "sae", hook))  # SAELens initialises from global state
    return sae_class(config)


def shuffled_batches(
    activations: np.ndarray, batch_size: int, seed: int, first_step: int = 0
) -> Iterator[Tensor]:
    """Yield float32 batches `(batch_size, d_in)` without end, from step `first_step` on.

    The cache is already shuffled, so an epoch reads it in contiguous slices, in an order of slices
    that is drawn anew each epoch; the remainder that fills no batch waits for another epoch by
    starting each epoch at a random row.
    """
    n = len(activations)
    if n < batch_size:
        raise InputError(f"{n} activations are fewer than sae_training.batch_size = {batch_size}")
    steps = n // batch_size
    epoch, offset = divmod(first_step, steps)
    while True:
        random = generator(seed, "epoch", epoch)
        start = int(random.integers(n - steps * batch_size + 1))
        for index in random.permutation(steps)[offset:]:
            first = start + int(index) * batch_size
            rows = np.array(activations[first : first + batch_size], dtype=np.float32)
            yield torch.from_numpy(rows)
        epoch, offset = epoch + 1, 0


def train_hook(
    activations: np.ndarray,
    mean_norm: float,
    hook: str,
    model: str,
    wanted: SaeModel,
    params: SaeTraining,
    checkpoints: Path,
) -> tuple[dict[int, Any], "pd.DataFrame"]:
    """Train one SAE per seed of `wanted` on one hook; all share a single read of `activations`.

    SAELens' own SAEs and per-SAE trainer step; the loop is ours because SAELens' resume starts the
    data anew. Resumes from `checkpoints` if a run with the same inputs was interrupted: the result
    is the same, bit for bit. Returns the SAEs, activation scale folded in, and the log with columns
    sae, step, samples, loss (mean squared error per token, scaled input), l0, dead_fraction.
    """
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    steps = wanted.n_samples // params.batch_size
    config = SAETrainerConfig(
        total_training_samples=steps * params.batch_size,
        train_batch_size_samples=params.batch_size,
        lr=params.learning_rate,
        lr_end=0.0,
        lr_warm_up_steps=round(params.warmup_fraction * steps),
        lr_decay_steps=round(params.decay_fraction * steps),
        dead_feature_window=params.dead_window,
        feature_sampling_window=steps + 1,
        logger=LoggingConfig(log_to_wandb=False),
    )
    d_in = activations.shape[1]
    trainers = {}
    for seed in wanted.seeds:
        sae = new_sae(params, d_in, wanted.k, hook, model, seed)
        trainers[seed] = SAETrainer(config, sae, data_provider=iter(()))
        trainers[seed].activation_scaler.scaling_factor = d_in**0.5 / mean_norm
    state = _fingerprint(activations, mean_norm, hook, wanted, params)
    first, rows = _resume(checkpoints, state, trainers)
    # The order of the data is the same for every seed: SAE seeds differ in their weights only.
    data = shuffled_batches(activations, params.batch_size, derive_seed(0, hook), first)
    for step in progress(range(first, steps), initial=first, total=steps, desc=f"{model} {hook}"):
        batch = next(data)
        for seed, trainer in trainers.items():
            output = trainer.step(batch)
            trainer.n_training_steps += 1
            if (step + 1) % params.log_every == 0 or step + 1 == steps:
                rows.append(_log_row(sae_id(hook, seed), step + 1, params, output, trainer))
        # The last one too: an interrupted stage then skips the hooks that it had finished.
        if (step + 1) % params.checkpoint_every == 0 or step + 1 == steps:
            _checkpoint(checkpoints, state, trainers, rows)
    for trainer in trainers.values():
        trainer.sae.fold_activation_norm_scaling_factor(trainer.activation_scaler.scaling_factor)
        trainer.set_final_sae_metadata()
    return {seed: trainer.sae for seed, trainer in trainers.items()}, _log_table(rows)


def save_sae(sae: Any, path: Path) -> None:
    """Write an SAE in SAELens format for inference, the same bytes every time."""
    _, config = sae.save_inference_model(path)
    # SAELens writes the keys of its configuration in an order that changes from run to run.
    config.write_text(json.dumps(json.loads(config.read_text()), indent=1, sort_keys=True) + "\n")


_LOG_COLUMNS = ["sae", "step", "samples", "loss", "l0", "dead_fraction"]


def _log_row(name: str, step: int, params: SaeTraining, output: Any, trainer: Any) -> list:
    loss = float(output.losses["mse_loss"].detach())
    if not np.isfinite(loss):
        raise InputError(
            f"{name}: the loss is {loss} at step {step}; lower sae_training.learning_rate, "
            f"now {params.learning_rate}"
        )
    l0 = float((output.feature_acts > 0).sum() / len(output.feature_acts))
    dead = float(trainer.dead_neurons.float().mean())
    return [name, step, step * params.batch_size, loss, l0, dead]


def _log_table(rows: list) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, columns=_LOG_COLUMNS)


def _fingerprint(
    activations: np.ndarray, mean_norm: float, hook: str, wanted: SaeModel, params: SaeTraining
) -> dict[str, Any]:
    """Return what must agree for a checkpoint to be continued."""
    probe = np.asarray(activations[:: max(1, len(activations) // 64)], dtype=np.float64)
    return {
        "shape": list(activations.shape),
        "probe": float(np.abs(probe).sum()),
        "mean_norm": mean_norm,
        "hook": hook,
        "seeds": wanted.seeds,
        "k": wanted.k,
        "n_samples": wanted.n_samples,
        "params": params.model_dump(),
    }


def _checkpoint(folder: Path, state: dict, trainers: dict[int, Any], rows: list) -> None:
    """Write a checkpoint beside the old one and swap; a kill at any moment leaves one whole."""
    fresh, current = folder / "fresh", folder / "current"
    shutil.rmtree(fresh, ignore_errors=True)
    for seed, trainer in trainers.items():
        trainer.save_checkpoint(checkpoint_name=str(seed), base_path=fresh)
    (fresh / "state.json").write_text(json.dumps({"state": state, "rows": rows}))
    shutil.rmtree(current, ignore_errors=True)
    fresh.rename(current)


def _resume(folder: Path, state: dict, trainers: dict[int, Any]) -> tuple[int, list]:
    """Load the checkpoint if there is one of the same run; return the next step and the log."""
    for name in ("current", "fresh"):
        path = folder / name / "state.json"
        if not path.exists():
            continue
        saved = json.loads(path.read_text())
        if saved["state"] != json.loads(json.dumps(state)):
            logging.info("%s: checkpoint of another run, not used", path.parent)
            continue
        for seed, trainer in trainers.items():
            trainer.load_trainer_state(path.parent / str(seed))
            trainer.sae.load_weights_from_checkpoint(path.parent / str(seed))
        step = next(iter(trainers.values())).n_training_steps
        logging.info("continuing from step %d", step)
        return step, saved["rows"]
    return 0, []
