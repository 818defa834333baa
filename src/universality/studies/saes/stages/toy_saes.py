"""`universality run toy-saes`: do SAEs find features that are known?"""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.studies.saes.params.saes import SaeTraining
from universality.studies.saes.params.toy import Toy


def command(
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Train SAEs on toy models, whose features are known.

    Train SAEs on toy models; write saes, summary (over seeds) and agreement (of SAE seeds).

    The kinds of `saes`: trained; untrained, the same initial weights; random and samples,
    dictionaries of random directions and of samples; truth; truth_weights, the true directions as
    encoder and decoder of an SAE, for those of fixed k and true width (no linear encoder is exact).
    `width` is d_sae / n_true; `reference` says whether it is the family's reference.
    """
    section = load_section(params, Toy, "toy")
    training = section.in_place(load_section(params, SaeTraining, "sae_training"))

    import pandas as pd

    from universality.core.io import atomic_directory, write_table
    from universality.studies.saes.study.toy import summarise
    from universality.studies.saes.study.toy_study import KEYS, one_thread, study

    with one_thread():
        rows, agreements = study(section, training)
    saes = pd.DataFrame(rows)
    first = [*KEYS, "seed"]
    saes = saes.reindex(columns=[*first, *saes.columns.difference(first, sort=False)])
    with atomic_directory(out) as folder:
        write_table(folder / "saes.parquet", saes)
        write_table(folder / "summary.parquet", summarise(saes, KEYS))
        write_table(folder / "agreement.parquet", pd.DataFrame(agreements))
