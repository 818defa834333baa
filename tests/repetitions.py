"""Repetitions that take long and that only a release runs: see "Tests" in docs/adding.md."""

import os

RELEASE = os.environ.get("UNIVERSALITY_RELEASE") == "1"
"""Whether every repetition runs: `UNIVERSALITY_RELEASE=1 make test`."""


def times(now: int, in_release: int) -> int:
    """Return how often to repeat something."""
    return in_release if RELEASE else now
