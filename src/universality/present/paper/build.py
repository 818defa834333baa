"""Compile `paper/main.typ`: numbers and tables from the metrics, the same bytes every time."""

import json
import re
from pathlib import Path

from universality.core.errors import InputError
from universality.core.io import write_json
from universality.core.numbers import STUDIES, AllMetrics
from universality.present.paper.captions import caption_of, captions
from universality.present.paper.claims import claims_json, claims_table, read_claims
from universality.present.paper.findings import findings_json, read_findings
from universality.present.paper.table import as_json, as_markdown, as_tex
from universality.present.paper.tables import all_tables
from universality.present.summaries import read_summaries


def drawn_figures(figures: Path) -> list[str]:
    """Return the figures that exist, as `study/name`, in order."""
    return [f"{path.parent.name}/{path.stem}" for path in sorted(figures.glob("*/*.svg"))]


def read_numbers(root: Path) -> AllMetrics:
    """Return all numbers of the run under `root`."""
    return read_summaries(root / "data" / "tables" / "summaries", STUDIES)


def write_tables(root: Path, folder: Path) -> None:
    """Write every table as .json (for typst), .tex and .md, the published claims, the findings.

    `root` holds the summaries in `data/tables/`, `paper/claims/` and `paper/findings/`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metrics = read_numbers(root)
    claims = read_claims(root / "paper" / "claims")
    findings = read_findings(root / "paper" / "findings")
    write_json(folder / "findings.json", findings_json(findings, metrics))
    for table in [claims_table(claims, metrics), *all_tables(metrics)]:
        written = as_json(table, metrics)
        if table.name == "published":
            written["claims"] = claims_json(claims, metrics)
        write_json(folder / f"{table.name}.json", written)
        (folder / f"{table.name}.tex").write_text(as_tex(table, metrics), encoding="utf-8")
        (folder / f"{table.name}.md").write_text(as_markdown(table, metrics), encoding="utf-8")


def compile_paper(root: Path) -> bytes:
    """Return the PDF of `paper/main.typ` under `root`, which holds tables, figures and metrics.

    Raises `InputError` with typst's own message and its place if the source is wrong, and if typst
    warns: of a font that is missing, say, or a reference that leads nowhere.
    """
    import typst

    source = root / "paper" / "main.typ"
    try:
        pdf, said = typst.compile_with_warnings(
            source, root=root, ignore_system_fonts=True, timestamp=0, sys_inputs=inputs(root)
        )
    except typst.TypstError as error:
        found = re.search(r"┌─ (\S+)", error.diagnostic)
        raise InputError(f"{found[1] if found else source}: {error.message}") from None
    if said:
        raise InputError(f"{source}: typst warns: {said[0].message}")
    assert isinstance(pdf, bytes)
    return pdf


def inputs(root: Path) -> dict[str, str]:
    """Return what the source reads as `sys.inputs`."""
    patterns = captions(root / "paper" / "captions")
    drawn = drawn_figures(root / "figures")
    return {
        "captions": json.dumps({name: caption_of(name, patterns) for name in drawn}),
        "numbers": json.dumps(read_numbers(root)),
    }


def marks(root: Path) -> dict[str, list[str]]:
    """Return what the source marks: figures and numbers used, what is missing, what is not so.

    The names are the labels of lib.typ: used, figure-used, figure-rest, missing, refuted.
    """
    import typst

    found = typst.query(
        root / "paper" / "main.typ",
        "metadata",
        root=root,
        ignore_system_fonts=True,
        sys_inputs=inputs(root),
    )
    named: dict[str, list[str]] = {}
    for element in json.loads(found):
        named.setdefault(element.get("label", "").strip("<>"), []).append(element["value"])
    return named
