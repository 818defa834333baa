"""`universality steer`: what a model says with a vector added, and which features change."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from universality.core.errors import InputError
from universality.core.params.base import load_section
from universality.studies.steering.params.steering import Contrasts

if TYPE_CHECKING:
    from universality.studies.steering.demo import Demo
    from universality.studies.steering.intervene import Addition


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
    from universality.studies.steering.demo import known

    every = load_section(contrasts, Contrasts).root
    known(every, vector, "vector")
    known(sorted(path.parent.name for path in data.glob("models/*/config.json")), model, "model")

    import numpy as np

    from universality.core.models import load_bridge
    from universality.studies.steering.demo import steer, words
    from universality.studies.steering.intervene import Addition

    folder = data / "models" / model
    bridge = load_bridge(folder)
    if not 0 <= layer < bridge.cfg.n_layers:
        raise InputError(f"layer is {layer}; {model} has layers 0 to {bridge.cfg.n_layers - 1}")
    hook = f"blocks.{layer}.{site}"
    demo = steer(
        bridge, folder, vector, every[vector], text, hook, multiplier, where, method, n_new, 0
    )
    plain, steered = words(demo, folder)
    effect = demo.effects.iloc[0]
    ce = effect["ce_greedy"]
    typer.echo(f"As it is: {plain}\n\nSteered:  {steered}\n")
    typer.echo(
        f"log P({', '.join(every[vector].words[0][:2])}, ...) - "
        f"log P({', '.join(every[vector].words[1][:2])}, ...) after the prompt: "
        f"{effect['score'] - effect['score_change']:.2f} to {effect['score']:.2f}; perplexity of "
        f"the continuation, by the model as it is: "
        f"{np.exp(ce - effect['ce_greedy_change']):.1f} to {np.exp(ce):.1f}\n"
    )
    places = data / "saes" / model, data / "features" / model, corpus
    missing = [str(place) for place in places if not place.is_dir()]
    if missing:
        typer.echo(f"No features: {', '.join(missing)} is not there")
    else:
        _show_features(bridge, demo, Addition(hook, demo.vector, multiplier, where), places,
                       sae_seed, n_features)  # fmt: skip


def _show_features(
    bridge: Any, demo: "Demo", addition: "Addition", places: tuple[Path, Path, Path], seed: int,
    n_features: int,
) -> None:  # fmt: skip
    """Print the features of `places` (SAEs, features, corpus) that change most."""
    from universality.studies.steering.demo import contexts_of, feature_changes

    saes, features, corpus = places
    changed, activations = feature_changes(bridge, demo, addition, saes, features, seed, n_features)
    if not len(changed):
        typer.echo(f"No feature changed of the SAEs in {saes} after {addition.hook}")
        return
    typer.echo("Features that changed most (mean from the prompt's last token on; where they fire)")
    shown = contexts_of(changed, activations, features, corpus, 3, 8)
    for row, found in zip(changed.to_dict("records"), shown, strict=True):
        typer.echo(
            f"\n{row['hook']} {row['feature']}: {row['before']:.3f} to {row['after']:.3f} "
            f"({row['share']:+.0%} of its highest)"
        )
        for one in found or ["fires nowhere in the corpus"]:
            typer.echo(f"  {one}")
