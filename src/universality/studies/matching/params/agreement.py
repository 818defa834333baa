"""Parameters of what is compared beyond activations: logit weights, attributions, SAE weights."""

from typing import Annotated

from pydantic import Field

from universality.core.params.base import Section


class Agreement(Section):
    """How matched features are compared by what they write, and SAEs of one LM by their weights."""

    n_null: Annotated[
        int,
        Field(ge=1, description="shifts of B's positions, and permutations of its weights"),
    ]
    n_null_features: Annotated[
        int, Field(ge=2, description="features of A, of each layer, that are matched under shifts")
    ]
    n_shuffles: Annotated[
        int, Field(ge=1, description="shuffles of the partners, for logit weights")
    ]
    n_groups: Annotated[int, Field(ge=2, description="groups of documents left out, for intervals")]
    min_token_count: Annotated[
        int, Field(ge=0, description="occurrences of a token, for logit weights to count it")
    ]
    cosine_threshold: Annotated[
        float, Field(gt=0, lt=1, description="cosine of shared features, of weights")
    ]
    memory_mb: Annotated[float, Field(gt=0, description="for blocks of features")]
    seed: Annotated[int, Field(ge=0, description="of the nulls and of the groups")]
