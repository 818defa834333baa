"""`universality plot-conditions`: the figures about when features are shared."""

from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    pairs: Annotated[Path, typer.Option(help="tables of `match`, one folder a pair")],
    grids: Annotated[Path, typer.Option(help="tables of `match-grids`, one folder a grid")],
    progress: Annotated[Path, typer.Option(help="tables of `match-progress`")],
    out: Annotated[Path, typer.Option(help="directory for the figures")],
) -> None:
    """Draw shares over thresholds, L0, width and training."""
    import numpy as np

    from universality.io import atomic_directory, read_table, table_paths
    from universality.matching.conditions.conditions import pair_curve
    from universality.plots import conditions as draw
    from universality.plots.style import save, styled

    thresholds = np.linspace(0, 1, 101)
    curves, headlines = {}, {}
    for path in table_paths(pairs, "*/headline.parquet"):
        pair, headline = path.parent.name, read_table(path)
        curves[pair] = pair_curve(
            read_table(path.with_name("features.parquet")), headline, thresholds
        )
        headlines[pair] = headline.query("selection == 'best_layer' and layer_a < 0").iloc[0]
    with styled(), atomic_directory(out) as directory:
        save(draw.pair_curves(curves, headlines), directory, "pairs")
        for path in table_paths(grids, "*/recipes.parquet"):
            points: Any = read_table(path.with_name("curves.parquet"))
            found: Any = read_table(path)
            for hook, recipes in found.groupby("hook", sort=False):
                name = f"{path.parent.name}_{str(hook).replace('.', '_')}"
                here = points[points["hook"] == hook]
                save(draw.recipe_curves(here, recipes), directory, f"{name}_thresholds")
                if (recipes.groupby("family")["sparsity"].nunique() > 1).any():
                    save(draw.by_l0(recipes), directory, f"{name}_l0")
                for (family, sparsity), sweep in recipes.groupby(["family", "sparsity"]):  # pyright: ignore
                    if sweep["expansion"].nunique() > 1:
                        save(draw.by_width(sweep), directory, f"{name}_{family}_{sparsity:g}_width")
        tables = (read_table(progress / f"{name}.parquet") for name in ("shares", "losses"))
        save(draw.by_training(*tables), directory, "training")
