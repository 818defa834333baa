"""Captions of the figures, in the paper and in the report."""

import re
from pathlib import Path

from universality.core import names
from universality.core.errors import InputError
from universality.core.params.base import read_yaml


def captions(folder: Path) -> dict[str, str]:
    """Return the captions of `paper/captions`: pattern of a figure's name -> text."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.yaml")):
        found |= read_yaml(path)
    return found


def caption_of(name: str, patterns: dict[str, str]) -> str:
    """Return the caption of a figure `study/name`; slots such as `{model}` get plain names.

    Raises `InputError` if there is none.
    """
    for pattern, text in patterns.items():
        slots = re.findall(r"\{\w+\}", pattern)
        expression = re.sub(r"\\\{\w+\\\}", "([a-z0-9_]+?)", re.escape(pattern))
        found = re.fullmatch(expression, name)
        if found:
            for slot, value in zip(slots, found.groups(), strict=True):
                text = text.replace(slot, names.pair(names.model(value)))
            return text
    raise InputError(f"paper/captions: no caption for {name}")
