"""Tables of the study of saes."""

from universality.paper.numbers import AllMetrics
from universality.paper.table import Table


def tables(metrics: AllMetrics) -> list[Table]:
    """Return the tables of this study; `metrics` says which entries there are."""
    return []
