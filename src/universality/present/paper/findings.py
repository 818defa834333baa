"""The findings: sentences about our numbers, each bound to the rules that make it true.

`paper/findings/` lists them once. The abstract, the sections, the README and the report print
them from there, with the numbers filled in, and mark a finding whose rules do not hold in a run.
"""

import ast
import fnmatch
import operator
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from universality.core.errors import InputError
from universality.core.numbers import AllMetrics, Number, parse, shown, value
from universality.present.paper.entries import read_entries

PLACE = re.compile(r"\{([^{}]+)\}")
"""A number in a sentence or a rule: `{ADDRESS}`, `{ci % 1 ADDRESS}`, `{least STUDY:PATTERN.X}`."""
REFERENCE = re.compile(r" ?@[\w:.-]*\w")
"""A work or a section that the paper names beside a sentence."""
NOT_SO = "Not so in this run."
MANY: dict[str, Callable[[list[float]], float]] = {
    "least": min,
    "most": max,
    "median": median,
    "mean": lambda xs: sum(xs) / len(xs),
    "count": len,
}
"""What is made of the numbers of several ids; the id of the address may then hold `*`."""
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Lt: operator.lt, ast.LtE: operator.le,
}  # fmt: skip
_COMPUTE: dict[type[ast.operator], Callable[[Any, Any], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip

Strict = ConfigDict(extra="forbid", frozen=True)


class Finding(BaseModel):
    """A sentence or two, and the comparisons of numbers that make it true, all of them."""

    model_config = Strict
    study: str = ""
    """The file that it is in."""
    text: str
    rules: Annotated[list[str], Field(min_length=1)]


def read_findings(folder: Path) -> dict[str, Finding]:
    """Return the findings of `paper/findings`, a file a study, by their id.

    Raises `InputError` that names the finding and the key if one is wrong.
    """
    findings = read_entries(folder, Finding)
    for name, finding in findings.items():
        for rule in finding.rules:
            _parsed(rule, f"{folder}: {name}")
    return findings


def addresses(finding: Finding, metrics: AllMetrics) -> list[str]:
    """Return the addresses of all numbers that a finding prints or rests on, without repeats."""
    found: dict[str, None] = {}
    for text in (finding.text, *finding.rules):
        for place in PLACE.findall(text):
            *_, address = place.split()
            found |= dict.fromkeys(_matching(address, metrics))
    return list(found)


def holds(finding: Finding, metrics: AllMetrics) -> bool | None:
    """Return whether all rules hold; None where this run lacks a number that one needs."""
    results = [_holds(rule, metrics) for rule in finding.rules]
    return None if None in results else all(results)


def sentence(finding: Finding, metrics: AllMetrics) -> str | None:
    """Return the text with its numbers; None where this run lacks one of them."""
    missing = False

    def number(found: re.Match[str]) -> str:
        nonlocal missing
        text = _shown(found[1], metrics)
        missing |= text is None
        return text or ""

    text = PLACE.sub(number, " ".join(finding.text.split()))
    return None if missing else text


def findings_json(findings: Mapping[str, Finding], metrics: AllMetrics) -> dict[str, Any]:
    """Return what paper/lib.typ, the report and the README print: id -> text, holds and more."""
    return {
        name: {
            "study": one.study,
            "text": sentence(one, metrics),
            "holds": holds(one, metrics),
            "rules": one.rules,
            "addresses": addresses(one, metrics),
        }
        for name, one in findings.items()
    }


def markdown_list(printed: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> str:
    """Return the findings `names` of a `findings_json` as a list in Markdown, for the README.

    Raises `InputError` if there is none of that name, or if the run has no number for it.
    """
    items = []
    for name in names:
        if name not in printed:
            raise InputError(f"no finding {name!r} in paper/findings/")
        text = printed[name]["text"]
        if text is None:
            raise InputError(f"finding {name!r}: this run lacks one of its numbers")
        mark = "" if printed[name]["holds"] else f" **{NOT_SO}**"
        item = textwrap.fill(
            without_references(text) + mark, 114, break_long_words=False, break_on_hyphens=False
        )
        items.append("- " + item.replace("\n", "\n  "))
    return "".join(f"{item}\n" for item in items)


def without_references(text: str) -> str:
    """Return the text of a finding without typst's references, which only the paper can follow."""
    return REFERENCE.sub("", text)


def _matching(address: str, metrics: AllMetrics) -> list[str]:
    """Return the addresses that `address` stands for: itself, or those that its `*` match."""
    if "*" not in address:
        return [address]
    study, pattern, metric = parse(address)
    ids = [name for name in metrics[study] if fnmatch.fnmatchcase(name, pattern)]
    return [f"{study}:{name}.{metric}" for name in sorted(ids)]


def _value(words: Sequence[str], metrics: AllMetrics) -> float | None:
    """Return the number that the words of a place ask for, None where there is none."""
    *how, address = words
    values = [value(metrics, one) for one in _matching(address, metrics)]
    present = [x for x in values if x is not None]
    many = [MANY[word] for word in how if word in MANY]
    if many:
        return many[0](present) if present else None
    return present[0] if len(values) == 1 and present else None


def _shown(place: str, metrics: AllMetrics) -> str | None:
    *how, address = words = place.split()
    digits = next((int(word) for word in how if word.isdigit()), 0 if "%" in how else 2)
    if "ci" in how:
        number = Number(address, digits, "%" in how)
        return None if value(metrics, address) is None else number.text(metrics)
    x = _value(words, metrics)
    return None if x is None else shown(x, digits, "%" in how)


def _parsed(rule: str, where: str) -> tuple[ast.Compare, list[str]]:
    """Return a rule as an expression over `x0`, `x1` ..., and the places that these stand for."""
    places: list[str] = []

    def name(found: re.Match[str]) -> str:
        places.append(found[1])
        return f"x{len(places) - 1}"

    try:
        tree = ast.parse(PLACE.sub(name, rule), mode="eval").body
    except SyntaxError:
        tree = None
    allowed = (
        ast.Compare, ast.BinOp, ast.UnaryOp, ast.USub, ast.Name, ast.Load, ast.Constant,
        *_COMPARE, *_COMPUTE,
    )  # fmt: skip
    if not isinstance(tree, ast.Compare) or not all(isinstance(x, allowed) for x in ast.walk(tree)):
        raise InputError(f"{where}: {rule!r} is no comparison like '{{A}} > {{B}} + 0.1'")
    return tree, places


def _holds(rule: str, metrics: AllMetrics) -> bool | None:
    tree, places = _parsed(rule, "rule")
    values = {f"x{i}": _value(place.split(), metrics) for i, place in enumerate(places)}
    if None in values.values():
        return None
    sides = [_computed(node, values) for node in (tree.left, *tree.comparators)]
    pairs: Iterator[tuple[Any, Any, Any]] = zip(tree.ops, sides, sides[1:], strict=False)
    return all(_COMPARE[type(op)](left, right) for op, left, right in pairs)


def _computed(node: ast.expr, values: Mapping[str, Any]) -> float:
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.UnaryOp):
        return -_computed(node.operand, values)
    if isinstance(node, ast.BinOp):
        sides = _computed(node.left, values), _computed(node.right, values)
        return _COMPUTE[type(node.op)](*sides)
    assert isinstance(node, ast.Constant)
    return float(node.value)  # pyright: ignore[reportArgumentType]
