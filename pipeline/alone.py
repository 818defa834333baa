"""One run at a time in a folder, and what killed runs left there.

The locks are the kernel's: they end with the processes that hold them, however those end.
"""

import contextlib
import fcntl
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from universality.core.errors import InputError

RUN = Path(".dvc", "tmp", "run.lock")
"""Held by the one run that is at work in a folder."""
STAGES = Path(".dvc", "tmp", "stages.lock")
"""Shared by the processes of Snakemake's jobs, which go on when it is killed."""
HOUR = 3600


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[int]:
    """Hold `folder` for one run and clean it; yields the file descriptor of the lock.

    A process that inherits it holds the lock too. Another run at work there is an `InputError`;
    stages that outlived theirs are waited for.
    """
    with _opened(folder / RUN) as run, _opened(folder / STAGES) as stages:
        if not _locked(run, fcntl.LOCK_EX | fcntl.LOCK_NB):
            raise InputError(f"another run is at work in {folder}; wait for its end, or end it")
        if not _locked(stages, fcntl.LOCK_EX | fcntl.LOCK_NB):
            sys.stderr.write("waiting for stages that a killed run left at work\n")
            _locked(stages, fcntl.LOCK_EX)
        fcntl.flock(stages, fcntl.LOCK_UN)
        clean(folder)
        yield run.fileno()


@contextlib.contextmanager
def among_stages(folder: Path) -> Iterator[None]:
    """Let the next run wait for this process."""
    with _opened(folder / STAGES) as stages:
        _locked(stages, fcntl.LOCK_SH)
        yield


def clean(folder: Path) -> None:
    """Remove what killed runs left in `folder`; nothing else may be at work there."""
    shutil.rmtree(folder / ".snakemake" / "locks", ignore_errors=True)
    readers = folder / ".dvc" / "tmp" / "rwlock"  # DVC writes it in place, so it may be half there
    if readers.exists() and not _is_json(readers):
        readers.unlink()
    for part in ("data", "figures", "metrics"):
        for path in list((folder / part).rglob(".*.tmp")):
            _remove(path)
    # Others may share the cache: what nobody has written to for so long is nobody's any more.
    for path in (folder / ".dvc" / "cache").glob("files/md5/*/.*.tmp"):
        if time.time() - path.stat().st_mtime > HOUR:
            _remove(path)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        yield file


def _locked(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    return True


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
