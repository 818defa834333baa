"""The members of a grid of SAEs, and the table that says what each is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from universality.core.errors import InputError
from universality.core.hooks import layer, place, sae_id
from universality.studies.saes.params.saes import Recipe, SaeGrid

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Member:
    """One SAE of a grid."""

    sae: str
    family: str
    recipe: Recipe
    hook: str
    seed: int


def members(grid: SaeGrid) -> list[Member]:
    """Return every SAE of `grid`, hook by hook, with ids like `topk_16_x8_l1_mlp_out_seed0`."""
    return [
        Member(f"{name}_{sae_id(hook, seed)}", family, recipe, hook, seed)
        for hook in grid.hooks
        for name, (family, recipe) in grid.recipes().items()
        for seed in grid.seeds
    ]


def find(grid: SaeGrid, family: str, sparsity: float, expansion: int, hook: str) -> list[Member]:
    """Return the members of one description, a seed each; InputError if there are none."""
    found = [
        one
        for one in members(grid)
        if (one.family, one.recipe.sparsity, one.recipe.expansion, one.hook)
        == (family, sparsity, expansion, hook)
    ]
    if not found:
        known = ", ".join(grid.recipes())
        raise InputError(
            f"the grid has no family {family!r} with sparsity {sparsity:g} and expansion "
            f"{expansion}; there is: {known}"
        )
    return found


def member_table(grid: SaeGrid) -> "pd.DataFrame":
    """Return one row per SAE: sae, family, architecture, sparsity, expansion, hook, layer, ..."""
    import pandas as pd

    return pd.DataFrame(
        {
            "model": grid.model,
            "sae": one.sae,
            "family": one.family,
            "architecture": one.recipe.architecture,
            "sparsity": one.recipe.sparsity,
            "expansion": one.recipe.expansion,
            **place(one.hook),
            "seed": one.seed,
        }
        for one in members(grid)
    )


def pca_table(grid: SaeGrid, hook: str, sizes: list[int]) -> "pd.DataFrame":
    """Return the rows of the baseline, principal components, for `hook`; see `member_table`."""
    import pandas as pd

    return pd.DataFrame(
        {
            "model": grid.model,
            "sae": f"pca_{k}_l{layer(hook)}",
            "family": "pca",
            "architecture": "pca",
            "sparsity": float(k),
            "expansion": 1,
            **place(hook),
            "seed": 0,
        }
        for k in sizes
    )
