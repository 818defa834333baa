"""Resumable downloads over HTTP."""

from pathlib import Path

import requests

from universality.core.progress import progress

CONNECT_SECONDS, READ_SECONDS = 5, 60
_CHUNK_BYTES = 1 << 14  # small, since a cut connection loses the chunk that it is in


class Unavailable(Exception):
    """A place cannot deliver; the message is the short reason."""


def download(url: str, part: Path) -> None:
    """Bring `part` to the whole of `url`, going on from what is already there.

    A cut connection is taken up again for as long as each attempt brings something; then
    `Unavailable` is raised and `part` stays for the next run.
    """
    while True:
        size_before = _size(part)
        try:
            if _attempt(url, part, size_before):
                return
        except requests.RequestException as error:
            if _size(part) <= size_before:
                raise Unavailable(_reason(error)) from error


def _attempt(url: str, part: Path, offset: int) -> bool:
    """Ask for `url` from byte `offset` on; return whether `part` may be complete now."""
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        if offset and response.status_code == requests.codes.requested_range_not_satisfiable:
            # Nothing lies after `offset`: the part is the whole file, or longer than it.
            if response.headers.get("Content-Range") == f"bytes */{offset}":
                return True
            part.unlink()
            return False
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        _append(response, part, offset if resumed else 0)
    return True


def _append(response: requests.Response, part: Path, offset: int) -> None:
    length = response.headers.get("Content-Length")
    total = offset + int(length) if length else None
    with (
        part.open("ab" if offset else "wb") as file,
        progress(total=total, initial=offset, unit="B", unit_scale=True, desc=part.name) as bar,
    ):
        for chunk in response.iter_content(_CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "timed out"
    return f"connection failed ({type(error).__name__})"
