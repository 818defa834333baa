"""Published claims beside ours, over all studies: value, interval, null, verdict.

The claims stand in paper/claims/; a verdict follows from numbers by the rule named there, so
that another run has its own.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from universality.core.numbers import NOT_HERE, AllMetrics, Number, beside, value
from universality.present.paper.entries import read_entries
from universality.present.paper.table import Table

HOLDS = "holds"
WEAKER = "holds, weaker"
OPEN = "inconclusive"
FAILS = "does not hold"
UNTESTED = "cannot be tested here"

LEAST_P = 0.05
"""A number with a p above it does not count as beyond its null."""
ENOUGH = 0.8
"""Of the published distance from the null, what ours must reach to hold as published."""
LEAST_ITEMS = 10
"""On fewer items (features, vectors, pairs) than this no claim is judged."""

Strict = ConfigDict(extra="forbid", frozen=True)
Ends = Annotated[list[float], Field(min_length=2, max_length=2)]


class Reaches(BaseModel):
    """Beyond its null, by about as much as published: a value, or a value and its baseline."""

    model_config = Strict
    reaches: float | Ends

    @property
    def distance(self) -> float:
        """The published distance from the null."""
        value, base = self.reaches if isinstance(self.reaches, list) else [self.reaches, 0.0]
        return value - base


class Between(BaseModel):
    """In the published range."""

    model_config = Strict
    between: Ends


class Below(BaseModel):
    """Small: the interval ends below this."""

    model_config = Strict
    below: float


Named = Literal["above_null", "below_null", "within_random"]
Rule = Named | Reaches | Between | Below


class Claim(BaseModel):
    """A published claim, our number for it, and the rule that compares them."""

    model_config = Strict
    study: Literal["saes", "matching", "similarity", "steering", "hierarchy"]
    """The file that it is in."""
    source: str
    claim: str
    published: str
    differs: str
    ours: str | None = None
    baseline: str | None = None
    digits: int = 2
    percent: bool = False
    items: str | None = None
    """Address of how many items the number is about, where they may be few."""
    undecided: str | None = None
    """Why our number cannot decide it, whatever it is: another baseline, true by construction."""
    rule: Rule | None = None

    def addresses(self) -> list[str]:
        """Return the addresses of all numbers that the verdict rests on."""
        numbers = [one for one in (self.number(), self.null()) if one is not None]
        return [
            *(at for one in numbers for at in one.addresses),
            *([self.items] if self.items else []),
        ]

    def number(self) -> Number | None:
        """Return our number."""
        return None if self.ours is None else self._number(self.ours)

    def null(self) -> Number | None:
        """Return what ours is beside: its null, or another baseline."""
        if self.baseline is None or self.ours is None:
            return None
        if ":" in self.baseline:
            return self._number(self.baseline)
        return Number(self.ours, self.digits, self.percent, end=self.baseline)

    def _number(self, text: str) -> Number:
        address, _, over = text.partition(" / ")
        return Number(address, self.digits, self.percent, over=over)

    def verdict(self, metrics: AllMetrics) -> str:
        """Return what our numbers say; `UNTESTED` too if this run lacks one of them."""
        ours, null = self.number(), self.null()
        if self.rule is None or ours is None:
            return UNTESTED
        x, low, high = _with_interval(metrics, ours)
        base = None if null is None else _with_interval(metrics, null)[0]
        n_items = None if self.items is None else value(metrics, self.items)
        if x is None or (null is not None and base is None) or (self.items and n_items is None):
            return UNTESTED
        if self.baseline and ":" not in self.baseline:  # a null that has a range counts to its end
            end = value(metrics, beside(ours.addresses[0], f"{self.baseline}_high"))
            base = base if end is None or self.rule == "below_null" else end
        if low is None or high is None or self.undecided:
            return OPEN
        if n_items is not None and n_items < LEAST_ITEMS:
            return OPEN
        if self.rule == "within_random":
            ends = [value(metrics, beside(ours.addresses[0], f"random_{end}")) for end in ENDS]
            if ends[0] is None or ends[1] is None:
                return UNTESTED
            return _inside((low, high), (ends[0], ends[1]))
        p = value(metrics, beside(ours.addresses[0], "p"))
        return _judge(self.rule, p, (x, low, high), base)

    def rule_words(self) -> str:
        """Return the rule of the verdict, in words."""
        if self.rule is None:
            return "none"
        if self.undecided:
            return f"undecided: {self.undecided}"
        if isinstance(self.rule, Reaches):
            return f"interval above null; holds from {self.rule.distance * ENOUGH:.2f} above it"
        if isinstance(self.rule, Between):
            return "interval within {:g} to {:g}".format(*self.rule.between)
        if isinstance(self.rule, Below):
            return f"interval below {self.rule.below:g}"
        return _WORDS[self.rule]


ENDS = ("low", "high")
_WORDS: dict[Named, str] = {
    "above_null": "interval above null",
    "below_null": "interval below null",
    "within_random": "interval within the range of random vectors",
}


def _judge(
    rule: Rule, p: float | None, ours: tuple[float, float, float], base: float | None
) -> str:
    """Return the verdict of a value with its interval: open where it holds both claim and null."""
    x, low, high = ours
    if isinstance(rule, Between):
        return _inside((low, high), (rule.between[0], rule.between[1]))
    if isinstance(rule, Below):
        return HOLDS if high < rule.below else FAILS if low >= rule.below else OPEN
    if base is None:
        return UNTESTED
    if rule == "below_null":
        return HOLDS if high < base else FAILS if low >= base else OPEN
    beyond = low > base and (p is None or p <= LEAST_P + 1e-9)
    if isinstance(rule, Reaches):
        needed = base + ENOUGH * rule.distance
        if beyond:
            return HOLDS if x >= needed else WEAKER
        return FAILS if high < needed else OPEN
    return HOLDS if beyond else FAILS if high <= base else OPEN


def _inside(interval: tuple[float, float], wanted: tuple[float, float]) -> str:
    if wanted[0] <= interval[0] and interval[1] <= wanted[1]:
        return HOLDS
    return FAILS if interval[1] < wanted[0] or interval[0] > wanted[1] else OPEN


def _with_interval(
    metrics: AllMetrics, number: Number
) -> tuple[float | None, float | None, float | None]:
    """Return a number and the ends of its interval, or of its range over vectors, if it has one."""
    here, *over = number.addresses
    x = value(metrics, here)
    if over:
        whole = value(metrics, over[0])
        return (None if x is None or not whole else x / whole), None, None
    for ends in (("low", "high"), ("min", "max")):
        low, high = (value(metrics, beside(here, end)) for end in ends)
        if low is not None and high is not None:
            return x, low, high
    return x, None, None


def read_claims(folder: Path) -> dict[str, Claim]:
    """Return the claims of `paper/claims`, a file a study, by their id.

    Raises `InputError` that names the claim and the key if one is wrong.
    """
    return read_entries(folder, Claim)


def claims_json(claims: dict[str, Claim], metrics: AllMetrics) -> list[dict[str, str]]:
    """Return every claim with its published value, ours, the null and the verdict, as text."""
    return [
        {
            "id": name,
            "study": claim.study,
            "source": claim.source,
            "claim": claim.claim,
            "published": claim.published,
            "ours": _text(claim.number(), metrics),
            "null": _text(claim.null(), metrics),
            "verdict": claim.verdict(metrics),
            "rule": claim.rule_words(),
            "differs": claim.differs,
            "address": claim.ours or "",
        }
        for name, claim in claims.items()
    ]


def _text(number: Number | None, metrics: AllMetrics) -> str:
    return NOT_HERE if number is None else number.text(metrics)


def claims_table(claims: dict[str, Claim], metrics: AllMetrics) -> Table:
    """Return the claims of all studies as one table."""
    caption = (
        "Published claims beside ours. Intervals are at 95%. Verdicts follow from the numbers by "
        "the rule beside them. Where the rule needs a null, p, if there is one, is at most "
        f"{LEAST_P:.2f}. A verdict is inconclusive where the interval holds both what was claimed "
        f"and its contrary, where there is no interval, and on fewer than {LEAST_ITEMS} items."
    )
    header = ["claim", "source", "published", "ours", "null", "rule", "verdict", "what differs"]
    rows = [
        [
            claim.claim,
            claim.source,
            claim.published,
            claim.number() or NOT_HERE,
            claim.null() or NOT_HERE,
            claim.rule_words(),
            claim.verdict(metrics),
            claim.differs,
        ]
        for claim in claims.values()
    ]
    return Table("published", caption, header, rows, "l" * len(header), keep_empty=True)
