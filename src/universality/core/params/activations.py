"""Parameters of the activation caches."""

from typing import Annotated, Literal

from pydantic import Field

from universality.core.params.base import Section


class Activations(Section):
    """How activations are collected and shuffled."""

    max_tokens: Annotated[int, Field(ge=8, description="longest document; the rest is cut off")]
    n_tokens: Annotated[int, Field(ge=100, description="training positions to keep, at most")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
    dtype: Annotated[Literal["float16", "float32"], Field(description="on disk")]
    mask_special: Annotated[bool, Field(description="leave out BOS, EOS and padding")]
    memory_mb: Annotated[int, Field(ge=1, description="most memory the shuffle may hold, MB")]
    seed: Annotated[int, Field(ge=0, description="of the one global shuffle")]
