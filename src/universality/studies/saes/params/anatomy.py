"""Parameters of the feature anatomy and of the width sweep."""

from typing import Annotated

from pydantic import Field

from universality.core.params.base import Section

Share = Annotated[float, Field(gt=0, lt=1)]


class Anatomy(Section):
    """How the features of an SAE are sorted into kinds, and against which nulls."""

    rare_below: Annotated[Share, Field(description="density below which a feature is called rare")]
    explained: Annotated[
        Share, Field(description="share of a decoder's squared norm that its neurons explain")
    ]
    few: Annotated[int, Field(ge=2, le=50, description="most neurons of a feature of a few")]
    seed: Annotated[int, Field(ge=0, description="of nulls and mixtures")]


class Widths(Section):
    """How SAEs that differ only in their width are compared and stitched."""

    threshold: Annotated[Share, Field(description="decoder cosine of a feature found again")]
    n_positions: Annotated[int, Field(ge=100, description="activations for the squared error")]
    n_documents: Annotated[int, Field(ge=2, description="validation documents for the CE")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    n_points: Annotated[int, Field(ge=2, description="points of a stitching curve, ends included")]
    stitched_seeds: Annotated[
        int, Field(ge=0, description="SAE seeds that are stitched, at most; 0: none")
    ]
    n_bootstrap: Annotated[int, Field(ge=100, description="resamples of documents for intervals")]
    seed: Annotated[int, Field(ge=0, description="of nulls, orders and bootstrap")]
