"""Where a result comes from: dvc.lock, and a record of when and on what each stage ran.

dvc.lock has the command, the parameters, the fingerprint of the code and the hashes of inputs and
outputs. What it lacks, time and machine, both runners note in provenance.json, which is committed
with it. A note is about outputs of one hash: it says nothing of others, such as those that plain
`dvc repro` made.
"""

import difflib
import functools
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

from universality.core import fingerprints
from universality.core.errors import InputError
from universality.core.io import read_json, require, write_text

RECORD = "provenance.json"
METRICS = Path("metrics")
SUMMARIES = Path("data", "tables", "summaries")
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "transformers", "sae-lens", "numba")
"""Those whose version may change a result."""

Lock = dict[str, dict[str, Any]]
"""Stage -> its entry in dvc.lock: cmd, deps, params, outs."""


@dataclass(frozen=True)
class Run:
    """One run of a stage's command."""

    cpu_seconds: float
    peak_gb: float
    gpu: str = ""
    when: str = ""
    """UTC, to the second."""
    machine: dict[str, Any] | None = None

    @classmethod
    def here(cls, cpu_seconds: float, peak_gb: float, gpu: str = "") -> "Run":
        """Return a run that ended now, on this machine."""
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return cls(round(cpu_seconds, 1), round(peak_gb, 2), gpu, when, machine())


def machine() -> dict[str, Any]:
    """Describe this machine, without its name: what a result could depend on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def outputs_hash(entry: dict[str, Any]) -> str:
    """Return one hash for what a stage made, from its entry in dvc.lock."""
    made = sorted((out["path"], out.get("md5", "")) for out in entry.get("outs", []))
    return hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]


def note(root: Path, entries: Lock, runs: dict[str, Run]) -> None:
    """Write into `root`/provenance.json that `runs` made what `entries` say; keeps other notes."""
    path = root / RECORD
    record = read_json(path) if path.exists() else {"machines": {}, "stages": {}}
    for name, run in runs.items():
        text = json.dumps(run.machine, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:8]
        record["machines"][key] = run.machine
        record["stages"][name] = {
            "outputs": outputs_hash(entries[name]),
            "when": run.when,
            "machine": key,
            "cpu_seconds": run.cpu_seconds,
            "peak_gb": run.peak_gb,
            "gpu": run.gpu,
        }
    used = {stage["machine"] for stage in record["stages"].values()}
    record["machines"] = {key: record["machines"][key] for key in sorted(used)}
    write_text(path, _one_line_each(record))


def _one_line_each(record: dict[str, dict[str, Any]]) -> str:
    """Return JSON with a line for each stage, so that a diff shows which ones ran."""
    parts = [
        f" {json.dumps(name)}: {{\n"
        + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value[key])}" for key in sorted(value))
        + "\n }"
        for name, value in sorted(record.items())
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def noted(root: Path, name: str, entry: dict[str, Any]) -> Run | None:
    """Return the run that made the outputs of stage `name`, if one was noted."""
    record = read_json(root / RECORD) if (root / RECORD).exists() else {"stages": {}}
    found = record["stages"].get(name)
    if found is None or found["outputs"] != outputs_hash(entry):
        return None
    return Run(
        found["cpu_seconds"],
        found["peak_gb"],
        found["gpu"],
        found["when"],
        record["machines"][found["machine"]],
    )


def cpu_seconds(root: Path) -> dict[str, float]:
    """Return stage -> what its last noted run took, seconds of CPU."""
    path = root / RECORD
    stages = read_json(path)["stages"] if path.exists() else {}
    return {name: run["cpu_seconds"] for name, run in stages.items()}


def read_lock(root: Path) -> Lock:
    """Return the stages of `root`/dvc.lock."""
    path = require(root / "dvc.lock")
    return parse_lock(path.read_text(encoding="utf-8"), str(path))


def parse_lock(text: str, name: str) -> Lock:
    """Return the stages of the text of a dvc.lock; `name` is what an error calls it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = parse_quickly(text)
        return (YAML(typ="safe").load(text) if found is None else found)["stages"]
    except (YAMLError, TypeError, KeyError) as error:
        raise InputError(f"{name}: not a lock file of DVC; `git checkout dvc.lock`") from error


def parse_quickly(text: str) -> Any:
    """Return what ruamel.yaml makes of a dvc.lock, in a tenth of the time.

    None where it has to be asked itself: the text is no YAML, or PyYAML has no libyaml here.
    """
    loader = _loader()
    if loader is None:
        return None
    from yaml import YAMLError

    reader = loader(text)
    try:
        return reader.get_single_data()
    except (YAMLError, ValueError):
        return None
    finally:
        reader.dispose()


@functools.cache
def _loader() -> Any:
    """Return a loader that reads scalars as YAML 1.2 has them, as DVC does; PyYAML reads 1.1."""
    import yaml

    if not yaml.__with_libyaml__:
        return None

    class Loader(yaml.CSafeLoader):
        """Refuses a key that is there twice, as ruamel.yaml does."""

        yaml_implicit_resolvers: ClassVar = {}

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            found = super().construct_mapping(node, deep=deep)
            if len(found) != len(node.value):
                raise yaml.YAMLError("a key is there twice")
            return found

    for kind, (pattern, starts) in _SCALARS.items():
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(pattern), starts)
    return Loader


_SCALARS = {
    "bool": (r"(?:true|True|TRUE|false|False|FALSE)$", [*"tTfF"]),
    "null": (r"(?:~|null|Null|NULL|)$", [*"~nN", ""]),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)$", [*"-+0123456789"]),
    "float": (
        r"(?:[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.[0-9]+(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        [*"-+0123456789."],
    ),
}
"""Kind of a scalar without quotes -> its pattern and first letters, as far as DVC writes it."""


def maker(lock: Lock, path: str) -> str | None:
    """Return the stage that makes `path`, or the directory that holds it."""
    for name, entry in lock.items():
        for out in entry.get("outs", []):
            if path == out["path"] or path.startswith(f"{out['path']}/"):
                return name
    return None


def makers(lock: Lock, dependency: str) -> list[str]:
    """Return the stages that make `dependency`: several if it is a directory of their outputs."""
    one = maker(lock, dependency)
    inside = f"{dependency}/"
    return (
        [one]
        if one
        else [
            name
            for name, entry in lock.items()
            if any(out["path"].startswith(inside) for out in entry.get("outs", []))
        ]
    )


def ancestors(lock: Lock, stage: str) -> list[str]:
    """Return every stage that `stage` builds on, in the order of dvc.lock."""
    found, todo = set(), [stage]
    while todo:
        for dep in lock[todo.pop()].get("deps", []):
            new = set(makers(lock, dep["path"])) - found
            found |= new
            todo += new
    return [name for name in lock if name in found]


def resolve(root: Path, lock: Lock, identifier: str) -> tuple[str, str]:
    """Return what `identifier` names, in words, and the stage that made it.

    It may be a stage, a file or folder that a stage makes, an artifact of dvc.yaml, or a number:
    `metrics/STUDY.json:ID`, `metrics/STUDY.json:ID.METRIC`, also if only the summaries have it, or
    `data/tables/summaries/STUDY.parquet:ID.METRIC`.
    """
    path, colon, key = identifier.partition(":")
    if colon:
        value, path = _number(root, path, key)
        found = maker(lock, path)
        if found:
            return f"{identifier} = {json.dumps(value)}", found
    if identifier in lock:
        return f"stage {identifier}", identifier
    artifacts = _artifacts(root)
    if identifier in artifacts:
        path = artifacts[identifier]
        found = maker(lock, path)
        if found:
            return f"artifact {identifier}, {path}", found
    path = path.rstrip("/")
    found = maker(lock, path)
    if found:
        return path, found
    outputs = [out["path"] for entry in lock.values() for out in entry.get("outs", [])]
    close = difflib.get_close_matches(identifier, [*lock, *outputs, *artifacts], n=3, cutoff=0.5)
    hint = f"; close to it: {', '.join(close)}" if close else ""
    raise InputError(
        f"{identifier}: no stage, output, artifact or number of dvc.lock has this name{hint}"
    )


def _number(root: Path, path: str, key: str) -> tuple[Any, str]:
    """Return a number, or the numbers of one id, and the file that has it.

    `metrics/` has the few numbers that are shown. All others are in the table of the same study in
    the summaries, where they are looked for next.
    """
    file = Path(path)
    if file.suffix == ".parquet" and file.parent != SUMMARIES:
        raise InputError(f"{path}: numbers have names in {METRICS}/ and {SUMMARIES}/ only")
    more = SUMMARIES / f"{file.stem}.parquet"
    places = [file, more] if file.parent == METRICS and (root / more).is_file() else [file]
    names: list[str] = []
    for place in places:
        values = _numbers(root / place)
        if key in values:
            return values[key], place.as_posix()
        owner, _, metric = key.rpartition(".")
        if metric in values.get(owner, {}):
            return values[owner][metric], place.as_posix()
        names += [*values, *(f"{owner}.{metric}" for metric in values.get(owner, {}))]
    close = difflib.get_close_matches(key, list(dict.fromkeys(names)), n=3, cutoff=0.5)
    hint = f"; close to it: {', '.join(close)}" if close else ""
    if file.parent == METRICS and len(places) == 1:
        hint += f"; {more} may have it: `make pull`"
    raise InputError(f"{root / path}: has no {key!r}{hint}")


def _numbers(path: Path) -> dict[str, Any]:
    """Return the numbers of a JSON file or a summary: id -> metric -> value."""
    if path.suffix != ".parquet":
        return read_json(path)
    from universality.present.summaries import read_summary

    return read_summary(path)


def _artifacts(root: Path) -> dict[str, str]:
    from ruamel.yaml import YAML

    path = root / "dvc.yaml"
    document = YAML(typ="safe").load(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: entry["path"] for name, entry in document.get("artifacts", {}).items()}


def card(root: Path, identifier: str, lock: Lock | None = None) -> dict[str, Any]:
    """Return everything that is known of where `identifier` comes from; see `lines`.

    `lock` is that of `root` if it has been read already.
    """
    lock = read_lock(root) if lock is None else lock
    what, stage = resolve(root, lock, identifier)
    entry = lock[stage]
    inputs = [
        {"path": dep["path"], "md5": dep["md5"], "stages": makers(lock, dep["path"])}
        for dep in entry.get("deps", [])
    ]
    run = noted(root, stage, entry)
    above = ancestors(lock, stage)
    number = ":" in identifier
    named = [name for name in above if number and "@" in name and name.split("@")[1] in identifier]
    return {
        "what": what,
        "stage": stage,
        "command": entry["cmd"],
        "run": None if run is None else vars(run),
        "params": entry.get("params", {}).get("params.yaml", {}),
        "inputs": inputs,
        "code": _code(root, entry),
        "outputs": [{"path": out["path"], "md5": out["md5"]} for out in entry.get("outs", [])],
        "above": [
            {"stage": name, "run": None if found is None else vars(found)}
            for name in above
            for found in [noted(root, name, lock[name])]
        ],
        "named": named,
        "pinned": [
            {"artifact": name.split("@")[1], **dict(_pin(lock[name]))}
            for name in [*above, stage]
            if name.startswith(("fetch@", "hub_model@", "hub_saes@"))
        ],
    }


def _code(root: Path, entry: dict[str, Any]) -> dict[str, Any] | None:
    """Return the fingerprint that a stage ran with, whether it still is that, and the files."""
    (command, was), *_ = [*entry.get("params", {}).get(fingerprints.FILE, {}).items(), (None, None)]
    if command is None or not (root / "src").is_dir():
        return None
    code = fingerprints.Code(root / "src")
    if command not in code.commands:
        return {"fingerprint": was, "same": False, "files": []}
    files = [f"src/{path}" for path in code.reached(command)]
    return {"fingerprint": was, "same": code.fingerprint(command) == was, "files": files}


def _pin(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for file in entry.get("params", {}).values():
        for value in file.values():
            for key in ("sha256", "revision"):
                if isinstance(value, dict) and key in value:
                    yield key, value[key]


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Give a `card` line by line."""
    yield found["what"]
    yield f"  made by   {found['stage']}"
    yield f"  command   {found['command']}"
    yield f"  when      {_when(found['run'])}"
    if found["run"]:
        parts = dict(found["run"]["machine"])
        hardware = f"{parts.pop('processor')}, {parts.pop('cores')} cores"
        hardware += f", {parts.pop('memory_gb')} GB, {parts.pop('system')}"
        yield f"  machine   {hardware}"
        yield f"  versions  {', '.join(f'{name} {value}' for name, value in parts.items())}"
    yield from _block("parameters", [f"{k}: {json.dumps(v)}" for k, v in found["params"].items()])
    yield from _block("made", [f"{x['md5']}  {x['path']}" for x in found["outputs"]])
    yield from _block("from", [f"{x['md5']}  {x['path']}{_by(x)}" for x in found["inputs"]])
    if found["code"]:
        state = "as now" if found["code"]["same"] else "changed since; the files of now"
        title = f"with code of fingerprint {found['code']['fingerprint']}, {state}"
        yield from _block(title, found["code"]["files"])
    if found["named"]:
        yield from _block("stages above whose key is part of the number's name", found["named"])
    above = [f"{x['stage']}  {_when(x['run'])}" for x in found["above"]]
    yield from _block("all stages above", above)
    pinned = [
        f"{x['artifact']}  " + ", ".join(f"{k} {v}" for k, v in x.items() if k != "artifact")
        for x in found["pinned"]
    ]
    yield from _block("pinned sources at the bottom", pinned)


def _block(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield f"  {title} ({len(items)})"
        yield from (f"    {item}" for item in items)


def _by(dependency: dict[str, Any]) -> str:
    names = dependency["stages"]
    return f"  by {names[0]}" if len(names) == 1 else f"  by {len(names)} stages" if names else ""


def _when(run: dict[str, Any] | None) -> str:
    if run is None:
        return "not noted (made by plain dvc, or brought up to date by dvc commit)"
    gpu = f", GPU {run['gpu']}" if run["gpu"] else ""
    return f"{run['when']}, {run['cpu_seconds']} s of CPU, {run['peak_gb']} GB{gpu}"
