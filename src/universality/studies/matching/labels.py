"""What figures, tables and pages call ways to pair features, and filters, in their order."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """A name, and what it stands for in a sentence."""

    name: str
    what: str = ""


PAIRINGS = {
    "a_to_b": Label(
        "nearest in B, may be shared",
        "each feature of A with the feature of B of highest r, which several may share",
    ),
    "b_to_a": Label(
        "nearest in A, may be shared",
        "each feature of B with the feature of A of highest r, which several may share",
    ),
    "one_per_b": Label(
        "nearest in B, one for each of B",
        "of the features of A that share a nearest one in B, only the one of highest r",
    ),
    "mutual": Label("mutual nearest", "features that are each other's nearest"),
    "hungarian": Label(
        "one to one (Hungarian)",
        "all features of the smaller side one to one, so that the sum of r is highest, "
        "however low single ones are",
    ),
    "transport": Label(
        "optimal transport (entropic)",
        "each feature of A with where most of its mass goes in entropic optimal transport",
    ),
}
FILTERS = {
    "bos_kept": Label("BOS kept among the positions"),
    "rare_kept": Label("rare features kept"),
    "all": Label("all alive features, nearest"),
    "concept_tokens": Label("no punctuation in top tokens"),
    "shared_token": Label("and a shared top token"),
    "one_per_b": Label("and one for each of B"),
    "min_r": Label("and r above the least"),
}
"""What is left after each, in order; the first two undo what is done before all others."""
BY_WEIGHTS = {
    "a_to_b": Label("nearest by decoder, A to B"),
    "b_to_a": Label("nearest by decoder, B to A"),
    "mutual": Label("mutual nearest by decoder"),
    "hungarian_decoder": Label("Hungarian on decoders"),
    "hungarian_encoder": Label("Hungarian on encoders"),
    "hungarian_mean": Label("Hungarian on the mean of both"),
    "hungarian_both": Label("same partner on decoders and encoders"),
}
"""Ways to pair two SAEs of one model by their weights."""
