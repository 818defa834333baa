"""Intervals over the features of an SAE, and over SAE seeds; those over documents are in stats."""

import numpy as np
import scipy.stats


def share_interval(k: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share `k / n` of features."""
    interval = scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def share(name: str, members: np.ndarray) -> dict[str, float]:
    """Return the share of features in `members` `(n,)` as `name`, `name`_low and `name`_high."""
    low, high = share_interval(int(members.sum()), len(members))
    return {name: float(members.mean()), f"{name}_low": low, f"{name}_high": high}


def median(name: str, values: np.ndarray) -> dict[str, float]:
    """Return the median of `values` `(n,)` with its 95% interval between order statistics."""
    interval = scipy.stats.quantile_test(values, p=0.5).confidence_interval()
    return {
        name: float(np.median(values)),
        f"{name}_low": float(interval.low),
        f"{name}_high": float(interval.high),
    }


def mean_over_seeds(
    name: str, values: np.ndarray, within: tuple[float, float] = (-np.inf, np.inf)
) -> dict[str, float]:
    """Return the mean of one value per seed `(n_seeds,)` with Student's 95% interval.

    The interval is cut at `within`, the values that there can be: of a share, 0 and 1.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"{n} seed is too few for an interval; 2 are needed")
    half = scipy.stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
    mean = float(values.mean())
    low, high = max(mean - float(half), within[0]), min(mean + float(half), within[1])
    return {name: mean, f"{name}_low": low, f"{name}_high": high}
