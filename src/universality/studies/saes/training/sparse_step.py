"""A training step for SAELens' SAEs that works on active features only.

SAELens computes every product over all features and lets autograd do the same backwards, though
all but a few activations are 0. Here only the encoder's product is dense; decoder, gradients and
auxiliary loss touch what is active, and Adam makes one pass. Losses, initialisation, schedules,
gradient clipping and the treatment of dead features are SAELens' (`SAETrainer`, version 6.54).

With `u = (x - b_dec) W_enc`, B rows and `err` = reconstruction - x, the gradients are written by
hand; `s = 2 / B` is what the mean squared error contributes.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from universality.studies.saes.params.saes import Recipe
from universality.studies.saes.training import kernels
from universality.studies.saes.training.active import (
    Active,
    active_above,
    active_batch_topk,
    active_topk,
)
from universality.studies.saes.training.schedule import Schedule

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
MAX_GRADIENT_NORM = 1.0


class SparseTrainer:
    """Trains one SAE of SAELens in place; rows of a batch are activations `(B, d_in)`."""

    def __init__(self, sae: Any, recipe: Recipe, schedule: Schedule, scale: float, window: int):
        """Scale inputs by `scale`; features silent for more than `window` steps are dead."""
        self.sae, self.recipe, self.schedule = sae, recipe, schedule
        self.scale, self.window = scale, window
        self.weights = {name: p.data.clone() for name, p in sae.named_parameters()}
        # A feature's encoder direction as one row, which is how its gradient is summed.
        self.weights["W_enc"] = self.weights["W_enc"].t().contiguous()
        self.gradients = {name: torch.zeros_like(w) for name, w in self.weights.items()}
        self.first = {name: torch.zeros_like(w) for name, w in self.weights.items()}
        self.second = {name: torch.zeros_like(w) for name, w in self.weights.items()}
        d_sae = sae.cfg.d_sae
        self.silent = torch.zeros(d_sae)
        self.fired = torch.zeros(d_sae)
        self.counters = torch.zeros(3, dtype=torch.float64)  # steps, rows, guess of batch top-k
        widths = getattr(sae.cfg, "matryoshka_widths", None) or [d_sae]
        self.levels = np.array(widths, dtype=np.int64)
        self.one_level = np.array([d_sae], dtype=np.int64)
        self._pre = torch.empty(0, d_sae)
        self._gradients = {
            "topk": self._topk,
            "batchtopk": self._topk,
            "matryoshka": self._topk,
            "standard": self._standard,
            "jumprelu": self._jumprelu,
            "gated": self._gated,
        }[recipe.architecture]

    @property
    def n_steps(self) -> int:
        """Steps taken."""
        return int(self.counters[0])

    @property
    def dead(self) -> Tensor:
        """Which features are dead, `(d_sae,)`."""
        return self.silent > self.window

    def step(self, batch: Tensor) -> tuple[float, float]:
        """Train on `batch`; return its mean squared error per row (scaled input) and its L0."""
        x = batch * self.scale
        if len(self._pre) != len(x):
            self._pre = torch.empty(len(x), self.sae.cfg.d_sae)
        weights = self.weights
        centred = x - weights["b_dec"] if self.sae.cfg.apply_b_dec_to_input else x
        pre = torch.mm(centred, weights["W_enc"].t(), out=self._pre)
        loss, fires = self._gradients(x, centred, pre)
        if self.recipe.orthogonality:
            self._add_orthogonality()
        self._update()
        self.silent += 1
        self.silent[fires > 0] = 0
        self.fired += fires
        self.counters[0] += 1
        self.counters[1] += len(x)
        return loss, float(fires.sum() / len(x))

    def _topk(self, x: Tensor, centred: Tensor, pre: Tensor) -> tuple[float, Tensor]:
        """TopK, BatchTopK and Matryoshka: selected by `norm * (u + b)`, whose norm then cancels."""
        weights, cfg = self.weights, self.sae.cfg
        norm, bias = weights["W_dec"].norm(dim=1), weights["b_enc"]
        if self.recipe.architecture == "topk":
            active = active_topk(pre, bias, norm, cfg.k)
        else:
            n, guess = int(cfg.k * len(x)), float(self.counters[2])
            active, least = active_batch_topk(pre, bias, norm, n, guess)
            self.counters[2] = 0.5 * least
        value = (active.pre + active.of_feature(bias)).relu_()
        error, last, dot, losses = active.decode(
            value, weights["W_dec"], weights["b_dec"], x, self.levels
        )
        if self.recipe.architecture != "topk":
            self._track_threshold(active, value * active.of_feature(norm))
        rate = (2 / len(x)) * dot * (value > 0)
        total = self._collect(active, (2 / len(x)) * value, error, rate, centred)
        self.gradients["b_enc"].copy_(total)
        self._add_auxiliary(last, centred, pre, norm)
        return float(losses[-1].mean()), active.total((value > 0).float())

    def _standard(self, x: Tensor, centred: Tensor, pre: Tensor) -> tuple[float, Tensor]:
        """ReLU, and L1 weighted by the decoder's norms."""
        weights = self.weights
        norm, bias = weights["W_dec"].norm(dim=1), weights["b_enc"]
        active = active_above(pre, bias, torch.zeros_like(bias))
        value = active.pre + active.of_feature(bias)
        error, _, dot, losses = active.decode(
            value, weights["W_dec"], weights["b_dec"], x, self.one_level
        )
        penalty = self._coefficient("l1_coefficient", "l1_warm_up_steps") / len(x)
        rate = (2 / len(x)) * dot + penalty * active.of_feature(norm)
        total = self._collect(active, (2 / len(x)) * value, error, rate, centred)
        self.gradients["b_enc"].copy_(total)
        self._add_norm_gradient(penalty * active.total(value), norm)
        return float(losses.mean()), active.total(torch.ones_like(value))

    def _jumprelu(self, x: Tensor, centred: Tensor, pre: Tensor) -> tuple[float, Tensor]:
        """JumpReLU, L0 loss; straight-through estimate of the threshold's gradient.

        (Rajamanoharan et al. 2024, equations 11 and 12; rectangle kernel of width `bandwidth`.)
        """
        weights, width = self.weights, self.sae.bandwidth
        weights["threshold"].clamp_(min=0.0)
        bias, threshold = weights["b_enc"], weights["threshold"]
        active = active_above(pre, bias, threshold - width / 2)
        z, cut = active.pre + active.of_feature(bias), active.of_feature(threshold)
        on = (z > cut).float()
        error, _, dot, losses = active.decode(
            z * on, weights["W_dec"], weights["b_dec"], x, self.one_level
        )
        near = (((z - cut) / width).abs() < 0.5).float() / width
        penalty = self._coefficient("l0_coefficient", "l0_warm_up_steps") / len(x)
        rate = (2 / len(x)) * dot
        total = self._collect(active, (2 / len(x)) * z * on, error, rate * on, centred)
        self.gradients["b_enc"].copy_(total)
        self.gradients["threshold"].copy_(-active.total(near * (cut * rate + penalty)))
        return float(losses.mean()), active.total(on)

    def _gated(self, x: Tensor, centred: Tensor, pre: Tensor) -> tuple[float, Tensor]:
        """Gate and magnitude share the encoder: u + b_gate > 0 opens, u exp(r_mag) + b_mag is let.

        (Rajamanoharan et al. 2024, Improving Dictionary Learning with Gated SAEs; the auxiliary
        reconstruction from the gate alone trains the decoder too, as in SAELens.)
        """
        weights = self.weights
        norm, b_gate = weights["W_dec"].norm(dim=1), weights["b_gate"]
        active = active_above(pre, b_gate, torch.zeros_like(b_gate))
        gate = active.pre + active.of_feature(b_gate)
        gain = active.of_feature(weights["r_mag"].exp())
        value = (active.pre * gain + active.of_feature(weights["b_mag"])).relu_()
        decoder, b_dec = weights["W_dec"], weights["b_dec"]
        error, _, dot, losses = active.decode(value, decoder, b_dec, x, self.one_level)
        gate_error, _, gate_dot, _ = active.decode(gate, decoder, b_dec, x, self.one_level)
        s, penalty = 2 / len(x), self._coefficient("l1_coefficient", "l1_warm_up_steps") / len(x)
        magnitude_rate = s * dot * (value > 0)
        gate_rate = s * gate_dot + penalty * active.of_feature(norm)
        self._collect(active, s * value, error, magnitude_rate * gain + gate_rate, centred)
        active.outer(s * gate, gate_error, self.one_level, self.gradients["W_dec"], add=True)
        self.gradients["b_dec"] += s * gate_error[0].sum(0)
        self.gradients["b_mag"].copy_(active.total(magnitude_rate))
        self.gradients["b_gate"].copy_(active.total(gate_rate))
        self.gradients["r_mag"].copy_(active.total(magnitude_rate * active.pre * gain))
        self._add_norm_gradient(penalty * active.total(gate), norm)
        return float(losses.mean()), active.total((value > 0).float())

    def _collect(
        self, active: Active, weight: Tensor, error: Tensor, rate: Tensor, centred: Tensor
    ) -> Tensor:
        """Set the gradients of W_dec, W_enc and b_dec; return the sum of `rate` per feature.

        `rate` is the loss's derivative by u, `weight` an entry's share in the decoder's gradient.
        """
        active.outer(weight, error, self.levels, self.gradients["W_dec"])
        active.outer(rate, centred[None], self.one_level, self.gradients["W_enc"])
        total = active.total(rate)
        b_dec = (2 / len(centred)) * error[0].sum(0)
        if self.sae.cfg.apply_b_dec_to_input:
            b_dec -= total @ self.weights["W_enc"]
        self.gradients["b_dec"].copy_(b_dec)
        return total

    def _add_norm_gradient(self, weight: Tensor, norm: Tensor) -> None:
        """Add the gradient of `weight * norm` to that of the decoder."""
        self.gradients["W_dec"] += (weight / norm)[:, None] * self.weights["W_dec"]

    def _add_auxiliary(self, error: Tensor, centred: Tensor, pre: Tensor, norm: Tensor) -> None:
        """Let dead features reconstruct the residual (Gao et al. 2024, appendix A.2)."""
        features = self.dead.nonzero()[:, 0]
        coefficient = self.sae.cfg.aux_loss_coefficient
        if not len(features) or not coefficient:
            return
        k = centred.shape[1] // 2
        coefficient *= min(len(features) / k, 1.0)
        value = pre[:, features] + self.weights["b_enc"][features]
        if len(features) > k:
            chosen = (value * norm[features]).topk(k, dim=1, sorted=False).indices
            mask = torch.zeros_like(value).scatter_(1, chosen, 1.0)
        else:
            mask = torch.ones_like(value)
        value *= mask
        decoder = self.weights["W_dec"][features]
        slope = torch.addmm(error, value, decoder).mul_(2 * coefficient / len(value))
        rate = (slope @ decoder.t()) * mask
        self.gradients["W_dec"].index_add_(0, features, value.t() @ slope)
        self.gradients["W_enc"].index_add_(0, features, rate.t() @ centred)
        total = rate.sum(0)
        self.gradients["b_enc"].index_add_(0, features, total)
        if self.sae.cfg.apply_b_dec_to_input:
            self.gradients["b_dec"] -= total @ self.weights["W_enc"][features]

    def _track_threshold(self, active: Any, score: Tensor) -> None:
        """Follow the least score that was let through: the threshold of the finished SAE."""
        used = torch.from_numpy(np.arange(score.shape[1]) < active.count[:, None])
        positive = score[used & (score > 0)]
        if len(positive):
            rate, threshold = self.sae.cfg.topk_threshold_lr, self.sae.topk_threshold
            threshold.copy_((1 - rate) * threshold + rate * positive.min().double())

    def _add_orthogonality(self) -> None:
        """Add the gradient of coefficient / d_sae * sum over i != j of cos(d_i, d_j)^2.

        The sum is |U'U|^2 - d_sae for unit rows U, so no `(d_sae, d_sae)` matrix is needed.
        """
        decoder = self.weights["W_dec"]
        norm = decoder.norm(dim=1, keepdim=True)
        unit = decoder / norm
        slope = (4 * self.recipe.orthogonality / len(unit)) * (unit @ (unit.t() @ unit))
        slope -= (slope * unit).sum(1, keepdim=True) * unit
        self.gradients["W_dec"] += slope / norm

    def _coefficient(self, name: str, warmup: str) -> float:
        steps = getattr(self.sae.cfg, warmup)
        return getattr(self.sae.cfg, name) * min(1.0, self.n_steps / steps if steps else 1.0)

    def _update(self) -> None:
        squares = sum(kernels.square_sum(_rows(g)) for g in self.gradients.values())
        clip = min(1.0, MAX_GRADIENT_NORM / (float(squares) ** 0.5 + 1e-6))
        t = self.n_steps + 1
        rate = self.schedule.learning_rate(self.n_steps) / (1 - BETA_1**t)
        numbers = (clip, rate, (1 - BETA_2**t) ** 0.5, BETA_1, BETA_2, EPSILON)
        for name, weight in self.weights.items():
            arrays = (weight, self.gradients[name], self.first[name], self.second[name])
            kernels.adam(*map(_rows, arrays), *map(np.float32, numbers))

    def state(self) -> dict[str, np.ndarray]:
        """Return all that changes in training, by name: what `restore` needs."""
        parts = {"weight": self.weights, "first": self.first, "second": self.second}
        arrays = {f"{part}.{n}": v for part, values in parts.items() for n, v in values.items()}
        arrays |= {"silent": self.silent, "fired": self.fired, "counters": self.counters}
        if hasattr(self.sae, "topk_threshold"):
            arrays["topk_threshold"] = self.sae.topk_threshold[None]
        return {name: value.numpy() for name, value in arrays.items()}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from a `state`."""
        for name, value in self.state().items():
            value[...] = arrays[name]  # the arrays share their memory with the tensors

    def finish(self) -> Any:
        """Write weights and scale back into the SAE, with SAELens' final statistics; return it."""
        sae = self.sae
        for name, parameter in sae.named_parameters():
            weight = self.weights[name]
            parameter.data.copy_(weight.t() if name == "W_enc" else weight)
        if sae.cfg.normalize_activations == "expected_average_only_in":
            sae.fold_activation_norm_scaling_factor(self.scale)
        sae.cfg.metadata.l0 = float(self.fired.sum() / self.counters[1])
        sae.cfg.metadata.num_dead_features = int(self.dead.sum())
        return sae


def _rows(tensor: Tensor) -> np.ndarray:
    """Return an array of rows that shares the tensor's memory."""
    return tensor.numpy() if tensor.ndim == 2 else tensor.numpy()[None]
