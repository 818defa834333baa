"""`universality run plot-matching`: the figures of the study of matching, from its tables."""

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
    """Draw the figures of the matching study.

    Draw matches, pairings, filters, concepts, other texts, conditions, agreement and cards.
    """
    from universality.core.io import atomic_directory, read_table, table_paths
    from universality.core.names import in_order
    from universality.core.style import save, styled
    from universality.studies.matching.figures import agreement, cards, concepts, conditions
    from universality.studies.matching.figures import matching as draw

    pairs = _by_pair(tables / "pairs")
    texts = {path.stem: read_table(path) for path in table_paths(tables / "texts", "*.parquet")}
    shown = _by_pair(tables / "cards")
    grids = {
        path.parent.name: read_table(path)
        for path in table_paths(tables / "grids", "*/recipes.parquet")
    }
    # One of them is enough: cards of another SAE seed or of an untrained model are in the pages.
    with_cards = sorted(in_order(list(shown)), key=lambda pair: draw.role(pair) != "pair")[0]
    with styled(file_format), atomic_directory(out) as directory:
        best = draw.best_r_histograms(pairs, _by_pair(tables / "neurons"))
        save(best, directory, "best_r", also_png=True)
        save(draw.layer_heat_maps(pairs), directory, "layers")
        save(draw.pairings(pairs), directory, "pairings")
        save(draw.filters(pairs), directory, "filters")
        save(concepts.concepts(pairs), directory, "concepts")
        save(concepts.other_texts(texts), directory, "other_texts")
        save(conditions.pair_curves(pairs), directory, "conditions")
        recipes = conditions.recipes(grids)
        if recipes is not None:
            save(recipes, directory, "recipes")
        for path in (tables / "progress").glob("*/shares.parquet"):
            losses = read_table(path.with_name("losses.parquet"))
            figure = conditions.by_training(read_table(path), losses)
            save(figure, directory, f"training_{path.parent.name}")
        save(agreement.agreements(_by_pair(tables / "agreement")), directory, "agreement")
        figure = cards.cards(shown[with_cards], with_cards, n_each=1, n_top=2)
        save(figure, directory, "cards")


def _by_pair(folder: Path) -> "dict[str, dict[str, pd.DataFrame]]":
    from universality.core.io import table_paths, tables_by_name

    return {path.name: tables_by_name(path) for path in table_paths(folder, "*")}
