"""What a run has made, beside what is committed: `python pipeline/reproduction.py [REVISION]`.

`make repro` ends with it, and `make diff` calls it alone. It says in a few lines what was made here
and what is as committed, which outputs have equal hashes, which numbers of metrics/ agree, and
which findings and verdicts changed. The whole goes into reproduction.json, which git ignores.

On the same kind of processor equal hashes are expected. On another kind the last bits differ, so
numbers and verdicts count. A number agrees within its interval if it lies in the committed one.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from universality.core.errors import InputError
from universality.core.io import read_json, write_json
from universality.core.params.base import read_yaml
from universality.present import provenance

OUT = "reproduction.json"
FINDINGS, VERDICTS = "paper/tables/findings.json", "paper/tables/published.json"
ROUNDING = 1e-6
"""Relative difference below which two numbers are the same but for rounding."""
BOUNDS = ("_low", "_high")
N_NAMED = 4


def compare(root: Path, revision: str = "HEAD") -> dict[str, Any]:
    """Compare the results in `root` with those of the git `revision`."""
    text = _committed(root, revision, "dvc.lock")
    if text is None:
        raise InputError(f"{revision} has no dvc.lock to compare with")
    was = provenance.parse_lock(text, f"{revision}:dvc.lock")
    now = provenance.read_lock(root)
    record = json.loads(_committed(root, revision, provenance.RECORD) or '{"stages": {}}')
    noted = root / provenance.RECORD
    present = read_json(noted) if noted.is_file() else {"stages": {}}
    return {
        "revision": revision,
        "stages": _stages(record["stages"], present["stages"], now, _pinned(root)),
        "processors": {"committed": _processors(record), "here": _processors(present)},
        "parameters": sorted(_changed_parameters(was, now)),
        "outputs": _outputs(was, now),
        "numbers": _numbers(root, revision),
        "findings": _changes(_findings, root, revision, FINDINGS),
        "verdicts": _changes(_verdicts, root, revision, VERDICTS),
    }


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Give a comparison in at most ten lines."""
    stages = found["stages"]
    made, kept, taken = (len(stages[key]) for key in ("made", "kept", "taken"))
    yield (
        f"Beside {found['revision']}: stages run here: {made}, as committed: {kept}, of which "
        f"pinned: {taken}"
    )
    here, there = (", ".join(found["processors"][key]) for key in ("here", "committed"))
    other = f"; committed: {there}, so last bits may differ" if here != there else ""
    yield f"  processor: {here}{other}"
    if found["parameters"]:
        yield f"  other parameters: {_some(found['parameters'])}"
    outputs = found["outputs"]
    n = len(outputs["equal"]) + len(outputs["other"])
    more = f"; others: {_some(outputs['other'])}" if outputs["other"] else ""
    yield f"  outputs: {len(outputs['equal'])} of {n} have the committed hash{more}"
    if outputs["only_one"]:
        yield f"  outputs of one side only: {_some(outputs['only_one'])}"
    numbers = found["numbers"]
    counts = ", ".join(
        f"{len(numbers[key])} {words}"
        for key, words in (
            ("equal", "equal within rounding"),
            ("inside", "within their interval"),
            ("outside", "outside it"),
            ("other", "different, without an interval"),
        )
        if numbers[key] or key == "equal"
    )
    named = _some([*numbers["outside"], *numbers["other"]])
    yield f"  numbers: {counts}" + (f": {named}" if named else "")
    for what in ("findings", "verdicts"):
        changed = found[what]["changed"]
        said = [f"{name} ({old} -> {new})" for name, (old, new) in changed.items()]
        yield f"  {what}: {found[what]['same']} as committed" + (
            f"; changed: {', '.join(said)}" if said else ""
        )


def _some(names: list[str]) -> str:
    more = len(names) - N_NAMED
    return ", ".join(names[:N_NAMED]) + (f" and {more} more" if more > 0 else "")


def _committed(root: Path, revision: str, path: str) -> str | None:
    """Return the text of a file at `revision`, or None if it has none."""
    command = ["git", "show", f"{revision}:./{path}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _stages(
    was: dict[str, Any], now: dict[str, Any], lock: provenance.Lock, pinned: set[str]
) -> dict[str, Any]:
    made = [name for name in lock if name in now and now[name] != was.get(name)]
    kept = [name for name in lock if name not in made]
    taken = [name for name in kept if name.partition("@")[0] in pinned]
    return {"made": made, "kept": kept, "taken": taken}


def _pinned(root: Path) -> set[str]:
    """Return the stages, without their keys, whose outputs are pinned: see pins.py."""
    found = read_yaml(root / "dvc.yaml")["stages"]
    stages = {name: stage.get("do", stage) for name, stage in found.items()}
    return {name for name, stage in stages.items() if "pinned" in stage.get("meta", {})}


def _processors(record: dict[str, Any]) -> list[str]:
    return sorted({machine["processor"] for machine in record.get("machines", {}).values()})


def _changed_parameters(was: provenance.Lock, now: provenance.Lock) -> set[str]:
    def used(lock: provenance.Lock) -> dict[str, Any]:
        entries = (entry.get("params", {}).get("params.yaml", {}) for entry in lock.values())
        return {key: value for entry in entries for key, value in entry.items()}

    before, after = used(was), used(now)
    return {key for key in before.keys() | after if before.get(key) != after.get(key)}


def _outputs(was: provenance.Lock, now: provenance.Lock) -> dict[str, list[str]]:
    before, after = (
        {out["path"]: out["md5"] for entry in lock.values() for out in entry.get("outs", [])}
        for lock in (was, now)
    )
    both = [path for path in after if path in before]
    return {
        "equal": [path for path in both if before[path] == after[path]],
        "other": [path for path in both if before[path] != after[path]],
        "only_one": sorted(before.keys() ^ after.keys()),
    }


def _numbers(root: Path, revision: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"equal": [], "inside": [], "outside": [], "other": []}
    for file in sorted((root / provenance.METRICS).glob("*.json")):
        text = _committed(root, revision, file.relative_to(root).as_posix())
        was = json.loads(text) if text else {}
        now = read_json(file)
        for owner in now:
            for name, value in now[owner].items():
                committed = was.get(owner, {})
                if name in committed and not name.endswith(BOUNDS) and name not in ("low", "high"):
                    key = agreement(name, value, committed)
                    found[key].append(f"{file.stem}:{owner}.{name}")
    return found


def agreement(name: str, value: Any, committed: dict[str, Any]) -> str:
    """Say how the number `name` agrees with the `committed` ones: equal, inside, outside, other."""
    was = committed[name]
    if value == was:
        return "equal"
    if not all(isinstance(number, int | float) for number in (value, was)):
        return "other"
    if math.isclose(value, was, rel_tol=ROUNDING, abs_tol=ROUNDING):
        return "equal"
    prefix = "" if name == "value" else f"{name}_"
    low, high = (committed.get(f"{prefix}{bound}") for bound in ("low", "high"))
    if low is None or high is None:
        return "other"
    return "inside" if low <= value <= high else "outside"


def _findings(text: str) -> dict[str, str]:
    return {
        name: "holds" if finding["holds"] else "does not hold"
        for name, finding in json.loads(text).items()
    }


def _verdicts(text: str) -> dict[str, str]:
    return {claim["id"]: claim["verdict"] for claim in json.loads(text)["claims"]}


def _changes(read: Any, root: Path, revision: str, path: str) -> dict[str, Any]:
    text = _committed(root, revision, path)
    was, now = (read(text) if text else {}), read((root / path).read_text(encoding="utf-8"))
    changed = {
        name: (was.get(name, "new"), now.get(name, "gone"))
        for name in [*now, *(name for name in was if name not in now)]
        if was.get(name) != now.get(name)
    }
    return {"same": sum(was.get(name) == now[name] for name in now), "changed": changed}


def report(root: Path, revision: str = "HEAD") -> str:
    """Write reproduction.json; return the lines."""
    found = compare(root, revision)
    write_json(root / OUT, found)
    return "".join(f"{line}\n" for line in lines(found))


if __name__ == "__main__":
    try:
        sys.stdout.write(report(Path(), *sys.argv[1:]))
    except (InputError, OSError) as error:
        sys.exit(f"universality: {error}")
