"""Published claims beside ours."""
from universality.paper.numbers import AllMetrics
from universality.paper.table import Table


def claims_json(metrics: AllMetrics) -> list[dict[str, str]]:
    """Return them."""
    return []


def claims_table(metrics: AllMetrics) -> Table:
    """Return them as a table."""
    return Table("published", "x", ["a"], [])
