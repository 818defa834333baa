"""Parameters of the cards of matched features."""

from typing import Annotated

from pydantic import Field, model_validator

from universality.core.params.base import Section


class Cards(Section):
    """Which matched pairs are shown, how, and when one of a pair is called more general."""

    n_top: Annotated[int, Field(ge=0, description="pairs of highest r, layers of A taking turns")]
    n_random: Annotated[int, Field(ge=0, description="pairs drawn at random, of all alive")]
    n_contexts: Annotated[int, Field(ge=1, description="top contexts of each, one per document")]
    n_alone: Annotated[
        int, Field(ge=0, description="contexts drawn where only one of the pair fires")
    ]
    context: Annotated[int, Field(ge=0, description="tokens shown on each side")]
    max_position_share: Annotated[
        float,
        Field(gt=0, le=1, description="top pairs: firing at one place of documents, at most"),
    ]
    contained: Annotated[
        float, Field(gt=0, lt=1, description="share of a feature's firing that the other must join")
    ]
    wider: Annotated[
        float,
        Field(ge=1, description="times that the more general one fires as often, at least"),
    ]
    min_documents: Annotated[
        int, Field(ge=2, description="documents in which each must fire to compare their breadth")
    ]
    n_bootstrap: Annotated[int, Field(ge=100, description="resamples of documents for intervals")]
    seed: Annotated[int, Field(ge=0, description="of every draw")]

    @model_validator(mode="after")
    def _some_pair(self) -> "Cards":
        if self.n_top + self.n_random == 0:
            raise ValueError("no pair is chosen: n_top and n_random are both 0")
        return self
