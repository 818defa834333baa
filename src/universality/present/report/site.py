"""The report as HTML: one folder that needs no network and no server."""

import shutil
from pathlib import Path
from typing import Any

from universality.core.errors import InputError
from universality.present import provenance
from universality.present.report import content
from universality.studies.saes.pages.dashboard_page import source, templates

FINDINGS = {
    True: ("yes", "holds"),
    False: ("no", "not so in this run"),
    None: ("open", "not all its numbers are in this run"),
}
"""Whether the rules of a finding hold -> class of its mark, and the mark."""
VERDICTS = {
    "holds": "yes",
    "holds, weaker": "part",
    "inconclusive": "open",
    "does not hold": "no",
    "cannot be tested here": "open",
}
"""Verdict -> class of its mark."""


def build(root: Path, out: Path) -> None:
    """Write the report of the run in `root` into the empty folder `out`.

    Raises `InputError` if figures or tables are not there. Pages of features are left out if they
    are not there.
    """
    lock = provenance.read_lock(root)  # of hundreds of kilobytes, so only once
    cards = content.Cards(root, lock)
    studies = {study.id: content.figures(root, study, cards) for study in content.STUDIES}
    if not any(studies.values()):
        raise InputError(f"{root / 'figures'}: no figure; `make repro`, or `make figures`")
    pages = content.pages(root)
    claims, tables, findings = content.claims(root), content.tables(root), content.findings(root)
    common: dict[str, Any] = {"studies": content.STUDIES, "marks": VERDICTS, "states": FINDINGS}
    _copy(root, out, pages)
    _page(out / "index.html", "overview.html", common, findings=findings, pages=pages,
          figures=studies, has_paper=(out / "universality.pdf").is_file())  # fmt: skip
    for study in content.STUDIES:
        own = [claim for claim in claims if claim["study"] == study.id]
        _page(out / f"{study.id}.html", "study.html", common, study=study, claims=own,
              findings=findings.get(study.id, []), tables=tables.get(study.id, []),
              figures=studies[study.id])  # fmt: skip
    _page(out / "published.html", "published.html", common, claims=claims)
    _page(out / "parameters.html", "parameters.html", common, parameters=content.parameters(root))
    runs, machines = content.runs(root, lock)
    _page(out / "provenance.html", "provenance.html", common, runs=runs, machines=machines)


def _copy(root: Path, out: Path, pages: dict[str, list[content.Page]]) -> None:
    """Copy figures, pages, tables, and the paper if it is there."""
    for study in content.STUDIES:
        for folder in study.folders:
            for path in sorted((root / "figures" / folder).glob("*.svg")):
                _copy_file(path, out / "figures" / folder / path.name)
    for found in pages.values():
        for page in found:
            _copy_file(page.source, out / page.to)
    for path in sorted((root / "paper" / "tables").glob("*")):
        if path.suffix in (".tex", ".md"):
            _copy_file(path, out / "tables" / path.name)
    paper = root / "paper" / "universality.pdf"
    if paper.is_file():
        _copy_file(paper, out / paper.name)


def _copy_file(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


def _page(to: Path, template: str, common: dict[str, Any], **values: Any) -> None:
    found = templates("universality.present.report")
    css = source(found, "dashboard.css") + source(found, "report.css")
    text = found.get_template(template).render(css=css, here=to.name, **common, **values)
    to.write_text(text, encoding="utf-8")
