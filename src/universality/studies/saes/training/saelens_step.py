"""SAELens' own training step behind the interface of `SparseTrainer`: slower, and the reference."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from universality.studies.saes.training.schedule import Schedule


class SaelensTrainer:
    """Trains one SAE with SAELens' `SAETrainer`, whose schedules are those of `schedule`."""

    def __init__(self, sae: Any, schedule: Schedule, scale: float, window: int, rows: int) -> None:
        """Scale inputs by `scale`; `rows` are in a batch; see `SparseTrainer`."""
        from sae_lens.config import LoggingConfig, SAETrainerConfig
        from sae_lens.training.sae_trainer import SAETrainer

        config = SAETrainerConfig(
            total_training_samples=schedule.n_steps * rows,
            train_batch_size_samples=rows,
            lr=schedule.peak,
            lr_end=0.0,
            lr_warm_up_steps=schedule.warmup,
            lr_decay_steps=schedule.decay,
            dead_feature_window=window,
            feature_sampling_window=schedule.n_steps + 1,
            logger=LoggingConfig(log_to_wandb=False),
        )
        self.trainer = SAETrainer(config, sae, data_provider=iter(()))
        self.trainer.activation_scaler.scaling_factor = scale

    @property
    def n_steps(self) -> int:
        """Steps taken."""
        return self.trainer.n_training_steps

    @property
    def dead(self) -> Tensor:
        """Which features are dead, `(d_sae,)`."""
        return self.trainer.dead_neurons

    def step(self, batch: Tensor) -> tuple[float, float]:
        """Train on `batch`; return its mean squared error per row (scaled input) and its L0."""
        output = self.trainer.step(batch)
        self.trainer.n_training_steps += 1
        l0 = float((output.feature_acts > 0).sum() / len(batch))
        return float(output.losses["mse_loss"].detach()), l0

    def state(self) -> dict[str, np.ndarray]:
        """Return weights, Adam's moments and counters by name."""
        trainer = self.trainer
        arrays = {f"weight.{name}": value for name, value in trainer.sae.state_dict().items()}
        for index, moments in trainer.optimizer.state_dict()["state"].items():
            arrays |= {f"adam.{index}.{name}": value for name, value in moments.items()}
        arrays |= {
            "silent": trainer.n_forward_passes_since_fired,
            "fired": trainer.act_freq_scores,
            "counters": torch.tensor(
                [trainer.n_training_steps, trainer.n_training_samples], dtype=torch.float64
            ),
        }
        return {name: value.detach().numpy() for name, value in arrays.items()}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from a `state`."""
        trainer = self.trainer
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
        trainer.sae.load_state_dict(
            {n.removeprefix("weight."): v for n, v in tensors.items() if n.startswith("weight.")}
        )
        saved = trainer.optimizer.state_dict()
        for name, value in tensors.items():
            if name.startswith("adam."):
                _, index, moment = name.split(".")
                saved["state"].setdefault(int(index), {})[moment] = value
        trainer.optimizer.load_state_dict(saved)
        trainer.n_forward_passes_since_fired = tensors["silent"]
        trainer.act_freq_scores = tensors["fired"]
        steps, samples = map(int, tensors["counters"])
        trainer.n_training_steps, trainer.n_training_samples = steps, samples
        trainer.n_frac_active_samples = samples
        with warnings.catch_warnings():
            # The rates are stepped without the optimizer, whose steps were taken before.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            for _ in range(steps):
                trainer.lr_scheduler.step()
                for scheduler in trainer.coefficient_schedulers.values():
                    scheduler.step()

    def finish(self) -> Any:
        """Fold the scale into the SAE and return it."""
        trainer = self.trainer
        scale = trainer.activation_scaler.scaling_factor
        if trainer.sae.cfg.normalize_activations == "expected_average_only_in":
            trainer.sae.fold_activation_norm_scaling_factor(scale)
        trainer.set_final_sae_metadata()
        return trainer.sae
