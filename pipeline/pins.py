"""What is made once and pinned: taken from the committed remote/ instead of being made again.

A stage with `meta: {pinned: KIND}` in dvc.yaml depends on its parameters and inputs alone, not on
code: a change of the code that samples text would otherwise make all text again, and with it
everything. Its outputs lie in remote/, where `make push` puts them.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pull
from job import QUICK
from universality.core.errors import InputError
from universality.present.provenance import read_lock

Pinned = Mapping[str, Sequence[str]]
"""Kind -> stages."""


def take(pinned: Pinned, by_time: bool) -> int:
    """Get what dvc.lock names and is not here; returns the exit status.

    Snakemake decides `by_time` and would make again what came before its inputs. So for it, what
    the pinned is made from is made here, by DVC, which compares hashes.
    """
    missing = _missing(pinned)
    if not missing:
        return 0
    if _dvc("pull", "--quiet", *missing) != 0:
        sys.stderr.write(f"not in any remote, so it is made here: {', '.join(missing)}\n")
        return 0
    if not by_time:
        return 0
    status = _dvc("repro", "--quiet", *missing)
    pull.date_alike(path for paths in missing.values() for path in paths)
    return status


def make_again(pinned: Pinned, kind: str) -> int:
    """Make what is pinned of `kind` again, whatever is here; returns the exit status."""
    if kind not in pinned:
        raise InputError(f"FROM is {kind!r}; there are: {', '.join(sorted(pinned))}")
    names = pinned[kind]
    return _dvc("repro", *names) or _dvc("repro", "--force", "--single-item", *names)


def _missing(pinned: Pinned) -> dict[str, list[Path]]:
    """Return the stages that dvc.lock has and whose outputs are not all here, and these outputs."""
    lock = read_lock(Path()) if Path("dvc.lock").is_file() else {}
    names = (name for names in pinned.values() for name in names if name in lock)
    made = {name: [Path(out["path"]) for out in lock[name]["outs"]] for name in names}
    return {name: paths for name, paths in made.items() if not all(p.exists() for p in paths)}


def _dvc(*arguments: str) -> int:
    return subprocess.run([*QUICK, *arguments], check=False).returncode
