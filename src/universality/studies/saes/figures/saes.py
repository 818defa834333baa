"""Figure of how good the sparse autoencoders are: a table in, a figure out."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from universality.studies.saes.figures.by_sae import draw, label_places, legend, model_look, places
from universality.studies.saes.summary import LEAST_COST

EVALUATIONS = {
    "explained_variance": "explained\nvariance",
    "ce_difference": "CE added\n(nats / token)",
    "ce_loss_recovered": "CE recovered\n(zero ablation)",
    "dead_fraction": "features that\nnever fire",
}


def evaluations(table: pd.DataFrame) -> Figure:
    """Draw each number of `table` (one row per SAE) by model and layer, with its interval.

    The share of cross-entropy recovered is left out where ablation costs next to nothing.
    """
    costs = (table["ce_zero"] - table["ce"] >= LEAST_COST).to_numpy()
    table = table.assign(ce_loss_recovered=np.where(costs, table["ce_loss_recovered"], np.nan))
    where = places(table)
    figure = Figure(figsize=(8, 6.6))
    grid = figure.subplots(len(EVALUATIONS), 1, sharex=True)
    for axes, (column, label) in zip(grid, EVALUATIONS.items(), strict=True):
        draw(axes, table, where, column)
        axes.set_ylabel(label)
        if column != "explained_variance":
            axes.axhline(0, color="black", lw=0.5)
    grid[0].set_ylim(top=1)
    for model in dict.fromkeys(model for model, _ in where):
        at = [x for (one, _), x in where.items() if one == model]
        if not costs[(table["model"] == model).to_numpy()].any():
            grid[2].text(
                float(np.mean(at)), 0.5, "ablation costs\nnext to nothing", fontsize=8,
                ha="center", va="center", transform=grid[2].get_xaxis_transform(),
            )  # fmt: skip
    label_places(grid, where)
    legend(
        grid[0],
        {
            "SAE of a trained LM": model_look(""),
            "another SAE seed": model_look("", second_seed=True),
            "SAE of an untrained LM": model_look("random"),
        },
    )
    return figure
