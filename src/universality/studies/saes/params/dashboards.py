"""Parameters of the dashboards."""

from typing import Annotated

from pydantic import Field, model_validator

from universality.core.params.base import Id, Section


class Dashboard(Section):
    """One page about some features of one SAE."""

    model: Annotated[Id, Field(description="key of sae_models")]
    sae: Annotated[Id, Field(description="one of its SAEs, for example l3_mlp_out_seed0")]
    n_by_density: Annotated[
        int, Field(ge=0, description="features at even ranks of density, of those that fire")
    ]
    n_random: Annotated[int, Field(ge=0, description="features drawn at random, of all")]
    listed: Annotated[
        list[Annotated[int, Field(ge=0)]], Field(description="features that are shown in any case")
    ]
    n_top: Annotated[int, Field(ge=1, description="top examples of a feature, one per document")]
    n_intervals: Annotated[
        int, Field(ge=1, description="quantile intervals of its activation to sample from")
    ]
    n_per_interval: Annotated[int, Field(ge=1, description="examples sampled from each interval")]
    context: Annotated[int, Field(ge=0, description="tokens shown on each side of an example")]
    n_logits: Annotated[int, Field(ge=1, description="top tokens, and as many bottom tokens")]
    n_nearest: Annotated[int, Field(ge=1, description="nearest features by decoder cosine")]
    n_null: Annotated[
        int, Field(ge=10, description="random directions that logits are compared to")
    ]
    n_bootstrap: Annotated[int, Field(ge=100, description="resamples of documents for intervals")]
    seed: Annotated[int, Field(ge=0, description="of every draw")]

    @model_validator(mode="after")
    def _some_feature(self) -> "Dashboard":
        if self.n_by_density + self.n_random + len(self.listed) == 0:
            raise ValueError("no feature is chosen: n_by_density, n_random and listed are all 0")
        return self
