"""Do the files of the cache, and the outputs made of them, still have the hashes of dvc.lock?

`make repro` looks again at files whose time or size changed. This reads every one, so that it also
finds what a disk altered by itself.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path


def repair(root: Path, cache: Path, outputs: dict[str, str]) -> Iterator[str]:
    """Remove every damaged file, and say so: `make repro` or `make pull` then makes it again.

    `outputs` are paths with their hashes in dvc.lock, `cache` the folder of files by their hash. An
    output that is another than in dvc.lock is only touched, for DVC to look at it again.
    """
    for path, md5 in outputs.items():
        damaged = _is_damaged(cache, md5)
        if damaged:
            yield f"{path}: damaged in the cache"
        elif md5.endswith(".dir") and _stored(cache, md5).exists():
            for item in json.loads(_stored(cache, md5).read_text(encoding="utf-8")):
                inner = f"{path}/{item['relpath']}"
                if _is_damaged(cache, item["md5"]):
                    yield f"{inner}: damaged in the cache"
                yield from _look_again(root, inner, item["md5"])
        if not md5.endswith(".dir"):
            yield from _look_again(root, path, md5)


def _is_damaged(cache: Path, md5: str) -> bool:
    """Remove the file of hash `md5` if it has another; say whether it had."""
    path = _stored(cache, md5)
    if not path.is_file() or _md5(path) == md5.removesuffix(".dir"):
        return False
    path.unlink()
    return True


def _look_again(root: Path, path: str, md5: str) -> Iterator[str]:
    file = root / path
    if file.is_file() and _md5(file) != md5:
        os.utime(file)
        yield f"{path}: not the one of dvc.lock"


def _stored(cache: Path, md5: str) -> Path:
    return cache / md5[:2] / md5[2:]


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
