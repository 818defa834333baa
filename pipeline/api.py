"""The API reference from the docstrings, offline: `python pipeline/api.py [FOLDER]`."""

import json
import logging
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import pdoc
import pdoc.render

from universality.core.io import atomic_directory

TEMPLATES = Path(__file__).parent / "api_templates"
"""What is different from pdoc's own templates: the colours at night."""


def api_reference(out: Path) -> None:
    """Write the pages of every public module of the package to the directory `out`.

    They need no network and no server. Whatever else pdoc has to say is a warning.
    """
    # Looks for the fonts of the machine when it is first imported, which pdoc would forbid.
    import matplotlib.font_manager  # noqa: F401

    pdoc.render.configure(
        docformat="google", show_source=False, math=False, mermaid=False, search=True,
        template_directory=TEMPLATES,
    )  # fmt: skip
    renderer: Any = pdoc.render
    prepared = renderer.precompile_index
    try:
        # The browser makes the index in a moment; with Node here it would be six times as large,
        # and another one than without.
        renderer.precompile_index = _plain_index
        with atomic_directory(out) as folder, warnings.catch_warnings():
            # `tqdm[Any]` is right for a type checker, which reads tqdm's stubs, and only there.
            warnings.filterwarnings("ignore", r"Error parsing type annotation tqdm\[Any\]")
            pdoc.pdoc("universality", output_directory=folder)
            for page in folder.rglob("*"):
                if page.is_file():
                    _tidy(page)
    finally:
        renderer.precompile_index = prepared


def _tidy(page: Path) -> None:
    """Drop where in memory functions were, or two runs would differ, and links into pydantic."""
    text = re.sub(r" at 0x[0-9a-f]+", "", page.read_text(encoding="utf-8"))
    text = re.sub(r'<a href=\\?"\.\./concepts/[^"]*">(.*?)</a>', r"\1", text)
    page.write_text(text, encoding="utf-8")


def _plain_index(documents: list[dict[str, Any]], _: Path) -> str:
    return json.dumps(documents, separators=(",", ":"))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    target = Path(*sys.argv[1:2] or ["api"])
    api_reference(target)
    logging.info("%s/index.html", target)
