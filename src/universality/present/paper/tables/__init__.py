"""The paper's tables, study by study."""

from universality.core.numbers import AllMetrics
from universality.present.paper.table import Table
from universality.present.paper.tables import hierarchy, matching, saes, similarity, steering


def all_tables(metrics: AllMetrics) -> list[Table]:
    """Return every table of the paper but the one of published claims."""
    studies = (saes, matching, similarity, steering, hierarchy)
    return [table for study in studies for table in study.tables(metrics)]
