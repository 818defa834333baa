"""`universality plot-decomposition`: figures of what steering vectors are made of."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    decompositions: Annotated[Path, typer.Option(help="tables of `decompose-vectors`, by model")],
    parts: Annotated[Path, typer.Option(help="tables of `steer-parts`, by model")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw reconstructions beside their effects, misreading, doses, parts and logit lens."""
    from universality.io import atomic_directory, read_table, table_paths
    from universality.plots import decomposition as draw
    from universality.plots.style import save, styled

    with styled(), atomic_directory(out) as directory:
        for path in table_paths(decompositions, "*/summary.parquet"):
            model = path.parent.name

            def table(name: str, folder: Path = path.parent):
                return read_table(folder / f"{name}.parquet")

            save(draw.fidelity(table("summary")), directory, f"fidelity_{model}")
            misread = draw.misreading(table("zero"), table("lost"), table("activations"))
            save(misread, directory, f"misreading_{model}")
            doses = table("doses")
            for layer in sorted(doses["layer"].unique()):
                save(draw.doses(doses, layer), directory, f"doses_{model}_layer_{layer}")
            save(draw.lens(table("lens")), directory, f"lens_{model}")
        for path in table_paths(parts, "*/pareto.parquet"):
            model = path.parent.name
            n = len(set(read_table(path.with_name("parts.parquet"))["prompt"]))
            save(draw.pareto(read_table(path), n), directory, f"pareto_{model}")
            tables = [path.with_name(f"{name}.parquet") for name in ("ablation", "patches")]
            if all(table.exists() for table in tables):
                figure = draw.downstream(*map(read_table, tables))
                save(figure, directory, f"downstream_{model}")
