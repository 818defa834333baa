"""The paper's tables, study by study."""

from universality.paper.numbers import AllMetrics
from universality.paper.table import Table
from universality.paper.tables import hierarchy, matching, saes, similarity, steering


def all_tables(metrics: AllMetrics) -> list[Table]:
    """Return every table of the paper but the one of published claims."""
    studies = (saes, matching, similarity, steering, hierarchy)
    return [table for study in studies for table in study.tables(metrics)]
