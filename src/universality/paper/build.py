"""Compile `paper/main.typ`: numbers and tables from the metrics, the same bytes every time."""

import json
from pathlib import Path

from universality.errors import InputError
from universality.io import write_json
from universality.paper.claims import claims_json, claims_table
from universality.paper.numbers import AllMetrics
from universality.paper.table import as_json, as_markdown, as_tex
from universality.paper.tables import all_tables

OWN = {"overview", "published", "workflow"}
"""Folders of figures/ that hold no figure of a study: data for DVC, a table, the graph."""


def drawn_figures(figures: Path) -> list[str]:
    """Return the figures that exist, as `study/name`, in order."""
    found = sorted(figures.glob("*/*.svg"))
    return [f"{path.parent.name}/{path.stem}" for path in found if path.parent.name not in OWN]


def write_tables(metrics: AllMetrics, folder: Path) -> None:
    """Write every table as .json (for typst), .tex and .md, and the published claims."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"published": claims_table(metrics)}
    tables |= {table.name: table for table in all_tables(metrics)}
    for name, table in tables.items():
        write_json(folder / f"{name}.json", as_json(table, metrics) | _claims(name, metrics))
        (folder / f"{name}.tex").write_text(as_tex(table, metrics), encoding="utf-8")
        (folder / f"{name}.md").write_text(as_markdown(table, metrics), encoding="utf-8")


def _claims(name: str, metrics: AllMetrics) -> dict[str, object]:
    return {"claims": claims_json(metrics)} if name == "published" else {}


def compile_paper(root: Path) -> bytes:
    """Return the PDF of `paper/main.typ` under `root`, which holds tables, figures and metrics.

    Raises `InputError` with typst's own message and place if the source is wrong, and if typst
    warns: of a font that is missing, say, or a reference that leads nowhere.
    """
    import typst

    source = root / "paper" / "main.typ"
    try:
        pdf, said = typst.compile_with_warnings(
            source, root=root, ignore_system_fonts=True, timestamp=0, sys_inputs=inputs(root)
        )
    except typst.TypstError as error:
        where = "".join(f"\n{line}" for line in error.diagnostic.splitlines())
        raise InputError(f"{source}: {error.message}{where}") from None
    if said:
        raise InputError(f"{source}: typst warns: {said[0].message}")
    assert isinstance(pdf, bytes)
    return pdf


def inputs(root: Path) -> dict[str, str]:
    """Return what the source reads as `sys.inputs`."""
    return {"figures": json.dumps(drawn_figures(root / "figures"))}


def query(root: Path, label: str) -> list[str]:
    """Return what the source marks with `label`: used, figure-used, missing, refuted."""
    import typst

    found = typst.query(
        root / "paper" / "main.typ",
        f"<{label}>",
        field="value",
        root=root,
        ignore_system_fonts=True,
        sys_inputs=inputs(root),
    )
    return json.loads(found)
