"""`universality run match-grids`: do sparser, wider or other SAEs share more of their features?"""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.matching.params.conditions import MatchGrids
from universality.studies.matching.params.matching import Matching
from universality.studies.saes.params.saes import SaeGrid


def command(
    key: Annotated[str, typer.Argument(help="key of `sae_grids` and of `matched_grids`")],
    model: Annotated[Path, typer.Option(help="Hugging Face directory of the grid's model")],
    saes: Annotated[Path, typer.Option(help="directory of the grid's SAEs")],
    corpus: Annotated[Path, typer.Option(help="corpus directory; its validation split is used")],
    max_tokens: Annotated[int, typer.Option(help="longest document in tokens, BOS included")],
    other: Annotated[Path, typer.Option(help="features of another LM")],
    control: Annotated[Path, typer.Option(help="features of an untrained LM")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Match the SAEs of a grid: L0, width, architecture.

    Write how well the features of each SAE are matched, SAE by SAE and over SAE seeds.

    Partners are sought in the SAE of the next seed of the same recipe and LM (`sae_seed`), in
    `n_searched` features drawn from it (`sae_seed_drawn`), and in one SAE of another LM
    (`other_lm`) and one of an untrained LM (`random_lm`), which are the same for every recipe.

    To be read with care. In `sae_seed` B is of the recipe too, so that wide SAEs are searched more
    widely; in `sae_seed_drawn` they are not, but a smaller part of them is drawn. Only features
    that fire on `matching.min_count` positions are looked at, and recipes differ in how many those
    are (n_features of d_sae). L0, width and quality go together: nothing here varies alone.
    """
    grid = load_section(params, SaeGrid, "sae_grids", key)
    section = load_section(params, MatchGrids, "match_grids")
    matching = load_section(params, Matching, "matching")

    from universality.core.corpora import load_tokens
    from universality.core.io import atomic_directory, write_table
    from universality.core.models import load_bridge
    from universality.studies.matching.conditions.conditions import MEASURES, over_seeds
    from universality.studies.matching.conditions.grid_study import RECIPE, match_grid, read_shared
    from universality.studies.saes.evaluation import load_sae

    tokens = load_tokens(corpus, "validation", model, max_tokens, section.n_documents)
    folders = {"other_lm": other, "random_lm": control}
    read = read_shared(load_bridge(model), tokens, grid.hooks, folders, section, matching.min_count)
    seeds = match_grid(grid, lambda sae: load_sae(saes / sae), *read, section, matching)
    with atomic_directory(out) as folder:
        write_table(folder / "seeds.parquet", seeds)
        recipes = over_seeds(seeds, [*RECIPE, "partner"], MEASURES)
        write_table(folder / "recipes.parquet", recipes)
