"""Pinned external artifacts: where they come from, how they are verified and converted."""
