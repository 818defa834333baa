"""Parameters of the study of where an SAE's error is."""

from typing import Annotated

from pydantic import Field

from universality.core.params.base import Section

Share = Annotated[float, Field(gt=0, lt=1)]


class ErrorNeighbours(Section):
    """Whether tokens with similar activations have similar errors, and a map of them."""

    n_neighbours: Annotated[int, Field(ge=1, description="neighbours in activation space")]
    umap_hook: Annotated[
        int, Field(description="hook of the map, by its place in the model's list; -1 is the last")
    ]
    umap_tokens: Annotated[int, Field(ge=20, description="tokens on the map, at most")]
    umap_neighbours: Annotated[int, Field(ge=2, description="UMAP's n_neighbors")]
    umap_min_dist: Annotated[float, Field(ge=0, lt=1, description="UMAP's min_dist")]


class ErrorFits(Section):
    """What is fitted on training text: scales of features, and how often each one fires."""

    n_documents: Annotated[int, Field(ge=4, description="training documents")]
    density_thresholds: Annotated[
        list[Share], Field(min_length=1, description="densities above which features are removed")
    ]
    ridge: Annotated[
        float, Field(gt=0, description="firings of mean strength that hold a scale at 1")
    ]


class SaeErrors(Section):
    """Where an SAE's error is, and what removing features does to it."""

    n_documents: Annotated[int, Field(ge=4, description="validation documents of the error")]
    n_removal_documents: Annotated[
        int, Field(ge=4, description="validation documents on which features are removed")
    ]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    tail_shares: Annotated[
        list[Share], Field(min_length=1, description="shares of tokens called the worst")
    ]
    removed: Annotated[
        list[Annotated[int, Field(ge=1)]],
        Field(min_length=1, description="active features removed per token; above L0 is left out"),
    ]
    neighbours: Annotated[
        ErrorNeighbours | None, Field(description="errors of similar tokens; null: not asked")
    ]
    fits: Annotated[
        ErrorFits | None,
        Field(description="norms, scales and the densest features; null: not asked"),
    ]
    n_null: Annotated[int, Field(ge=199, description="draws of every null with a p-value")]
    n_bootstrap: Annotated[int, Field(ge=100, description="resamples of documents for intervals")]
    seed: Annotated[int, Field(ge=0, description="of nulls, errors, removals, map and bootstrap")]
