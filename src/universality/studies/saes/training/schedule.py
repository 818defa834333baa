"""Learning rates over a run: SAELens' warm-up and decay, and the dip after a resampling."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Warm-up, plateau and linear decay to 0 over `n_steps`."""

    peak: float
    n_steps: int
    warmup: int
    decay: int
    dips: tuple[int, ...] = ()
    """Steps after which the rate falls to a tenth (after a resampling, Bricken et al. 2023)."""
    dip_length: int = 1
    """Steps from a tenth back to all of it."""

    def learning_rate(self, step: int) -> float:
        """Return the rate of step `step`, the first being 0."""
        rate = self.peak
        if step < self.warmup:
            rate *= (step + 1) / self.warmup
        if self.decay and step >= self.n_steps - self.decay:
            rate *= (self.n_steps - step) / self.decay
        for dip in self.dips:
            if dip <= step < dip + self.dip_length:
                rate *= 0.1 + 0.9 * (step - dip) / self.dip_length
        return rate
