"""What is committed: tables of the last run, read from remote/ as dvc.lock has them."""

import functools
import json
import shutil
from pathlib import Path

from universality.present import provenance

ROOT = Path(__file__).parents[1]
STORE = ROOT / "remote" / "files" / "md5"


@functools.cache
def read_lock() -> provenance.Lock:
    """Return the committed dvc.lock; it takes a second to read."""
    return provenance.read_lock(ROOT)


@functools.cache
def hashes() -> dict[str, str]:
    """Return output -> hash."""
    return {out["path"]: out["md5"] for entry in read_lock().values() for out in entry["outs"]}


def copy(folder: str, root: Path) -> None:
    """Copy the committed outputs in `folder`, such as data/tables/summaries, to `root`."""
    found = [path for path in hashes() if path == folder or path.startswith(f"{folder}/")]
    assert found, f"dvc.lock: no output {folder}; `make repro`"
    for path in found:
        for name, file in _files(hashes()[path]).items():
            to = root / path / name if name else root / path
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, to)


def _files(md5: str) -> dict[str, Path]:
    """Return the file of an output under an empty name, or those of a folder under theirs."""
    if not md5.endswith(".dir"):
        return {"": _stored(md5)}
    listing = json.loads(_stored(md5).read_text())
    return {item["relpath"]: _stored(item["md5"]) for item in listing}


def _stored(md5: str) -> Path:
    path = STORE / md5[:2] / md5[2:]
    assert path.is_file(), f"remote/ lacks {md5}; `make push` and commit"
    return path
