"""`universality steer`: what a model says with a vector added, and which features change."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from universality.core.params.base import load_section
from universality.studies.steering.params.steering import Contrasts


def command(
    text: Annotated[str, typer.Argument(help="prompt")],
    model: Annotated[str, typer.Option(help="model of data/models")],
    vector: Annotated[str, typer.Option(help="contrast of data/contrasts.yaml")],
    layer: Annotated[int, typer.Option(help="block after which it is added")],
    multiplier: Annotated[float, typer.Option(help="of the vector; negative: the other way")],
    site: Annotated[str, typer.Option(help="hook of the block")] = "hook_resid_post",
    where: Annotated[
        Literal["last", "after_prompt", "all"],
        typer.Option(help="at the prompt's last position, from there on, or everywhere"),
    ] = "after_prompt",
    method: Annotated[
        Literal["mean", "pca"], typer.Option(help="of making the vector from pairs")
    ] = "mean",
    n_new: Annotated[int, typer.Option(min=1, help="tokens to write")] = 40,
    n_features: Annotated[int, typer.Option(min=0, help="features to show")] = 5,
    sae_seed: Annotated[int, typer.Option(help="of the SAEs in data/saes")] = 0,
    data: Annotated[Path, typer.Option(help="folder of models, SAEs and features")] = Path("data"),
    contrasts: Annotated[Path, typer.Option(help="contrasts that vectors are made of")] = Path(
        "data/contrasts.yaml"
    ),
    corpus: Annotated[Path, typer.Option(help="corpus directory, for contexts of features")] = Path(
        "data/corpora/stories"
    ),
) -> None:
    """Show what a model says with a vector added, and which features change.

    Print both greedy continuations, effect and price, and the features that changed most.
    """
    from universality.core.models import load_bridge
    from universality.studies.steering.demo import block_hook, feature_lines, known, said, steer
    from universality.studies.steering.intervene import Addition

    every = load_section(contrasts, Contrasts).root
    known(every, vector, "vector")
    known(sorted(path.parent.name for path in data.glob("models/*/config.json")), model, "model")
    folder = data / "models" / model
    bridge = load_bridge(folder)
    hook = block_hook(bridge, model, layer, site)
    demo = steer(
        bridge, folder, vector, every[vector], text, hook, multiplier, where, method, n_new, 0
    )
    typer.echo(said(demo, folder, every[vector]))
    addition = Addition(hook, demo.vector, multiplier, where)
    places = data / "saes" / model, data / "features" / model, corpus
    for line in feature_lines(bridge, demo, addition, places, sae_seed, n_features):
        typer.echo(line)
