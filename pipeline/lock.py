"""Does dvc.lock still say what the code, the parameters and dvc.yaml say? Needs no data.

For each resolved stage: command, parameters, the hash of every dependency and output that git
tracks, and, for a dependency that another stage makes, the hash that its maker recorded. Every
output of the remote `tables` must lie in the committed folder remote/.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from universality.core.errors import InputError
from universality.present.provenance import read_lock

if TYPE_CHECKING:
    from dag import Stage

IGNORED = ".snakemake_timestamp"
STORES = ("remote/files/md5", ".dvc/cache/files/md5")
"""Where DVC keeps files under their hash; the first is committed and holds the tables."""


def require_readable(path: Path = Path("dvc.lock")) -> None:
    """Raise `InputError` if `path` is cut off, has marks of a merge conflict, or is no dvc.lock."""
    from dvc.exceptions import DvcException
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils import strictyaml

    try:
        strictyaml.load(str(path), COMPILED_LOCKFILE_SCHEMA)
    except FileNotFoundError:
        return
    except DvcException as error:
        mark = getattr(error.__cause__, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        hint = getattr(error, "hint", "")
        raise InputError(
            f"{path.name} is damaged{where}{hint}: `git checkout {path.name}` brings back the "
            "committed one; or delete it, and `make repro` writes a new one"
        ) from error


def problems(root: Path, stages: "list[Stage]") -> list[str]:
    """Say, one line each, where `root`/dvc.lock differs from what it was made from."""
    if not (root / "dvc.lock").exists():
        return ["dvc.lock: missing; run `make repro` and commit it"]
    entries = read_lock(root)
    made = {
        out["path"]: out["md5"]
        for stage in stages
        for out in entries.get(stage.name, {}).get("outs", [])
    }
    gone = [name for name in entries if name not in {stage.name for stage in stages}]
    return [f"dvc.lock: {name} is no stage any more; `make repro` drops it" for name in gone] + [
        f"dvc.lock: {stage.name}: {problem}"
        for stage in stages
        for problem in _differences(root, stage, entries.get(stage.name), made)
    ]


def _differences(
    root: Path, stage: "Stage", entry: dict[str, Any] | None, made: dict[str, str]
) -> Iterator[str]:
    if entry is None:
        yield "was never run"
        return
    if entry["cmd"] != stage.cmd:
        yield f"cmd was {entry['cmd']!r}, is {stage.cmd!r}"
    yield from _changed_params(entry.get("params", {}), stage.params)
    deps = {dep["path"]: dep["md5"] for dep in entry.get("deps", [])}
    outs = {out["path"]: out["md5"] for out in entry.get("outs", [])}
    yield from _other_paths("deps", set(deps), set(stage.deps))
    yield from _other_paths("outs", set(outs), {out.path for out in stage.outputs})
    for path, found in deps.items():
        expected = _made_hash(root, path, made) or tracked_hash(root / path)
        if expected is None:
            yield f"{path} is neither in git nor made by a stage"
        elif found != expected:
            yield f"{path} was {found[:8]}, is {expected[:8]}"
    for out in stage.outputs:
        md5 = outs.get(out.path, "")
        # Of the outputs, git has those that DVC does not cache.
        # What runs every time is compared with the code itself: see `dag.undeclared`.
        tracked = not out.in_cache and not stage.always
        if md5 and tracked and tracked_hash(root / out.path) != md5:
            yield f"{out.path} is not the one that was made"
        if md5 and out.remote == "tables" and not _stored(root, STORES[0], md5).is_file():
            yield f"{out.path} is not in remote/; run `make push` and commit"


def _changed_params(was: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for file in sorted(set(was) | set(now)):
        before, after = was.get(file, {}), now.get(file, {})
        for key in sorted(set(before) | set(after)):
            if key not in before or key not in after or before[key] != after[key]:
                yield f"{file}: {key} was {before.get(key)!r}, is {after.get(key)!r}"


def _other_paths(kind: str, was: set[str], now: set[str]) -> Iterator[str]:
    if was != now:
        paths = ", ".join(sorted(was ^ now))
        yield f"{kind} differ from dvc.yaml: {paths}"


def _made_hash(root: Path, path: str, made: dict[str, str]) -> str | None:
    """Return the hash of a stage's output, or of a directory of several stages' outputs.

    A directory among these is known only if its listing lies in a store; otherwise None.
    """
    if path in made:
        return made[path]
    files = {}
    for name, md5 in made.items():
        if not name.startswith(f"{path}/"):
            continue
        inner = name[len(path) + 1 :]
        if not md5.endswith(".dir"):
            files[inner] = md5
            continue
        listings = [_stored(root, store, md5) for store in STORES]
        listing = next((listing for listing in listings if listing.is_file()), None)
        if listing is None:
            return None
        for item in json.loads(listing.read_text(encoding="utf-8")):
            files[f"{inner}/{item['relpath']}"] = item["md5"]
    return _directory_hash(files)


def _stored(root: Path, store: str, md5: str) -> Path:
    return root / store / md5[:2] / md5[2:]


def tracked_hash(path: Path) -> str | None:
    """Return the hash that DVC gives a file or directory, or None if there is none."""
    if path.is_file():
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    files = [file for file in path.rglob("*") if file.is_file() and file.name != IGNORED]
    return _directory_hash(
        {
            file.relative_to(path).as_posix(): hashlib.md5(
                file.read_bytes(), usedforsecurity=False
            ).hexdigest()
            for file in files
        }
    )


def _directory_hash(files: dict[str, str]) -> str | None:
    """Hash relative path -> md5 as DVC does; None if there are no files."""
    if not files:
        return None
    entries = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    listing = json.dumps(entries, sort_keys=True)
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"
