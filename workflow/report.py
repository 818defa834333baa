"""Write the report of this clone's run into report/: `python workflow/report.py`.

Figures, tables, pages, parameters and provenance come from what is there, and the API reference
from the code. The same files give the same bytes.
"""

import sys
from pathlib import Path

import api
from universality.errors import InputError
from universality.io import atomic_directory
from universality.report.site import build

REPORT = Path("report")


def main() -> int:
    """Build the site; returns the exit status."""
    with atomic_directory(REPORT) as folder:
        build(Path(), folder)
        api.api_reference(folder / "api")
    sys.stdout.write(f"{REPORT / 'index.html'}\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"universality: {error}")
