"""`dvc` with less waiting: `pipeline/quick_dvc.py repro`, which Snakemake's jobs run, or `exp run`.

What runs and what is written are DVC's own (a test compares every byte of dvc.lock), so plain `dvc
repro` can go on where this stopped, and the other way round. These are quicker:
- DVC parses params.yaml again for every stage, and all YAML in every process: here a text that was
  parsed is kept as JSON, under its hash;
- it parses and writes all of dvc.lock after every stage, seconds each time for a hundred stages:
  here the one entry is replaced in the text, and the file as a whole or not at all;
- every stage imports its libraries: here they are imported once (forks.py).
When and on what a stage ran is noted beside dvc.lock, in provenance.json.

And two things are safer:
- a file of the cache that changed since it was put there is removed and made again; DVC takes it
  for whole if it is read-only, which a truncated one still is;
- a stage whose outputs do not all get into the cache has failed; DVC only mentions it.

And one is mended: `repro --pull` takes a folder of several stages' outputs for one output, which no
remote has, and with `--allow-missing` runs a stage on a part of such a folder. Here the folder is
made whole.

DVC has no settings for these, so its internals are replaced; requirements.lock pins its version.
"""

import contextlib
import copy
import functools
import hashlib
import itertools
import json
import shlex
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import alone
import forks
import machine
from universality.core.io import write_text
from universality.present import provenance

COMMAND = "universality"
PARSED = Path(".dvc", "tmp", "parsed")
N_PARSED = 16
"""So many texts are kept."""
RAN: dict[str, provenance.Run] = {}
"""Stage -> its run, until dvc.lock says what it made."""


def main(arguments: list[str]) -> int:
    """Run `dvc` with `arguments`; returns its exit status."""
    from dvc.cli import main as dvc

    quicken()
    experiment = arguments[:2] == ["exp", "run"]
    if "repro" not in arguments and not experiment:
        return dvc(arguments)
    if arguments[0] == "repro" or experiment:
        _run_forked()
        # Others may look at the project meanwhile: that is no reason to lose what a stage made.
        arguments = ["--wait-for-lock", *arguments]
    _fail_if_not_cached()
    with alone.among_stages(Path()):
        return dvc(arguments)


@functools.cache
def quicken() -> None:
    """Make DVC in this process quick at reading and writing YAML, and wary of its cache."""
    _parse_once()
    _write_one_entry()
    _notice_damage()


def _parse_once() -> None:
    from dvc.utils import strictyaml
    from dvc.utils.serialize import _yaml

    parse = _yaml.parse_yaml
    known: dict[str, Any] = {}

    def parse_yaml(text: str, path: str, typ: str = "safe") -> Any:
        if typ != "safe":  # with comments and positions, for writing
            return parse(text, path, typ)
        key = hashlib.sha256(text.encode()).hexdigest()
        if key not in known:
            quickly = provenance.parse_quickly if Path(path).name == "dvc.lock" else lambda _: None
            known[key] = stored(key) or store(key, quickly(text) or parse(text, path, typ))
        found = known[key]
        return json.loads(found) if isinstance(found, str) else copy.deepcopy(found)

    _yaml.parse_yaml = strictyaml.parse_yaml = parse_yaml


def stored(key: str) -> str | None:
    """Return the JSON that an earlier process left under `key`, a hash of texts, if any."""
    path = PARSED / f"{key}.json"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def store(key: str, value: Any) -> Any:
    """Return `value` as JSON, left for later processes; or itself if JSON cannot hold it."""
    text = json.dumps(value, default=str)
    if json.loads(text) != value:  # dates, keys that are numbers
        return value
    if PARSED.parent.is_dir():
        PARSED.mkdir(exist_ok=True)
        for old in sorted(PARSED.iterdir(), key=lambda path: path.stat().st_mtime)[: -N_PARSED + 1]:
            old.unlink(missing_ok=True)
        write_text(PARSED / f"{key}.json", text)
    return text


def _write_one_entry() -> None:
    from dvc.dvcfile import Lockfile
    from dvc.stage import serialize
    from dvc.utils.serialize import dumps_yaml

    def dump_stages(self: Lockfile, stages: list[Any], **options: Any) -> None:
        path = Path(self.path)
        entries: dict[str, Any] = {}
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = before or dumps_yaml({"schema": "2.0", "stages": {}}).replace(" {}", "")
        for stage in stages:
            entries |= serialize.to_lockfile(stage, **options)
            entry = dumps_yaml({"stages": {stage.addressing: entries[stage.addressing]}})
            after = with_entry(after, entry.split("\n", 1)[1])
        if after != before:
            write_text(path, after)
            self.repo.scm_context.track_file(self.relpath)
        # One that runs in every run is not noted: nothing would ever be unchanged.
        for name in (stage.addressing for stage in stages if stage.always_changed):
            RAN.pop(name, None)
        if new := {name: RAN.pop(name) for name in entries if name in RAN}:
            provenance.note(path.parent, entries, new)

    Lockfile.dump_stages = dump_stages


def with_entry(text: str, entry: str) -> str:
    """Return `text` of a dvc.lock with the `entry` of a stage replaced, or added at the end."""
    head = entry.split("\n", 1)[0]
    lines = text.splitlines(keepends=True)
    for start, end in _entries(lines):
        if lines[start].rstrip("\n") == head:
            lines[start:end] = [entry]
            return "".join(lines)
    return text + entry


def without_gone(text: str, stages: Collection[str]) -> str:
    """Return `text` of a dvc.lock without the entries of all but these `stages`."""
    lines = text.splitlines(keepends=True)
    for start, end in reversed(_entries(lines)):
        if lines[start].strip().rstrip(":").strip("'\"") not in stages:
            del lines[start:end]
    return "".join(lines)


def _entries(lines: list[str]) -> list[tuple[int, int]]:
    """Return where each entry of a dvc.lock begins and ends."""
    starts = [i for i, line in enumerate(lines) if line.startswith("  ") and line[2] not in " -#"]
    return list(itertools.pairwise([*starts, len(lines)]))


def _notice_damage() -> None:
    from dvc_data.hashfile.db import HashFileDB
    from dvc_data.hashfile.db.local import LocalHashFileDB
    from dvc_data.hashfile.state import StateNoop
    from dvc_objects.errors import ObjectFormatError

    by_mode = LocalHashFileDB.check

    def check(self: Any, oid: str, check_hash: bool = True, _info: Any = None) -> Any:
        if isinstance(self.state, StateNoop):  # a remote: no note of when its files were written
            return by_mode(self, oid, check_hash, _info)
        try:  # hashes what has another time, size or inode than when it was hashed last
            return HashFileDB.check(self, oid, check_hash, _info)
        except ObjectFormatError:
            sys.stderr.write(f"removed from the cache, since it is damaged: {oid}\n")
            raise

    LocalHashFileDB.check = check


def _fail_if_not_cached() -> None:
    from dvc_data.hashfile import transfer

    def fail(_: str, error: BaseException) -> None:
        raise error

    transfer._log_exception = fail


def lacking(stage: Any, in_part: bool = False) -> list[str]:
    """Return the outputs that DVC's `stage` reads and that are not here.

    With `in_part`, only those of folders of which another part is here.
    """
    import dag  # not at the top: a forked stage imports the main file again

    outputs = [out.def_path for out in stage.repo.index.outs]
    found = []
    for dep in stage.deps:
        paths = dag.members(dep.def_path, outputs)
        absent = [path for path in paths if not Path(path).exists()]
        if not in_part or len(absent) < len(paths):
            found += absent
    return found


def _run_forked() -> None:
    from dvc.repo import reproduce
    from dvc.stage import run
    from dvc.stage.exceptions import StageCmdFailedError

    import dag

    one_by_one, one, plain = reproduce._reproduce, reproduce._reproduce_stage, run._run
    now: dict[str, Any] = {}

    def pull(stage: Any, paths: list[str]) -> None:
        if paths:
            stage.repo.pull(paths)

    def reproduce_all(stages: list[Any], repro_fn: Any = one, **options: Any) -> Any:
        def reproduce_stage(stage: Any, **options: Any) -> Any:
            now[stage.addressing] = stage
            if options.get("pull"):
                pull(stage, lacking(stage, in_part=True))
            return repro_fn(stage, **options)  # an experiment's own

        return one_by_one(stages, repro_fn=reproduce_stage, **options)

    def run_command(executable: str | None, cmd: str, **options: Any) -> None:
        words = shlex.split(cmd, comments=False)
        name = options["env"]["DVC_STAGE"]
        # What runs every time must not wait for the imports of all the others.
        foreign = words[0] != COMMAND or set(cmd) & set("|&;<>()$`*?[]~")
        if foreign or now[name].always_changed:
            plain(executable, cmd, **options)
            return
        device = machine.one() if dag.demand(now[name])[2] else contextlib.nullcontext("")
        with device as given:
            environment = {**options["env"], machine.VARIABLE: given}
            folder = Path(options["cwd"])
            status = forks.run(name, words, folder, environment)
            took = forks.used(name, folder)
        if status != 0:
            raise StageCmdFailedError(cmd, status)
        if took:
            RAN[name] = took

    reproduce._reproduce = reproduce_all
    run._run = run_command
    run._pull_missing_deps = lambda stage: pull(stage, lacking(stage))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
