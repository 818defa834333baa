"""What goes into the page as data: arrays in base64, shared strings, JSON that HTML cannot end."""

import base64
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from universality.studies.saes.pages.dashboard_page import visible

UNIT = 65535
"""Steps of a coordinate."""
R_UNIT = 32767
"""Steps of a correlation."""
_KINDS = ("u1", "u2", "u4", "i2", "f4")
Packed = list[str]


def pack(array: np.ndarray, kind: str | None = None) -> Packed:
    """Return the kind of an array and its bytes, little-endian, row by row, in base64.

    Kinds are numpy's of one to four bytes; without one, the shortest unsigned that fits.
    """
    array = np.asarray(array)
    if kind is None:
        highest = int(array.max(initial=0))
        if array.min(initial=0) < 0 or highest >= 2**32:
            raise ValueError(f"values from {array.min()} to {highest} do not fit 4 bytes")
        kind = next(kind for kind, top in (("u1", 8), ("u2", 16), ("u4", 32)) if highest < 2**top)
    if kind not in _KINDS:
        raise ValueError(f"kind {kind!r}; there are: {', '.join(_KINDS)}")
    raw = np.ascontiguousarray(array, dtype=f"<{kind}").tobytes()
    return [kind, base64.b64encode(raw).decode("ascii")]


def unpack(packed: Packed) -> np.ndarray:
    """Return the flat array of `pack`."""
    return np.frombuffer(base64.b64decode(packed[1]), dtype=f"<{packed[0]}")


def shared(texts: Iterable[str], longest: int) -> tuple[list[str], np.ndarray]:
    """Return the different texts, as the page shows them, and the number of each, `(n,)`.

    Longer ones than `longest` are cut.
    """
    texts = list(texts)
    cut = {
        text: visible(text if len(text) <= longest else f"{text[: longest - 1]}…") for text in texts
    }
    names = sorted(set(cut.values()))
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number[cut[text]] for text in texts], dtype=np.int64)


def script_json(value: Any) -> str:
    """Return JSON, ASCII alone, for a script element: nothing in it can end or begin a tag."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
