"""Train SAEs on a shuffled activation cache: SAELens' classes and losses, our loop and step."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from universality.core.activations import open_activations
from universality.core.errors import InputError
from universality.core.io import (
    atomic_directory,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
    write_table,
)
from universality.core.progress import progress
from universality.core.randomness import derive_seed, generator
from universality.studies.saes.params.saes import Recipe, SaeTraining
from universality.studies.saes.training.architectures import new_sae
from universality.studies.saes.training.resampling import resample
from universality.studies.saes.training.saelens_step import SaelensTrainer
from universality.studies.saes.training.schedule import Schedule
from universality.studies.saes.training.sparse_step import SparseTrainer
from universality.studies.saes.training.tracking import tracked

if TYPE_CHECKING:
    import pandas as pd

Trainer = SparseTrainer | SaelensTrainer
LOG_COLUMNS = ["sae", "step", "samples", "loss", "l0", "dead_fraction"]


@dataclass(frozen=True)
class Job:
    """One SAE to train."""

    sae: str
    """Its id, unique among the SAEs of a model."""
    model: str
    hook: str
    recipe: Recipe
    seed: int
    n_samples: int
    """Activations seen, with repetition."""


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


def train_sae(
    activations: np.ndarray,
    mean_norm: float,
    job: Job,
    params: SaeTraining,
    checkpoints: Path | None = None,
    track: Callable[[dict[str, float]], None] | None = None,
) -> tuple[Any, "pd.DataFrame"]:
    """Train one SAE on `activations` `(n, d_in)`, whose mean L2 norm is `mean_norm`.

    Every SAE of a hook sees the same data in the same order: SAE seeds differ in their weights
    only. Resumes from the directory `checkpoints` if a run with the same inputs was interrupted:
    the result is the same, bit for bit. Returns the SAE, activation scale folded in, and the log
    with columns sae, step, samples, loss (mean squared error per token, scaled input), l0,
    dead_fraction; `track` is called with each line of it as it comes.
    """
    n_steps = job.n_samples // params.batch_size
    resamplings = {round(share * n_steps) for share in params.resample_at if job.recipe.resample}
    trainer = _trainer(activations.shape[1], mean_norm, job, params, n_steps, resamplings)
    state = _fingerprint(activations, mean_norm, job, params)
    first, rows = _resume(checkpoints, state, trainer) if checkpoints else (0, [])
    data = shuffled_batches(activations, params.batch_size, derive_seed(0, job.hook), first)
    name = f"{job.model} {job.sae}"
    for step in progress(range(first, n_steps), initial=first, total=n_steps, desc=name):
        loss, l0 = trainer.step(next(data))
        done, last = step + 1, step + 1 == n_steps
        if done in resamplings and not last:
            _resample(trainer, activations, params, derive_seed(job.seed, job.sae, done))
        if done % params.log_every == 0 or last:
            if not np.isfinite(loss):
                raise InputError(
                    f"{job.sae}: the loss is {loss} at step {done}; lower "
                    f"sae_training.learning_rate, now {params.learning_rate}"
                )
            dead = float(trainer.dead.float().mean())
            rows.append([job.sae, done, done * params.batch_size, loss, l0, dead])
            if track:
                track(dict(zip(LOG_COLUMNS[1:], rows[-1][1:], strict=True)))
        # The last one too: an interrupted stage then skips the SAEs that it had finished.
        if checkpoints and (done % params.checkpoint_every == 0 or last):
            _checkpoint(checkpoints, state, trainer, rows)
    return trainer.finish(), _log_table(rows)


def train_all(
    activations: Path,
    jobs: list[Job],
    params: SaeTraining,
    checkpoints: Path,
    out: Path,
    log: Path,
) -> None:
    """Train every job from the cache `activations`; write SAEs into `out`, the losses to `log`.

    What an interrupted call had finished is taken from `checkpoints`, which is deleted at the end.
    """
    import pandas as pd

    statistics = read_json(activations / "statistics.json")
    logs = []
    with atomic_directory(out) as folder:
        for job in jobs:
            data = open_activations(activations, job.hook)
            norm = statistics[job.hook]["mean_norm"]
            settings = params.model_dump() | job.recipe.model_dump() | {"seed": job.seed}
            with tracked(f"{job.model} {job.sae}", settings) as track:
                sae, losses = train_sae(data, norm, job, params, checkpoints / job.sae, track)
            save_sae(sae, folder / job.sae)
            logs.append(losses)
    write_table(log, pd.concat(logs, ignore_index=True))
    shutil.rmtree(checkpoints, ignore_errors=True)


def _trainer(
    d_in: int,
    mean_norm: float,
    job: Job,
    params: SaeTraining,
    n_steps: int,
    resamplings: set[int],
) -> Trainer:
    sae = new_sae(job.recipe, params, n_steps, d_in, job.hook, job.model, job.seed)
    scaled = params.normalize_activations == "expected_average_only_in"
    scale = d_in**0.5 / mean_norm if scaled else 1.0
    schedule = Schedule(
        peak=params.learning_rate,
        n_steps=n_steps,
        warmup=round(params.warmup_fraction * n_steps),
        decay=round(params.decay_fraction * n_steps),
        dips=tuple(sorted(resamplings)),
        dip_length=params.resample_warmup,
    )
    window = params.dead_window // params.batch_size
    if params.step == "sparse":
        return SparseTrainer(sae, job.recipe, schedule, scale, window)
    if job.recipe.resample or job.recipe.orthogonality:
        raise InputError(
            f"{job.sae}: sae_training.step is 'saelens', which knows neither resample nor "
            "orthogonality; expected 'sparse'"
        )
    return SaelensTrainer(sae, schedule, scale, window, params.batch_size)


def _resample(trainer: Trainer, activations: np.ndarray, params: SaeTraining, seed: int) -> None:
    assert isinstance(trainer, SparseTrainer)  # `_trainer` refuses the other
    random = generator(seed, "resample")
    n = min(params.resample_samples, len(activations))
    chosen = np.sort(random.choice(len(activations), n, replace=False))
    x = torch.from_numpy(np.asarray(activations[chosen], dtype=np.float32)) * trainer.scale
    count = resample(trainer.weights, [trainer.first, trainer.second], trainer.dead, x, random)
    trainer.silent[trainer.dead] = 0
    logging.info("resampled %d dead features", count)


def save_sae(sae: Any, path: Path) -> None:
    """Write an SAE in SAELens format for inference, the same bytes every time."""
    _, config = sae.save_inference_model(path)
    # SAELens writes the keys of its configuration in an order that changes from run to run.
    config.write_text(json.dumps(json.loads(config.read_text()), indent=1, sort_keys=True) + "\n")


def _log_table(rows: list) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, columns=LOG_COLUMNS)


def _fingerprint(
    activations: np.ndarray, mean_norm: float, job: Job, params: SaeTraining
) -> dict[str, Any]:
    """Return what must agree for a checkpoint to be continued."""
    probe = np.asarray(activations[:: max(1, len(activations) // 64)], dtype=np.float64)
    return {
        "shape": list(activations.shape),
        "probe": float(np.abs(probe).sum()),
        "mean_norm": mean_norm,
        "job": [job.sae, job.model, job.hook, job.seed, job.n_samples],
        "recipe": job.recipe.model_dump(),
        "params": params.model_dump(),
    }


def _checkpoint(folder: Path, state: dict, trainer: Trainer, rows: list) -> None:
    """Write a checkpoint beside the old one and swap; a kill at any moment leaves one whole."""
    fresh, current = folder / "fresh", folder / "current"
    shutil.rmtree(fresh, ignore_errors=True)
    write_arrays(fresh / "trainer.safetensors", trainer.state())
    write_json(fresh / "state.json", {"state": state, "rows": rows})
    shutil.rmtree(current, ignore_errors=True)
    fresh.rename(current)


def _resume(folder: Path, state: dict, trainer: Trainer) -> tuple[int, list]:
    """Load the checkpoint if there is one of the same run; return the next step and the log."""
    for name in ("current", "fresh"):
        path = folder / name / "state.json"
        if not path.exists():
            continue
        saved = json.loads(path.read_text())
        if saved["state"] != json.loads(json.dumps(state)):
            logging.info("%s: checkpoint of another run, not used", path.parent)
            continue
        trainer.restore(read_arrays(path.parent / "trainer.safetensors"))
        logging.info("continuing from step %d", trainer.n_steps)
        return trainer.n_steps, saved["rows"]
    return 0, []
