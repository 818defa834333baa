"""Write the report of this clone's run into report/: `python pipeline/report.py`.

Findings, figures, tables, pages, parameters and provenance come from what is there: `make repro` or
`make pull` first. Pages of features are left out where they are not, after `make pull` alone. The
same files give the same bytes.
"""

import sys
from pathlib import Path

from universality.core.errors import InputError
from universality.core.io import atomic_directory
from universality.present.report.site import build

REPORT = Path("report")


def write() -> None:
    """Build the site in place of the one that may be there."""
    with atomic_directory(REPORT) as folder:
        build(Path(), folder)


def main() -> int:
    """Build the site and say where it is; returns the exit status."""
    write()
    sys.stdout.write(f"{REPORT / 'index.html'}\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"universality: {error}")
