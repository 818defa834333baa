"""Parameters of the study of steering vectors, and the contrasts they are made of."""

from typing import Annotated, Literal, Self

from pydantic import Field, RootModel, model_validator

from universality.core.params.base import Id, Section
from universality.studies.matching.params.matching import Pair

Multiplier = Annotated[float, Field(ge=-100, le=100)]


class Contrast(Section):
    """Two kinds of prompts, and words that tell whether their difference does what it should."""

    pairs: Annotated[
        list[tuple[str, str]],
        Field(min_length=1, description="prompts; a vector points from the second to the first"),
    ]
    words: Annotated[
        tuple[list[str], list[str]], Field(description="made more likely, and made less likely")
    ]
    prompts: Annotated[list[str], Field(min_length=2, description="where the effect is measured")]

    @model_validator(mode="after")
    def _check(self) -> "Contrast":
        of_pairs = [text for pair in self.pairs for text in pair]
        for text in [*of_pairs, *self.prompts]:
            if not text.strip() or text != text.strip():
                raise ValueError(f"{text!r} is empty or begins or ends with a space")
        if same := [first for first, second in self.pairs if first == second]:
            raise ValueError(f"both sides of a pair are {same[0]!r}")
        for name, given in (("pairs", self.pairs), ("prompts", self.prompts)):
            if len(set(given)) < len(given):
                raise ValueError(f"{name} names one twice")
        if again := set(of_pairs) & set(self.prompts):
            raise ValueError(f"{min(again)!r} is a prompt and in pairs, which it should test")
        more, less = self.words
        if not more or not less:
            raise ValueError("words needs two lists, none of them empty")
        for word in [*more, *less]:
            if not word.isalpha():
                raise ValueError(f"{word!r} is not a single word")
        if len({*more, *less}) < len(more) + len(less):
            raise ValueError("words names one twice")
        return self


class Contrasts(RootModel[dict[Id, Contrast]]):
    """data/contrasts.yaml."""


class SteeredSite(Section):
    """Where vectors of which contrasts are added."""

    contrasts: Annotated[list[Id], Field(min_length=1, description="keys of data/contrasts.yaml")]
    site: Annotated[
        str, Field(pattern=r"^[a-z_.]+$", description="hook of a layer, as hook_resid_post")
    ]

    def hook(self, layer: int) -> str:
        """Return the hook of a layer."""
        return f"blocks.{layer}.{self.site}"


class SteeredLayers(SteeredSite):
    """Vectors that are added in one layer at a time."""

    layers: Annotated[
        list[Annotated[int, Field(ge=0)]], Field(min_length=1, description="one at a time")
    ]


class SteeredText(Section):
    """Text that is read with and without an addition."""

    n_documents: Annotated[int, Field(ge=2, description="validation documents, from the first")]
    n_tokens: Annotated[int, Field(ge=3, description="of each, BOS included; shorter ones are out")]
    n_prompt: Annotated[int, Field(ge=2, description="of these, before the vector is added")]

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.n_prompt >= self.n_tokens:
            raise ValueError(f"n_prompt is {self.n_prompt}, expected below n_tokens")
        return self


class Written(Section):
    """Continuations, whose perplexity under the model as it is shows the price of an effect."""

    n_new: Annotated[int, Field(ge=1, le=512, description="tokens of a continuation")]
    n_prompts: Annotated[int, Field(ge=1, description="prompts of a contrast, from the first")]
    multipliers: Annotated[
        list[Multiplier], Field(min_length=1, description="of those where scores are taken")
    ]
    n_random: Annotated[int, Field(ge=1, description="random vectors beside each")]


class SteeredModel(SteeredLayers):
    """A model that is steered: where, with what, how much."""

    multipliers: Annotated[list[Multiplier], Field(min_length=1, description="none of them 0")]
    n_prompts: Annotated[int, Field(ge=2, description="prompts of a contrast, from the first")]
    n_random: Annotated[
        int, Field(ge=2, description="random vectors of equal length at each size of multiplier")
    ]
    dose: Annotated[
        float,
        Field(gt=0, le=10, description="length of vector over activation where layers compare"),
    ]
    writing: Annotated[Written, Field(description="continuations, for fewer of all")]

    @model_validator(mode="after")
    def _within(self) -> "SteeredModel":
        for name, values in (
            ("contrasts", self.contrasts), ("layers", self.layers),
            ("multipliers", self.multipliers), ("writing.multipliers", self.writing.multipliers),
        ):  # fmt: skip
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one twice: {values}")
        if 0 in self.multipliers:
            raise ValueError("multipliers holds 0, which is measured anyway")
        beyond = sorted(set(self.writing.multipliers) - set(self.multipliers))
        if beyond:
            raise ValueError(f"writing.multipliers holds {beyond[0]:g}, which multipliers does not")
        for name, most in (("n_prompts", self.n_prompts), ("n_random", self.n_random)):
            if getattr(self.writing, name) > most:
                raise ValueError(f"writing.{name} is more than {name}, {most}")
        return self


class Steering(Section):
    """What all studies of steering share."""

    method: Annotated[
        Literal["mean", "pca"],
        Field(description="of a vector: difference of means, or first principal component"),
    ]
    where: Annotated[
        Literal["last", "after_prompt", "all"],
        Field(description="added at the prompt's last position, from there on, or everywhere"),
    ]
    batch_rows: Annotated[int, Field(ge=1, description="prompts steered at once, at most")]
    n_bootstrap: Annotated[
        int, Field(ge=100, description="resamples of prompts or documents, for intervals")
    ]
    seed: Annotated[int, Field(ge=0, description="of random vectors, samples and the bootstrap")]


class SteeredSaes(SteeredLayers, SteeredText):
    """What a vector changes after the layer where it is added is read by SAEs."""

    multiplier: Annotated[float, Field(gt=0, le=100, description="of every vector")]
    saes: Annotated[
        str,
        Field(
            pattern=r"^(saes|sae_grids)/[a-z0-9_]+$",
            description="their folder in data: of a model, or of a grid",
        ),
    ]
    prefix: Annotated[
        str,
        Field(pattern=r"^[a-z0-9_.]*$", description="before `l<layer>` in their names: in a grid"),
    ]
    sae_seed: Annotated[int, Field(ge=0, description="of the SAEs; one at every hook")]
    centred: Annotated[
        bool, Field(description="whether the SAEs read activations without their mean")
    ] = False


class Downstream(SteeredSaes):
    """What a vector changes after the layer where it is added, as SAE features see it."""

    n_random: Annotated[int, Field(ge=1, description="random vectors of equal length")]
    n_top: Annotated[int, Field(ge=1, description="features that change most, of every SAE")]
    n_context_documents: Annotated[
        int, Field(ge=1, description="training documents that contexts are looked for in")
    ]
    n_contexts: Annotated[int, Field(ge=1, description="of a feature, one per document")]
    context: Annotated[int, Field(ge=1, description="tokens shown on either side")]


class SteeredMap(SteeredSaes):
    """Maps of positions in the features of SAEs, as they are and with a vector added."""

    seen: Annotated[
        list[str], Field(min_length=1, description="hooks of SAEs whose features are mapped")
    ]
    n_random: Annotated[int, Field(ge=2, description="random vectors of equal length")]
    n_near: Annotated[int, Field(ge=1, description="nearest positions, of which some are kept")]

    @model_validator(mode="after")
    def _near(self) -> "SteeredMap":
        n = self.n_documents * (self.n_tokens - self.n_prompt + 1)
        if self.n_near >= n:
            raise ValueError(f"n_near is {self.n_near}, expected below the number of positions {n}")
        return self


class MatchedChanges(SteeredText):
    """Whether matched features of two LMs change together when both are steered alike."""

    multiplier: Annotated[float, Field(gt=0, le=100, description="of both vectors")]
    n_random: Annotated[int, Field(ge=1, description="random vectors of B, as control")]
    n_permutations: Annotated[int, Field(ge=19, description="of partners, as null")]


class SteeredPair(Pair, SteeredSite):
    """A pair of `pairs`: vectors made in A, mapped into B, steer B."""

    layers: Annotated[
        list[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]],
        Field(min_length=1, description="of A, and of B where its vectors go"),
    ]
    multipliers: Annotated[list[Multiplier], Field(min_length=1, description="none of them 0")]
    n_prompts: Annotated[int, Field(ge=2, description="prompts of a contrast, from the first")]
    n_random: Annotated[int, Field(ge=2, description="random vectors of each null")]
    n_shuffled: Annotated[int, Field(ge=1, description="maps fitted on shuffled positions")]
    n_fit_documents: Annotated[
        int, Field(ge=2, description="training documents that the map is fitted on")
    ]
    n_documents: Annotated[
        int, Field(ge=2, description="validation documents that the map is judged on")
    ]
    ridge: Annotated[
        float, Field(ge=0, description="of the map, in units of the mean variance of A's columns")
    ]
    together: Annotated[
        MatchedChanges | None, Field(description="whether matched features change together")
    ] = None

    @model_validator(mode="after")
    def _no_zero(self) -> "SteeredPair":
        if 0 in self.multipliers:
            raise ValueError("multipliers holds 0, which is measured anyway")
        if len({layer for layer, _ in self.layers}) < len(self.layers):
            raise ValueError("layers names a layer of A twice")
        return self

    @property
    def pair(self) -> Pair:
        """The pair as `pairs` has it."""
        return Pair(a=self.a, b=self.b, a_seed=self.a_seed, b_seed=self.b_seed)

    def hooks(self, side: int) -> dict[int, str]:
        """Return layer -> hook, of A (0) or of B (1)."""
        return {layer: self.hook(layer) for layer in sorted({pair[side] for pair in self.layers})}
