"""Parameters of texts made of WordNet's glosses."""

from typing import Annotated

from pydantic import Field

from universality.core.params.base import Id, Section


class GlossCorpus(Section):
    """Definitions of nouns: real text of another kind than stories, each document of one topic."""

    artifact: Annotated[Id, Field(description="artifact (data/sources.yaml): WordNet's data.noun")]
    n_documents: Annotated[int, Field(ge=4, description="documents, drawn at random")]
    n_synsets: Annotated[int, Field(ge=1, description="definitions in a document, as they follow")]
    validation_fraction: Annotated[
        float, Field(gt=0, lt=1, description="share of documents held out for validation")
    ]
    seed: Annotated[int, Field(ge=0, description="of the documents and of the split")]
