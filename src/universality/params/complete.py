"""The whole of params.yaml, checked at once before anything runs."""

from typing import Annotated

from pydantic import Field

from universality.params.activations import Activations
from universality.params.base import Id, Section
from universality.params.corpora import FileCorpus, HubCorpus, SampledCorpus
from universality.params.matching import Matching, Pair
from universality.params.models import (
    GgufModel,
    HubModel,
    Llama2cModel,
    ModelEvaluation,
    ModelSeed,
    SmallModel,
)
from universality.params.saes import Features, SaeEvaluation, SaeModel, SaeTraining


class Params(Section):
    """Every section of params.yaml."""

    artifacts: Annotated[list[Id], Field(description="keys of data/sources.yaml to fetch")]
    llama2c_models: dict[Id, Llama2cModel]
    gguf_models: dict[Id, GgufModel]
    hub_models: dict[Id, HubModel]
    sampled_corpora: dict[Id, SampledCorpus]
    file_corpora: dict[Id, FileCorpus]
    hub_corpora: dict[Id, HubCorpus]
    corpus: Annotated[Id, Field(description="the text that models and SAEs are trained on")]
    small_model: SmallModel
    trained_models: dict[Id, ModelSeed]
    untrained_models: dict[Id, ModelSeed]
    evaluated_models: Annotated[list[Id], Field(description="models whose cross-entropy is taken")]
    evaluation_corpora: Annotated[list[Id], Field(description="texts it is taken on")]
    model_evaluation: ModelEvaluation
    activations: Activations
    sae_models: dict[Id, SaeModel]
    sae_training: SaeTraining
    sae_evaluation: SaeEvaluation
    features: Features
    pairs: dict[Id, Pair]
    matching: Matching
