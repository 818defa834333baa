"""Published claims beside ours, over all studies: value, interval, null, verdict.

The claims stand in paper/claims.yaml; a verdict follows from numbers by the rule named there, so
that another run has its own.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from universality.errors import InputError
from universality.paper.numbers import NOT_HERE, AllMetrics, Number, beside, value
from universality.paper.table import Table
from universality.params.base import read_yaml

HOLDS = "holds"
WEAKER = "holds, weaker"
FAILS = "does not hold"
UNTESTED = "cannot be tested here"

LEAST_P = 0.05
"""A number with a p above it does not count as beyond its null."""
ENOUGH = 0.8
"""Of the published distance from the null, what ours must reach to hold as published."""

Strict = ConfigDict(extra="forbid", frozen=True)
Ends = Annotated[list[float], Field(min_length=2, max_length=2)]


class Reaches(BaseModel):
    """Beyond its null, by about as much as published: a value, or a value and its baseline."""

    model_config = Strict
    reaches: float | Ends


class Between(BaseModel):
    """In the published range."""

    model_config = Strict
    between: Ends


class Below(BaseModel):
    """Small: the interval ends below this."""

    model_config = Strict
    below: float


class Cheaper(BaseModel):
    """At least the baseline, at a price (first address) of at most another (second)."""

    model_config = Strict
    cheaper: Annotated[list[str], Field(min_length=2, max_length=2)]


Rule = (
    Literal["above_null", "below_null", "exists", "within_random"]
    | Reaches
    | Between
    | Below
    | Cheaper
)


class Claim(BaseModel):
    """A published claim, our number for it, and the rule that compares them."""

    model_config = Strict
    study: Literal["saes", "matching", "similarity", "steering", "hierarchy"]
    source: str
    claim: str
    published: str
    differs: str
    ours: str | None = None
    baseline: str | None = None
    digits: int = 2
    percent: bool = False
    rule: Rule | None = None

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
        if self.baseline and ":" not in self.baseline:  # a null that has a range counts to its end
            end = value(metrics, beside(ours.addresses[0], f"{self.baseline}_high"))
            base = base if end is None or self.rule == "below_null" else end
        if x is None or low is None or high is None or (null is not None and base is None):
            return UNTESTED
        return _judge(self.rule, metrics, ours.addresses[0], (x, low, high), base)


def _judge(
    rule: Rule,
    metrics: AllMetrics,
    address: str,
    ours: tuple[float, float, float],
    base: float | None,
) -> str:
    x, low, high = ours
    p = value(metrics, beside(address, "p"))
    beyond = base is not None and low > base and (p is None or p <= LEAST_P + 1e-9)
    if isinstance(rule, Reaches):
        given = rule.reaches if isinstance(rule.reaches, list) else [rule.reaches, 0.0]
        if not beyond or base is None:
            return FAILS
        return HOLDS if x - base >= ENOUGH * (given[0] - given[1]) else WEAKER
    if isinstance(rule, Between):
        return HOLDS if rule.between[0] <= x <= rule.between[1] else FAILS
    if isinstance(rule, Below):
        return HOLDS if high < rule.below else FAILS
    if isinstance(rule, Cheaper):
        price, other = (value(metrics, at) for at in rule.cheaper)
        if price is None or other is None or base is None:
            return UNTESTED
        return HOLDS if x >= base and price <= other else FAILS
    if rule == "exists":
        return HOLDS if low > 0 else FAILS
    if rule == "within_random":
        ends = [value(metrics, beside(address, f"random_{end}")) for end in ("low", "high")]
        if ends[0] is None or ends[1] is None:
            return UNTESTED
        return HOLDS if ends[0] <= x <= ends[1] else FAILS
    if rule == "below_null":
        return HOLDS if base is not None and high < base else FAILS
    return HOLDS if beyond else FAILS


def _with_interval(
    metrics: AllMetrics, number: Number
) -> tuple[float | None, float | None, float | None]:
    """Return a number and the ends of its interval, or of its range over vectors.

    Where it has neither, the ends are the number itself.
    """
    here, *over = number.addresses
    x = value(metrics, here)
    if over:
        whole = value(metrics, over[0])
        x = None if x is None or not whole else x / whole
        return x, x, x
    for ends in (("low", "high"), ("min", "max")):
        low, high = (value(metrics, beside(here, end)) for end in ends)
        if low is not None and high is not None:
            return x, low, high
    return x, x, x


def read_claims(path: Path) -> dict[str, Claim]:
    """Return the claims of `paper/claims.yaml`, by their id.

    Raises `InputError` that names the claim and the key if one is wrong.
    """
    claims = {}
    for name, fields in read_yaml(path).items():
        try:
            claims[name] = Claim.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in (name, *first["loc"]))
            raise InputError(f"{path}: {key}: {first['msg']}") from None
    return claims


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
        "Published claims beside ours. Intervals are at 95%. Verdicts follow from the numbers: a "
        "value is beyond its null if its interval (of steering vectors, its range) is beyond it, "
        "and beyond the null's range where that has one, and if its p, where there is one, is at "
        f"most {LEAST_P:.2f}; it then holds if it reaches {ENOUGH:.0%} of the published distance "
        "from the null, and holds weaker if not. A claim that something is small or absent holds "
        "if the whole interval says so."
    )
    header = ["claim", "source", "published", "ours", "null", "verdict", "what differs"]
    rows = [
        [
            claim.claim,
            claim.source,
            claim.published,
            claim.number() or NOT_HERE,
            claim.null() or NOT_HERE,
            claim.verdict(metrics),
            claim.differs,
        ]
        for claim in claims.values()
    ]
    return Table("published", caption, header, rows, "l" * len(header), keep_empty=True)
