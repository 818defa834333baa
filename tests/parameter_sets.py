"""The parameter sets of profiles/ as a run reads them: laid over params.yaml."""

import functools
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "pipeline"))

import overlays  # noqa: E402  # pyright: ignore[reportMissingImports]

_FOLDER = tempfile.TemporaryDirectory(prefix="universality-")  # goes when the process ends


@functools.cache
def text(profile: str) -> str:
    """Return all parameters of a profile."""
    return overlays.parameters(ROOT / "profiles" / f"{profile}.yaml")


@functools.cache
def file(profile: str) -> Path:
    """Return a file with them, for reading only."""
    path = Path(_FOLDER.name) / f"{profile}.yaml"
    path.write_text(text(profile), encoding="utf-8")
    return path
