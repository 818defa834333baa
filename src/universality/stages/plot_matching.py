"""`universality plot-matching`: the figures of the study of matching, from its tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd


def command(
    tables: Annotated[Path, typer.Option(help="tables of the study")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
    file_format: Annotated[str, typer.Option("--format", help="svg, pdf or png")] = "svg",
) -> None:
    """Draw matches, pairings, filters, concepts, other texts, conditions, weights and cards."""
    from universality.io import atomic_directory, read_table, table_paths
    from universality.plots import agreement, cards, concepts, conditions
    from universality.plots import matching as draw
    from universality.plots.style import save, styled

    pairs = _by_pair(tables / "pairs")
    texts = {path.stem: read_table(path) for path in table_paths(tables / "texts", "*.parquet")}
    agreements = _by_pair(tables / "agreement")
    shown = _by_pair(tables / "cards")
    with styled(file_format), atomic_directory(out) as directory:
        best = draw.best_r_histograms(pairs, _by_pair(tables / "neurons"))
        save(best, directory, "best_r", also_png=True)
        save(draw.layer_heat_maps(pairs), directory, "layers")
        save(draw.pairings(pairs), directory, "pairings")
        save(draw.filters(pairs), directory, "filters")
        save(concepts.concepts(pairs), directory, "concepts")
        save(concepts.other_texts(texts), directory, "other_texts")
        save(conditions.pair_curves(pairs), directory, "conditions")
        for path in table_paths(tables / "grids", "*/recipes.parquet"):
            for name, figure in conditions.of_grid(read_table(path)):
                save(figure, directory, f"{path.parent.name}_{name}")
        for path in (tables / "progress").glob("*/shares.parquet"):
            losses = read_table(path.with_name("losses.parquet"))
            figure = conditions.by_training(read_table(path), losses)
            save(figure, directory, f"training_{path.parent.name}")
        save(agreement.agreements(agreements), directory, "agreement")
        save(agreement.disagreements(agreements), directory, "disagreement")
        if any("weights" in named for named in agreements.values()):
            save(agreement.weight_pairings(agreements), directory, "weights")
        for pair, found in shown.items():
            save(cards.cards(found, pair, n_each=2, n_top=2), directory, f"cards_{pair}")
        save(cards.asymmetry(shown), directory, "asymmetry")


def _by_pair(folder: Path) -> "dict[str, dict[str, pd.DataFrame]]":
    from universality.io import table_paths, tables_by_name

    return {path.name: tables_by_name(path) for path in table_paths(folder, "*")}
