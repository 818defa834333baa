"""The whole of params.yaml, checked at once before anything runs."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from universality.core.errors import InputError
from universality.core.hooks import layer as layer_of
from universality.core.hooks import sae_id
from universality.core.params.activations import Activations
from universality.core.params.base import Id, Section, read_yaml, validate
from universality.core.params.compute import Compute
from universality.core.params.corpora import FileCorpus, HubCorpus, SampledCorpus
from universality.core.params.models import (
    GgufModel,
    HubModel,
    Llama2cModel,
    ModelEvaluation,
    ModelSeed,
    SmallModel,
)
from universality.studies.hierarchy.params.glosses import GlossCorpus
from universality.studies.hierarchy.params.hierarchy import (
    ConceptGraph,
    ConceptLayers,
    ConceptPair,
    Hierarchy,
    WordnetWords,
)
from universality.studies.matching.params.agreement import Agreement
from universality.studies.matching.params.cards import Cards
from universality.studies.matching.params.conditions import MatchedGrid, MatchGrids, MatchProgress
from universality.studies.matching.params.matching import Matching, Pair
from universality.studies.matching.params.other_text import NeuronPair, Neurons, OtherText
from universality.studies.saes.params.anatomy import Anatomy, Widths
from universality.studies.saes.params.dashboards import Dashboard
from universality.studies.saes.params.hub_saes import HubSaes, SaeHooks
from universality.studies.saes.params.remedies import SaeRemedies
from universality.studies.saes.params.saes import (
    Features,
    SaeGrid,
    SaeGridEvaluation,
    SaeModel,
    SaesEvaluation,
    SaeTraining,
)
from universality.studies.saes.params.token_error import SaeErrors
from universality.studies.saes.params.toy import Toy
from universality.studies.spaces.params.feature_maps import FeatureMap, Maps
from universality.studies.spaces.params.layers import LayerIdentification, StitchedPair, Stitching
from universality.studies.spaces.params.linked_maps import LinkedMaps
from universality.studies.spaces.params.similarity import Audit, ComparedPair, Similarity
from universality.studies.steering.params.decomposition import (
    DecomposedModel,
    Decomposition,
    SteeredParts,
)
from universality.studies.steering.params.steering import (
    Downstream,
    SteeredMap,
    SteeredModel,
    SteeredPair,
    Steering,
)


class Params(Section):
    """Every section of params.yaml."""

    artifacts: Annotated[list[Id], Field(description="keys of data/sources.yaml to fetch")]
    llama2c_models: dict[Id, Llama2cModel]
    gguf_models: dict[Id, GgufModel]
    hub_models: dict[Id, HubModel]
    sampled_corpora: dict[Id, SampledCorpus]
    file_corpora: dict[Id, FileCorpus]
    hub_corpora: dict[Id, HubCorpus]
    gloss_corpora: dict[Id, GlossCorpus]
    corpus: Annotated[Id, Field(description="the text that models and SAEs are trained on")]
    small_model: SmallModel
    trained_models: dict[Id, ModelSeed]
    untrained_models: dict[Id, ModelSeed]
    evaluated_models: Annotated[list[Id], Field(description="models whose cross-entropy is taken")]
    evaluation_corpora: Annotated[list[Id], Field(description="texts it is taken on")]
    model_evaluation: ModelEvaluation
    compute: Compute
    activations: Activations
    sae_models: dict[Id, SaeModel]
    hub_saes: dict[Id, HubSaes]
    sae_hooks: SaeHooks
    sae_training: SaeTraining
    sae_grids: dict[Id, SaeGrid]
    anatomy: Anatomy
    sae_widths: Widths
    sae_remedies: dict[Id, SaeRemedies]
    error_models: Annotated[list[Id], Field(description="models whose SAE errors are studied")]
    sae_errors: SaeErrors
    toy: Toy
    sae_evaluation: SaesEvaluation
    sae_grid_evaluation: SaeGridEvaluation
    features: Features
    dashboards: dict[Id, Dashboard]
    pairs: dict[Id, Pair]
    matching: Matching
    neuron_pairs: dict[Id, NeuronPair]
    neurons: Neurons
    close_pairs: dict[Id, Pair]
    other_text: OtherText
    matched_grids: dict[Id, MatchedGrid]
    match_grids: MatchGrids
    match_progress: dict[Id, MatchProgress]
    match_cards: Cards
    agreement: Agreement
    compared_pairs: dict[Id, ComparedPair]
    similarity: Similarity
    svcca_audit: Audit
    layer_identification: dict[Id, LayerIdentification]
    stitched_pairs: dict[Id, StitchedPair]
    stitching: Stitching
    feature_maps: dict[Id, FeatureMap]
    maps: Maps
    linked_pairs: dict[Id, Pair]
    linked_maps: LinkedMaps
    steering: Steering
    steering_models: dict[Id, SteeredModel]
    steering_downstream: dict[Id, Downstream]
    steered_maps: dict[Id, SteeredMap]
    steered_pairs: dict[Id, SteeredPair]
    decomposed_models: dict[Id, DecomposedModel]
    decomposition: Decomposition
    steered_parts: dict[Id, SteeredParts]
    wordnet: dict[Id, WordnetWords]
    concept_graphs: dict[Id, ConceptGraph]
    concept_vectors: Annotated[
        dict[Id, Id], Field(description="graphs whose concepts have their geometry tested: model")
    ]
    hierarchy: Hierarchy
    concept_layers: dict[Id, ConceptLayers]
    concept_pairs: dict[Id, ConceptPair]


def load_params(path: Path) -> Params:
    """Read the whole file; names that lead nowhere are errors too."""
    return check_params(read_yaml(path), str(path))


def check_params(value: Any, where: str) -> Params:
    """Return what the file `where` says as parameters; InputError names what is wrong."""
    params = validate(Params, value, where)
    problems = list(_dangling(params))
    if problems:
        raise InputError(f"{where}: {'; '.join(problems)}")
    return params


def _dangling(params: Params) -> Iterator[str]:
    """Say which ids are used and not defined, or defined twice."""
    models = [
        *params.llama2c_models, *params.gguf_models, *params.hub_models,
        *params.trained_models, *params.untrained_models,
    ]  # fmt: skip
    corpora = [
        *params.sampled_corpora, *params.file_corpora, *params.hub_corpora, *params.gloss_corpora,
    ]  # fmt: skip
    for kind, ids in (("model", models), ("corpus", corpora)):
        yield from (f"{kind} {i!r} is defined twice" for i in sorted(set(ids)) if ids.count(i) > 1)
    for key, used, known in _uses(params, models, corpora):
        if used not in known:
            yield f"{key} names {used!r}; there is: {_listed(known)}"
    for key in sorted(params.hub_saes.keys() & params.sae_models.keys()):
        yield f"{key!r} is in both sae_models and hub_saes; its SAEs would have one folder"
    seeds_of = {key: made.seeds for key, made in params.sae_models.items()}
    seeds_of |= {key: [made.seed] for key, made in params.hub_saes.items()}
    for key, pair in params.pairs.items():
        for model, seed in ((pair.a, pair.a_seed), (pair.b, pair.b_seed)):
            seeds = seeds_of.get(model, [seed])
            if seed not in seeds:
                yield f"pairs.{key} names SAE seed {seed} of {model}; there is: {_listed(seeds)}"
    for key, pair in params.close_pairs.items():
        if params.pairs.get(key) != pair:
            yield f"close_pairs.{key} is not as in pairs, whose partners it looks at again"
    for key, pair in params.linked_pairs.items():
        if params.pairs.get(key) != pair:
            yield f"linked_pairs.{key} is not as in pairs, whose partners it shows"
    for key, compared in params.compared_pairs.items():
        if params.pairs.get(key) != compared.pair:
            yield f"compared_pairs.{key} is not as in pairs, whose partners it compares"
    for key, steered in params.steered_pairs.items():
        if params.pairs.get(key) != steered.pair:
            yield f"steered_pairs.{key} is not as in pairs, whose partners it looks at"
    yield from _impossible_conditions(params)
    yield from _impossible_maps(params)


def _impossible_conditions(params: Params) -> Iterator[str]:
    """Say what the studies of conditions ask for that nothing makes."""
    seed = params.match_grids.sae_seed
    for key, matched in params.matched_grids.items():
        grid = params.sae_grids.get(key)
        if grid and grid.model != matched.model:
            yield f"matched_grids.{key}.model is {matched.model!r}; the grid's is {grid.model!r}"
        for model in (matched.other, matched.control):
            made = params.sae_models.get(model)
            if made and seed not in made.seeds:
                known = _listed(made.seeds)
                yield f"match_grids names SAE seed {seed} of {model}; there is: {known}"
            if grid and made:
                for hook in sorted(set(grid.hooks) - set(made.hooks)):
                    yield f"matched_grids.{key}: {model} has no SAE at {hook} of the grid"
    for key, progress in params.match_progress.items():
        for share in progress.shares:
            if share not in params.small_model.checkpoints:
                known = _listed(params.small_model.checkpoints)
                yield f"match_progress.{key} names {share:g}; small_model.checkpoints: {known}"
    for key, remedies in params.sae_remedies.items():
        grid = params.sae_grids.get(remedies.grid)
        if grid and grid.model != key:
            yield f"sae_remedies.{key} names a grid of {grid.model!r}"


def _impossible_maps(params: Params) -> Iterator[str]:
    """Say which maps are of pairs that are not matched, or of layers without an SAE."""
    for key, wanted in params.feature_maps.items():
        pair = params.pairs.get(key)
        if pair != Pair(**wanted.model_dump(include=set(Pair.model_fields))):
            yield f"feature_maps.{key} is not as in pairs, whose partners it looks at again"
        for model, layer in ((wanted.a, wanted.layer_a), (wanted.b, wanted.layer_b)):
            hooks = params.sae_models[model].hooks if model in params.sae_models else []
            layers = sorted(layer_of(hook) for hook in hooks)
            if hooks and layer not in layers:
                known = _listed(layers)
                yield f"feature_maps.{key} names layer {layer} of {model}; there is: {known}"


def _uses(params: Params, models: Sequence[str], corpora: Sequence[str]) -> Iterator[tuple]:
    """Yield every id that is used: key, id, and those it may be."""
    for name, model in params.llama2c_models.items():
        yield f"llama2c_models.{name}", model.weights, params.artifacts
        yield f"llama2c_models.{name}", model.tokenizer, params.artifacts
    for name, model in params.gguf_models.items():
        yield f"gguf_models.{name}", model.file, params.artifacts
    for name, corpus in params.file_corpora.items():
        yield f"file_corpora.{name}", corpus.artifact, params.artifacts
    for name, corpus in params.gloss_corpora.items():
        yield f"gloss_corpora.{name}", corpus.artifact, params.artifacts
    for name, corpus in params.sampled_corpora.items():
        yield f"sampled_corpora.{name}", corpus.model, models
    for corpus in [params.corpus, *params.evaluation_corpora]:
        yield "corpus", corpus, corpora
    for model in [*params.evaluated_models, *params.sae_models, *params.hub_saes]:
        yield "evaluated_models, sae_models and hub_saes", model, models
    for name, grid in params.sae_grids.items():
        yield f"sae_grids.{name}", grid.model, list(params.sae_models)
        for hook in grid.hooks if grid.model in params.sae_models else []:
            yield f"sae_grids.{name}", hook, params.sae_models[grid.model].cached
    for model in params.error_models:
        yield "error_models", model, list(params.sae_models)
    for name, page in params.dashboards.items():
        yield f"dashboards.{name}", page.model, list(params.sae_models)
        model = params.sae_models.get(page.model)
        if model:
            known = [sae_id(hook, seed) for hook in model.hooks for seed in model.seeds]
            yield f"dashboards.{name}", page.sae, known
    for name, text in params.other_text.texts.items():
        yield f"other_text.texts.{name}", text.corpus, [params.corpus, "glosses"]
    for name, pair in params.neuron_pairs.items():
        yield f"neuron_pairs.{name}", pair.a, models
        yield f"neuron_pairs.{name}", pair.b, models
    with_saes = [*params.sae_models, *params.hub_saes]
    for name, pair in params.pairs.items():
        yield f"pairs.{name}", pair.a, with_saes
        yield f"pairs.{name}", pair.b, with_saes
    for name, pair in params.close_pairs.items():  # their stages read `sae_models`
        yield f"close_pairs.{name}", pair.a, list(params.sae_models)
        yield f"close_pairs.{name}", pair.b, list(params.sae_models)
    for name, matched in params.matched_grids.items():
        yield "matched_grids", name, list(params.sae_grids)
        yield f"matched_grids.{name}", matched.other, list(params.sae_models)
        yield f"matched_grids.{name}", matched.control, list(params.sae_models)
    for name, compared in params.compared_pairs.items():
        yield f"compared_pairs.{name}", compared.control, with_saes
    for model in (params.svcca_audit.a, params.svcca_audit.b):
        yield "svcca_audit", model, with_saes
    for name in [*params.steering_models, *params.steering_downstream, *params.steered_maps]:
        yield "steering_models, steering_downstream and steered_maps", name, models
    with_vectors = {
        f"{part}.{name}": (name, one.saes)
        for part in ("steering_downstream", "steered_maps")
        for name, one in getattr(params, part).items()
    }
    for key, (name, saes) in with_vectors.items():
        grids = [grid for grid, made in params.sae_grids.items() if made.model == name]
        known = [f"sae_grids/{grid}" for grid in grids]
        known += [f"saes/{name}"] if name in with_saes else []
        yield f"{key}.saes", saes, known
    decomposed = {
        f"decomposed_models.{name}": one for name, one in params.decomposed_models.items()
    }
    decomposed |= {f"steered_parts.{name}": one for name, one in params.steered_parts.items()}
    for key, one in decomposed.items():
        name = key.split(".")[1]
        grids = [grid for grid, made in params.sae_grids.items() if made.model == name]
        known = [f"sae_grids/{grid}" for grid in grids]
        yield key, name, with_saes
        yield f"{key}.folder", one.folder, [*known, f"saes/{name}"]
    for name, part in params.wordnet.items():
        yield f"wordnet.{name}.data", part.data, params.artifacts
        yield f"wordnet.{name}.index", part.index, params.artifacts
    for name, graph in params.concept_graphs.items():
        yield f"concept_graphs.{name}.model", graph.model, models
        yield f"concept_graphs.{name}.words", graph.words, list(params.wordnet)
        yield "concept_graphs", name, [f"{graph.model}_{graph.words}"]
    for name, layers in params.concept_layers.items():
        of_model = [key for key, one in params.concept_graphs.items() if one.model == name]
        grids = [grid for grid, made in params.sae_grids.items() if made.model == name]
        yield f"concept_layers.{name}.graph", layers.graph, of_model
        known = [f"sae_grids/{grid}" for grid in grids]
        yield f"concept_layers.{name}.saes", layers.saes, [*known, f"saes/{name}"]
    for name, compared in params.concept_pairs.items():
        for graph in compared.graphs:
            yield f"concept_pairs.{name}", graph, list(params.concept_graphs)
    for name, model in params.concept_vectors.items():
        of_model = [key for key, one in params.concept_graphs.items() if one.model == model]
        yield "concept_vectors", name, of_model
    for name, remedies in params.sae_remedies.items():
        yield f"sae_remedies.{name}.grid", remedies.grid, list(params.sae_grids)
    for name, progress in params.match_progress.items():
        for lm in (progress.a, progress.b):
            yield f"match_progress.{name}", lm.trained, list(params.trained_models)
            yield f"match_progress.{name}", lm.untrained, list(params.untrained_models)
    for name, pair in params.stitched_pairs.items():
        yield f"stitched_pairs.{name}", pair.a, models
        yield f"stitched_pairs.{name}", pair.b, models
        yield f"stitched_pairs.{name}", pair.control, list(params.untrained_models)


def _listed(known: Iterable[object]) -> str:
    return ", ".join(map(str, known)) or "nothing"
