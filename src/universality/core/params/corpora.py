"""Parameters of the texts."""

from typing import Annotated

from pydantic import Field

from universality.core.params.base import Id, Section

ValidationFraction = Annotated[
    float, Field(gt=0, lt=1, description="share of documents held out for validation")
]


class SampledCorpus(Section):
    """Stories sampled from a language model, one document each."""

    model: Annotated[Id, Field(description="model that writes the stories")]
    n_tokens: Annotated[int, Field(ge=100, description="tokens to sample (the last batch may add)")]
    max_tokens: Annotated[int, Field(ge=8, le=4096, description="longest story, tokens")]
    batch_size: Annotated[int, Field(ge=1, le=4096, description="stories written at a time")]
    temperature: Annotated[
        float, Field(gt=0, le=10, description="of sampling; 1 is the model's own")
    ]
    validation_fraction: ValidationFraction
    seed: Annotated[int, Field(ge=0, description="of sampling and of the split")]


class FileCorpus(Section):
    """A text file that is an artifact: a JSON list of documents."""

    artifact: Annotated[Id, Field(description="artifact (data/sources.yaml): JSON list of strings")]
    validation_fraction: ValidationFraction
    seed: Annotated[int, Field(ge=0, description="of the split")]


class HubCorpus(Section):
    """A dataset of the Hugging Face hub, or of a local folder in the same format."""

    path: Annotated[str, Field(description="owner/name on the hub, or a local folder")]
    revision: Annotated[str | None, Field(description="commit hash; null for a local folder")]
    train_split: Annotated[str, Field(description="name of the training split")]
    validation_split: Annotated[str, Field(description="name of the validation split")]
    text_column: Annotated[str, Field(description="column that holds the text")]
    n_documents: Annotated[
        int, Field(ge=2, description="training documents to take, from the first")
    ]
    n_validation: Annotated[int, Field(ge=1, description="validation documents to take")]
