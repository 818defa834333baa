"""Parameters of matching beyond the SAE features of one text: other texts, and neurons."""

from typing import Annotated, Literal

from pydantic import Field

from universality.core.params.base import Id, Section


class Text(Section):
    """Part of a corpus."""

    corpus: Annotated[Id, Field(description="corpus")]
    split: Annotated[Literal["train", "validation"], Field(description="part of it")]


class OtherText(Section):
    """Texts on which partners are looked at again that were found on the features' text."""

    texts: Annotated[dict[Id, Text], Field(min_length=1, description="texts by name")]
    n_documents: Annotated[int, Field(ge=4, description="documents of each, from the first")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]


class NeuronPair(Section):
    """Two models whose MLP neurons are matched, layer by layer."""

    a: Annotated[Id, Field(description="model A: each of its neurons looks for a partner")]
    b: Annotated[Id, Field(description="model B")]


class Neurons(Section):
    """How neurons are matched; the rest is as for features (`matching`)."""

    n_documents: Annotated[int, Field(ge=4, description="validation documents, from the first")]
    batch_tokens: Annotated[int, Field(ge=64, description="tokens in a forward pass, about")]
