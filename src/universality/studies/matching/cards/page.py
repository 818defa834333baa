"""Cards of matched features as one HTML page that needs no network and no script."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from universality.studies.matching.cards.asymmetry import LABELS
from universality.studies.matching.cards.cards import GROUPS, Card
from universality.studies.matching.params.cards import Cards
from universality.studies.matching.params.matching import Pair
from universality.studies.saes.pages.dashboard_page import source, spaced, templates


@dataclass(frozen=True)
class About:
    """What the head of the page says."""

    title: str
    summary: str
    notes: list[str]
    n_positions: int


def about(
    pair: Pair, corpus: str, n_positions: int, n_documents: int, shares: tuple[float, float],
    n_passed: int, params: Cards,
) -> About:  # fmt: skip
    """Return the head of the page; `shares` of A's and B's positions are shared."""
    a, b = pair.a, pair.b
    if a == b:
        a, b = f"{a}, SAE seed {pair.a_seed}", f"{b}, SAE seed {pair.b_seed}"
    return About(
        title=f"Matched features: {a} (A) and {b} (B)",
        summary=(
            f"Each feature of A with its best match in B, read side by side on {n_positions} "
            f"positions of {n_documents} documents of {corpus} that both models share "
            f"({percent(shares[0])} of A's, {percent(shares[1])} of B's)."
        ),
        notes=_notes(n_passed, params),
        n_positions=n_positions,
    )


def _notes(n_passed: int, params: Cards) -> list[str]:
    return [
        "Names are model / layer / feature. A's feature looks for the feature of highest Pearson "
        "correlation r in the layer of B that fits its layer best.",
        f"Pairs: up to {params.n_top} of highest r, the layers of A taking turns, and "
        f"{params.n_random} drawn at random from all. The very best would all be features of the "
        "first word of a text, constant where they fire; so pairs are passed over if more than "
        f"{percent(params.max_position_share)} of A's firing is at one place of the documents, or "
        f"if a card has A's top token already: {n_passed} were. The random ones have no such rule.",
        "Each context is one piece of text, read by both. The framed token is the position where "
        "both models have read the same text; the number is the feature's activation there. "
        "Shading is activation over the feature's highest; a dashed frame means that the feature "
        "does not fire. One context per document.",
        "Top contexts are the highest activations over all shared positions, and flatter. The "
        "contexts where only one of the two fires are drawn at random: they show how the two "
        "differ.",
        "Asymmetry: P(B|A) is the share of the positions where A fires on which B fires too. A is "
        f"contained in B if that is at least {params.contained:g} and its interval above its null; "
        "the two are apart if neither is contained in the other. B is more general if A is "
        f"contained in it and it fires over {params.wider:g} times as often, by the interval; A "
        "accordingly; alike if the interval shows that neither does; undecided if it shows "
        f"neither, or if one fires in fewer than {params.min_documents} documents.",
        "Intervals are 95%, over resampled documents, with partners held fixed; those of shares of "
        "labels resample partners in B, each with all of its pairs.",
        "Nulls: of r, the best match when B's positions are shifted; of P(B|A), B's density, as if "
        "the two fired independently; of shares of labels, partners dealt anew among the pairs.",
        "BOS is left out. ␣ is a space and ↵ a line end.",
    ]


def render(head: About, cards: Sequence[Card], summary: pd.DataFrame) -> str:
    """Return the page; `summary` is that of `asymmetry.summary_table`."""
    pages = templates("universality.studies.matching.cards")
    pages.filters |= {
        "percent": percent,
        "name_of": lambda card: spaced(card.pair["top_token"]),
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
    }
    return pages.get_template("cards.html").render(
        about=head,
        cards=cards,
        summary=summary.to_dict(orient="records"),
        groups=GROUPS,
        labels=LABELS,
        items="pairs",
        # The look of the dashboards, and what is different here.
        css=source(pages, "dashboard.css") + source(pages, "cards.css"),
        js="",
    )


def percent(share: float) -> str:
    """Return a share in percent, without decimals."""
    return f"{100 * share:.0f}%"
