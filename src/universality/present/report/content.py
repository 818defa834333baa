"""What the report says, read from what a run has made."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

from markupsafe import Markup, escape

from universality.core.errors import InputError
from universality.core.io import read_json, require
from universality.core.params.base import read_yaml
from universality.present import provenance
from universality.present.paper.captions import caption_of, captions
from universality.present.paper.findings import without_references


@dataclass(frozen=True)
class Study:
    """A study, with the folders of figures/ that belong to it."""

    id: str
    title: str
    question: str
    folders: tuple[str, ...]


STUDIES = (
    Study("saes", "Sparse autoencoders", "How good are the SAEs, and what are their features?",
          ("models", "saes")),
    Study("matching", "Matching features", "Do two models share single features?", ("matching",)),
    Study("similarity", "Comparing spaces", "Are the spaces shared, where single features are not?",
          ("similarity",)),
    Study("steering", "Steering vectors", "What do vectors change, and what are they made of?",
          ("steering",)),
    Study("hierarchy", "Hierarchies of concepts", "Do concepts form hierarchies?", ("hierarchy",)),
)  # fmt: skip

PAGES = {
    "data/maps": "Maps of features: two models, linked",
    "data/cards": "Cards: matched features in their text, side by side",
    "data/dashboards": "Dashboards: features of one SAE",
}
"""Folder of pages, one folder each -> what they are. Only `make repro` and releases have them."""


@dataclass(frozen=True)
class FigureOf:
    """A figure with its caption, and the stage that drew it."""

    name: str
    caption: str
    stage: str
    card: str
    """Where it comes from: what `universality card` prints."""

    @property
    def anchor(self) -> str:
        """Id of the figure in its page."""
        return self.name.replace("/", ".")


class Cards:
    """Where figures come from; each stage's card is made once."""

    def __init__(self, root: Path, lock: provenance.Lock) -> None:
        self._root = root
        self._lock = lock
        self._texts: dict[str, str] = {}

    def stage(self, path: str) -> str:
        """Return the stage that made `path`."""
        found = provenance.maker(self._lock, path)
        if found is None:
            raise InputError(f"{path}: no stage of dvc.lock makes it; `make repro`")
        return found

    def text(self, stage: str) -> str:
        """Return the card of a stage, without the stages above it."""
        if stage not in self._texts:
            lines = provenance.lines(provenance.card(self._root, stage, self._lock))
            self._texts[stage] = "\n".join(_until(lines, "  all stages above"))
        return self._texts[stage]


def _until(lines: Iterator[str], start: str) -> Iterator[str]:
    for line in lines:
        if line.startswith(start):
            return
        yield line


def figures(root: Path, study: Study, cards: Cards) -> list[FigureOf]:
    """Return the figures of a study, in the order of its folders."""
    patterns = captions(require(root / "paper" / "captions"))
    found = []
    for folder in study.folders:
        for path in sorted((root / "figures" / folder).glob("*.svg")):
            name = f"{folder}/{path.stem}"
            stage = cards.stage(f"figures/{name}.svg")
            found.append(FigureOf(name, caption_of(name, patterns), stage, cards.text(stage)))
    return found


@dataclass(frozen=True)
class Page:
    """A page that the pipeline made, and where the report has it."""

    title: str
    source: Path
    to: str


def pages(root: Path) -> dict[str, list[Page]]:
    """Return the pages that are here, by what they are."""
    found: dict[str, list[Page]] = {}
    for folder, title in PAGES.items():
        for path in sorted((root / folder).glob("*/index.html")):
            name = path.parent.name
            page = Page(
                name.replace("_vs_", " and "), path, f"{Path(folder).name}/{name}/index.html"
            )
            found.setdefault(title, []).append(page)
    return found


@dataclass(frozen=True)
class TableOf:
    """A table of the paper as it stands in `paper/tables`."""

    name: str
    caption: str
    header: list[str]
    align: str
    rows: list[list[str]]


def tables(root: Path) -> dict[str, list[TableOf]]:
    """Return study -> tables, but those of claims and findings; by where their addresses point."""
    found: dict[str, list[TableOf]] = {}
    for path in sorted(require(root / "paper" / "tables").glob("*.json")):
        if path.stem in ("published", "findings"):
            continue
        read = read_json(path)
        study = read["addresses"][0].split(":")[0] if read["addresses"] else "saes"
        table = TableOf(path.stem, read["caption"], read["header"], read["align"], read["rows"])
        found.setdefault("saes" if study == "models" else study, []).append(table)
    return found


@dataclass(frozen=True)
class FindingOf:
    """A finding with its numbers, and whether its rules hold in this run."""

    id: str
    text: Markup
    holds: bool | None
    """None if this run lacks a number that it needs."""
    rules: list[str]


def findings(root: Path) -> dict[str, list[FindingOf]]:
    """Return study -> findings; those without a number for the sentence are left out."""
    found: dict[str, list[FindingOf]] = {}
    for name, one in read_json(require(root / "paper" / "tables" / "findings.json")).items():
        study = "saes" if one["study"] == "models" else one["study"]
        if one["text"] is not None:
            finding = FindingOf(name, as_html(one["text"]), one["holds"], one["rules"])
            found.setdefault(study, []).append(finding)
    return found


def as_html(text: str) -> Markup:
    """Return the text of a finding, which is typst's markup, as HTML."""
    html = str(escape(without_references(text)))
    html = re.sub(r"`([^`]*)`", r"<code>\1</code>", html)
    return Markup(re.sub(r"(?<!\w)_([^_]+)_(?!\w)", r"<em>\1</em>", html))


def claims(root: Path) -> list[dict[str, str]]:
    """Return the published claims with our numbers and verdicts."""
    return read_json(require(root / "paper" / "tables" / "published.json"))["claims"]


@dataclass(frozen=True)
class Parameter:
    """A key of params.yaml."""

    key: str
    value: str
    description: str


def parameters(root: Path) -> list[Parameter]:
    """Return every leaf of params.yaml with what it means."""
    from universality.params import Params

    return list(_leaves(Params, read_yaml(root / "params.yaml"), ()))


def _leaves(
    kind: Any, value: Any, path: tuple[str, ...], about: str | None = None
) -> Iterator[Parameter]:
    """Go through `value`, which is of type `kind`; `about` is what its own field says of it."""
    if isinstance(value, dict) and value:
        section = next((k for k in _kinds(kind) if hasattr(k, "model_fields")), None)
        values = next((get_args(k)[1] for k in _kinds(kind) if get_origin(k) is dict), None)
        for key, item in value.items():
            field = section.model_fields.get(key) if section else None
            below, text = (field.annotation, field.description) if field else (values, None)
            yield from _leaves(below, item, (*path, str(key)), text or about)
    else:
        shown = "none" if value is None or value in ({}, []) else _plain(value)
        yield Parameter(".".join(path), shown, about or _summary(kind))


def _kinds(kind: Any) -> list[Any]:
    """Return a type, or those that a union or an annotated type is made of."""
    if get_origin(kind) is dict or hasattr(kind, "model_fields"):
        return [kind]
    return [inner for part in get_args(kind) for inner in _kinds(part)]


def _summary(kind: Any) -> str:
    """Return what the docstring of a section says, for one that is empty here."""
    for found in _kinds(kind):
        section = get_args(found)[1] if get_origin(found) is dict else found
        if hasattr(section, "model_fields"):
            return inspect.cleandoc(section.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return ""


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


@dataclass(frozen=True)
class Run:
    """A stage of dvc.lock, and the run that made it."""

    stage: str
    when: str
    cpu_seconds: float | None
    peak_gb: float | None
    outputs: list[tuple[str, str]] = field(default_factory=list)
    """Path and hash."""


def runs(root: Path, lock: provenance.Lock) -> tuple[list[Run], list[dict[str, Any]]]:
    """Return every stage with its outputs' hashes and time, and the machines they ran on."""
    found, machines = [], []
    for name, entry in lock.items():
        outputs = [(out["path"], out["md5"]) for out in entry.get("outs", [])]
        run = provenance.noted(root, name, entry)
        if run is None:
            found.append(Run(name, "not noted", None, None, outputs))
            continue
        if run.machine not in machines:
            machines.append(run.machine)
        found.append(Run(name, run.when, run.cpu_seconds, run.peak_gb, outputs))
    return found, machines
