"""The feature map as one HTML page that needs no network: data, style and script go into it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from universality.core.errors import InputError
from universality.studies.matching.params.matching import Pair
from universality.studies.saes.pages.dashboard_page import source, templates
from universality.studies.spaces.linked_maps.packed import script_json
from universality.studies.spaces.linked_maps.words import LEAST_SHARE
from universality.studies.spaces.params.linked_maps import LinkedMaps

SCRIPTS = ("data.js", "picture.js", "panel.js", "details.js", "page.js")
"""Parts of the page's one script, in their order."""


@dataclass(frozen=True)
class About:
    """What the head of the page says."""

    title: str
    summary: str
    notes: list[str]


def about(
    pair: Pair,
    corpus: str,
    origin: Mapping[str, Any],
    n_positions: int,
    n_documents: int,
    settings: LinkedMaps,
) -> About:
    """Return the head; `origin` is that of the manifest of the text `corpus`."""
    a, b = pair.a, pair.b
    if a == b:
        a, b = f"{a}, SAE seed {pair.a_seed}", f"{b}, SAE seed {pair.b_seed}"
    sampled = origin.get("sampled_from")
    text = f"{corpus} (sampled from {sampled}, not written by people)" if sampled else corpus
    return About(
        title=f"Feature map: {a} (A) and {b} (B)",
        summary=(
            f"SAE features of two models, each a point; partners were found on {n_positions:,} "
            f"positions of {n_documents:,} documents of the text {text} that both models share. "
            "Distances on these maps are no evidence of anything: see how to read this page."
        ),
        notes=[*_notes(settings), _origin(corpus, origin)],
    )


def _notes(settings: LinkedMaps) -> list[str]:
    return [
        "Each panel is a UMAP of the decoder rows of one SAE by cosine "
        f"(n_neighbors {settings.n_neighbors}, min_dist {settings.min_dist:g}, seed "
        f"{settings.seed}). UMAP keeps some neighbours, distorts distances, and shows clusters in "
        "noise. Where a panel has its points, and how it is turned, means nothing, and the two "
        "panels do not share their axes: evidence is the correlation, beside its null.",
        "Partners: Pearson correlation r of the activations of a feature of A and one of B over "
        "the shared positions. The pairing says who is whose partner; the line above the maps says "
        "how many pairs there are, their median r with a 95% interval over documents (partners "
        "held fixed), and the null: the same pairing made anew when B's positions are shifted "
        "against A's, the mean over random shifts of the median r. Other pairings than "
        "the nearest in B were judged for each layer of A with its best layer of B only.",
        "A filled point has a partner; the stronger its colour the higher r. A hollow one has none "
        "in this pairing, or fires too rarely to be matched. Features that never fire on the text "
        f"are not shown. Of an SAE with more than {settings.max_features:,} features that fire, as "
        "many are drawn; the panel says so.",
        f"Tokens: the {settings.n_tokens} on which a feature fires most often, with their share of "
        f"its firing, if that is at least {100 * LEAST_SHARE:g}%; words that differ in case or "
        "leading space count as one. The search looks through these tokens.",
        f"Contexts: the {settings.n_top} of highest activation, one per document, which flatter "
        f"a feature, and {settings.n_random} drawn at random of the other places where it fires. "
        "Shading is activation over the feature's highest; the framed token is the one that the "
        "number is about.",
        "Mouse: point at a feature; click to select it; drag to select with box or lasso, with "
        "Shift to add. Ctrl and the wheel, or the buttons, zoom. Keyboard: Tab to a map; arrows "
        "move to the next feature that way, Home to the one of highest r, Page Down and Page Up "
        "down and up by r; Space selects it or not, N selects it with its ten nearest on the map, "
        "P goes to its partner, Escape selects nothing, + and − zoom, 0 shows all.",
        "BOS is left out. ␣ is a space and ↵ a line end.",
    ]


def _origin(corpus: str, origin: Mapping[str, Any]) -> str:
    return f"Text: {corpus}; {', '.join(f'{key} {origin[key]}' for key in sorted(origin))}."


def render(head: About, data: Mapping[str, Any], max_mb: float) -> str:
    """Return the page; InputError if it is larger than `max_mb`, in millions of bytes."""
    pages = templates("universality.studies.spaces.linked_maps")
    page = pages.get_template("feature_map.html").render(
        about=head,
        items="maps",
        data=script_json(data),
        css=source(pages, "dashboard.css") + source(pages, "feature_map.css"),
        js="".join(source(pages, name) for name in SCRIPTS),
    )
    size = len(page.encode()) / 1e6
    if size > max_mb:
        raise InputError(
            f"the page would have {size:.1f} MB, more than linked_maps.max_mb, {max_mb:g}; "
            "lower max_features, or take the best layers only"
        )
    return page
