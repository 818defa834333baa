"""All figures of the study of SAEs, part by part, each with its name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from universality.core.io import read_table, read_tables, table_paths
from universality.studies.saes.figures import (
    anatomy,
    grids,
    remedies,
    removal,
    saes,
    token_error,
    toy,
    widths,
)

Named = Iterator[tuple[str, Figure]]
"""Figures and their names, each drawn when it is asked for."""
Table = Any
"""A pandas DataFrame, whose stubs know too little of what a column gives."""


@dataclass(frozen=True)
class GridTables:
    """The tables of all grids, one below the other, with a column `grid`."""

    judged: Table
    """Evaluation of every SAE, and of principal components."""
    matched: Table
    """Families at equal L0."""
    alone: Table
    """Every recipe against the reference at its own L0."""


def grid_tables(folder: Path) -> GridTables:
    """Read the tables of all grids from the folder that has a directory for each."""
    judged, matched, alone = (
        pd.concat(
            [
                read_table(path).assign(grid=path.parent.name)
                for path in table_paths(folder, f"*/{name}.parquet")
            ],
            ignore_index=True,
        )
        for name in ("evaluation", "matched", "against")
    )
    return GridTables(judged, matched, alone)


def of_quality(evaluated: pd.DataFrame, found: GridTables) -> Named:
    """Yield how good SAEs are: of the models (`evaluated`, a row per SAE), and of grids."""
    yield "evaluation", saes.evaluations(evaluated)
    several = grids.with_several(found.judged, "family", 3)
    if len(several):
        yield "frontiers", grids.frontiers(several, found.matched, found.alone)
    several = grids.with_several(found.judged, "site", 2)
    if len(several):
        yield "sites", grids.sites(several)


def of_features(folder: Path, few: int) -> Named:
    """Yield what features are, from the tables of `sae-anatomy`; `few` neurons are few."""
    yield "clusters", anatomy.clusters(read_tables(folder, "*/features.parquet"))
    neurons = read_tables(folder, "*/neurons.parquet")
    if len(neurons):
        yield "neurons", anatomy.neurons(neurons, few)


def of_errors(errors: token_error.Tables, evaluated: pd.DataFrame, found: GridTables) -> Named:
    """Yield where the errors of the models' SAEs (`evaluated`) are, and what they cost."""
    yield "error_tokens", token_error.error_tokens(errors)
    yield "removal", removal.removals(errors)
    if all("map" in named for named in errors.values()):
        yield "error_maps", token_error.error_maps(errors)
    if all("scales" in named for named in errors.values()):
        yield "norms_and_scales", removal.norms_and_scales(errors)
        trained = pd.concat([evaluated, found.judged.query("family != 'pca'")])
        yield "high_frequency", removal.high_frequency(errors, trained)


def of_widths(sweeps: Mapping[str, Table], grid: Path) -> Named:
    """Yield what width does, from the tables of `sae-widths` and the directory of its grid."""
    evaluation: Table = read_table(grid / "evaluation.parquet")
    evaluation = evaluation.query("family != 'pca'")
    yield from widths.sweeps(evaluation, sweeps["splitting"], sweeps["insertion"])
    if "stitching" in sweeps:
        yield "stitching", widths.stitching(sweeps["stitching"])


def of_toys(tables: Mapping[str, pd.DataFrame]) -> Named:
    """Yield what SAEs recover of known features, from the tables of `toy-saes`."""
    yield "toy_recovery", toy.recovery(tables["summary"])
    yield "toy_agreement", toy.agreements(tables["agreement"])


def of_remedies(folder: Path, found: GridTables) -> Named:
    """Yield what remedies do, a figure for each model of `folder`; there may be none."""
    for path in folder.glob("*/residual.parquet"):
        model = path.parent.name
        cosines = read_table(path.with_name("orthogonality.parquet"))
        of_model = found.judged[found.judged["model"] == model]
        yield f"remedies_{model}", remedies.remedies(read_table(path), cosines, of_model)
