"""Numbers of the metrics by their address, as the paper prints them.

An address is `study:id.metric`: `matching:seed_a_vs_seed_b_best_of_4_layers.median_r` is the metric
`median_r` of that id in the summary of the study. `paper/lib.typ` prints prose by the same rules.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

STUDIES = ("models", "saes", "matching", "similarity", "steering", "hierarchy")
AllMetrics = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Study -> id -> metric -> value."""

NOT_HERE = "–"
"""Printed where these parameters give no such number."""


def parse(address: str) -> tuple[str, str, str]:
    """Return study, id and metric of an address; an id may hold dots, a metric none."""
    study, rest = address.split(":", 1)
    entry, metric = rest.rsplit(".", 1)
    return study, entry, metric


def value(metrics: AllMetrics, address: str) -> float | None:
    """Return the number at an address, None where there is none."""
    study, entry, metric = parse(address)
    return metrics[study].get(entry, {}).get(metric)


def beside(address: str, end: str) -> str:
    """Return the address of what stands beside a number: `low`, `high`, `null`, `p` ...

    Entries of a single number call it `value` and the others by their bare names.
    """
    _, _, metric = parse(address)
    left = address.removesuffix(metric)
    return left + (end if metric == "value" else f"{metric}_{end}")


def shown(x: float, digits: int, percent: bool) -> str:
    """Return a number with so many decimals, a true minus and commas between thousands."""
    # Halves go up, as typst rounds them; Python's own format takes them to the even neighbour.
    scaled = math.floor(abs(100 * x if percent else x) * 10**digits + 0.5) / 10**digits
    text = f"{math.copysign(scaled, x):,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−") + ("%" if percent else "")


@dataclass(frozen=True)
class Number:
    """A number in a table, printed as `v`, or `v [low, high]` where it has an interval."""

    address: str
    digits: int = 2
    percent: bool = False
    interval: bool = True
    end: str = ""
    """Print instead what stands beside it: `null`, `p`, `shuffled` ... (without an interval)."""
    over: str = ""
    """Address of a number that it is divided by (without an interval)."""

    @property
    def addresses(self) -> list[str]:
        """Addresses of the numbers it prints."""
        here = beside(self.address, self.end) if self.end else self.address
        return [here, self.over] if self.over else [here]

    def text(self, metrics: AllMetrics) -> str:
        """Return it as text, `NOT_HERE` where there is no such number."""
        found = [value(metrics, address) for address in self.addresses]
        if None in found:
            return NOT_HERE
        first, *whole = found
        assert first is not None
        x = first / whole[0] if whole and whole[0] is not None else first
        text = shown(x, self.digits, self.percent)
        if not self.interval or self.end or self.over:
            return text
        low, high = (value(metrics, beside(self.address, end)) for end in ("low", "high"))
        if low is None or high is None:
            return text
        ends = [shown(end, self.digits, self.percent) for end in (low, high)]
        return f"{text} [{ends[0]}, {ends[1]}]"


def null_of(address: str, digits: int = 2, percent: bool = False, end: str = "null") -> Number:
    """Return the null beside a number, `end` where the baseline has another name."""
    return Number(address, digits, percent, end=end)
