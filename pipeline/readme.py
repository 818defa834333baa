"""Write the findings of the last run into README.md: `python pipeline/readme.py`.

The stage `paper` has filled in their numbers, in paper/tables/findings.json. Which ones the README
shows, and in which order, is in paper/readme_findings.txt.
"""

import sys
from pathlib import Path

from universality.core.errors import InputError
from universality.core.io import read_json, require, write_text
from universality.present.paper.findings import markdown_list

START, END = "<!-- findings -->\n", "<!-- /findings -->"
README = Path("README.md")
FINDINGS = Path("paper", "tables", "findings.json")
SHOWN = Path("paper", "readme_findings.txt")


def block(root: Path) -> str:
    """Return the list of findings that the README of `root` has to show."""
    lines = require(root / SHOWN).read_text(encoding="utf-8").splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return markdown_list(read_json(root / FINDINGS), names)


def with_block(text: str, findings: str) -> str:
    """Return the README `text` with the list between its marks replaced by `findings`."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise InputError(f"{README}: has no lines {START.strip()!r} and {END!r}")
    return before + start + findings + end + after


def main(root: Path = Path()) -> int:
    """Rewrite the list; returns the exit status."""
    text = (root / README).read_text(encoding="utf-8")
    write_text(root / README, with_block(text, block(root)))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"universality: {error}")
