"""`universality run identify-layers`: is layer i most like layer i of another seed?"""

from pathlib import Path
from typing import Annotated

import typer

from universality.core.params.base import load_section
from universality.core.params.models import SmallModel
from universality.studies.spaces.params.layers import LayerIdentification


def command(
    key: Annotated[str, typer.Argument(help="key of `layer_identification`")],
    corpus: Annotated[Path, typer.Option(help="corpus directory")],
    tokenizer: Annotated[Path, typer.Option(help="directory with tokenizer.json")],
    out: Annotated[Path, typer.Option(help="directory of the tables")],
    params: Annotated[Path, typer.Option(help="parameter file")] = Path("params.yaml"),
) -> None:
    """Find which layers of LM seeds are alike, by every measure.

    Train LMs of several seeds; write models, accuracy (by measure), and choices (of layers).

    The null are the same LMs before training. The LMs are not kept.
    """
    section = load_section(params, LayerIdentification, "layer_identification", key)
    small = section.models.in_place(load_section(params, SmallModel, "small_model"))

    import pandas as pd
    from threadpoolctl import threadpool_limits

    from universality.core.io import atomic_directory, write_table
    from universality.studies.spaces.similarity import seed_lms

    models, accuracies, choices = [], [], []
    layers = {(kind, site): [] for kind in seed_lms.KINDS for site in seed_lms.SITES}
    for row, found in seed_lms.language_models(corpus, tokenizer, small, section):
        models.append(row)
        for site in seed_lms.SITES:
            layers[row["kind"], site].append(found[site])
    # Matrices this small take many times as long when two threads share them. What is to be limited
    # has to be loaded by now.
    with threadpool_limits(1):
        for (kind, site), of_models in layers.items():
            accuracy, chosen = seed_lms.identify(of_models, section)
            accuracies.append(accuracy.assign(kind=kind, site=site))
            choices.append(chosen.assign(kind=kind, site=site))
    with atomic_directory(out) as folder:
        write_table(folder / "models.parquet", pd.DataFrame(models))
        write_table(folder / "accuracy.parquet", seed_lms.with_null(pd.concat(accuracies)))
        write_table(folder / "choices.parquet", pd.concat(choices, ignore_index=True))
