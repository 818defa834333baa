"""`dvc` with less waiting: `python workflow/quick_dvc.py repro`, which is what `make repro` runs.

What runs and what is written are DVC's own (a test compares every byte of dvc.lock), so plain `dvc
repro` can go on where this stopped, and the other way round. These are quicker:
- DVC parses params.yaml again for every stage, and all YAML in every process: here a text that was
  parsed is kept as JSON, under its hash;
- it parses and writes all of dvc.lock after every stage, seconds each time for a hundred stages:
  here the one entry is replaced in the text, and the file as a whole or not at all;
- it runs one stage after the other: here as many as there are cores (schedule.py), since most
  stages use one core well and two badly;
- every stage imports its libraries: here they are imported once (forks.py).

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
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forks
import schedule

COMMAND = "universality"
PARSED = Path(".dvc", "tmp", "parsed")
N_PARSED = 16
"""So many texts are kept."""
SERIAL = ("dry", "force_downstream", "interactive")
"""Options of `dvc repro` with which stages run one after the other, by DVC's own loop."""


def main(arguments: list[str]) -> int:
    """Run `dvc` with `arguments`; returns its exit status."""
    from dvc.cli import main as dvc

    quicken()
    if arguments[:1] == ["repro"]:
        _many_at_once()
    return dvc(arguments)


@functools.cache
def quicken() -> None:
    """Make DVC in this process quick at reading and writing YAML."""
    _parse_once()
    _write_one_entry()


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
            known[key] = stored(key) or store(key, parse(text, path, typ))
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
        write_whole(PARSED / f"{key}.json", text)
    return text


def _write_one_entry() -> None:
    from dvc.dvcfile import Lockfile
    from dvc.stage import serialize
    from dvc.utils.serialize import dumps_yaml

    def dump_stages(self: Lockfile, stages: list[Any], **options: Any) -> None:
        path = Path(self.path)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = before or dumps_yaml({"schema": "2.0", "stages": {}}).replace(" {}", "")
        for stage in stages:
            entry = dumps_yaml({"stages": serialize.to_lockfile(stage, **options)})
            after = with_entry(after, entry.split("\n", 1)[1])
        if after != before:
            write_whole(path, after)
            self.repo.scm_context.track_file(self.relpath)

    Lockfile.dump_stages = dump_stages


def with_entry(text: str, entry: str) -> str:
    """Return `text` of a dvc.lock with the `entry` of a stage replaced, or added at the end."""
    head = entry.split("\n", 1)[0]
    lines = text.splitlines(keepends=True)
    starts = [i for i, line in enumerate(lines) if line.startswith("  ") and line[2] not in " -#"]
    for start, end in itertools.pairwise([*starts, len(lines)]):
        if lines[start].rstrip("\n") == head:
            lines[start:end] = [entry]
            return "".join(lines)
    return text + entry


def write_whole(path: Path, text: str) -> None:
    """Write `path` as a whole or, when killed, not at all."""
    from universality.io import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


class Turn:
    """DVC's work is done by one thread at a time; only the stages' commands run beside it.

    With the turn comes DVC's lock of the repository, and both are given away while a command runs.
    """

    def __init__(self, repo: Any):
        self.repo = repo
        self._mine = threading.Lock()

    def __enter__(self) -> None:
        self._mine.acquire()
        try:
            self.repo.lock.lock()
        except BaseException:
            self._mine.release()
            raise

    def __exit__(self, *_: object) -> None:
        self.repo.lock.unlock()
        self._mine.release()

    @contextlib.contextmanager
    def given_away(self) -> Iterator[None]:
        """Let others work; DVC has unlocked the repository, and locks it afterwards."""
        self._mine.release()
        try:
            yield
        finally:
            self._mine.acquire()


def _many_at_once() -> None:
    from dvc.repo import reproduce
    from dvc.stage import run
    from dvc.stage.exceptions import StageCmdFailedError
    from dvc.utils.serialize import _yaml

    import dag  # not at the top: a forked stage imports the main file again

    one_by_one, plain = reproduce._reproduce, run._run
    turns: list[Turn] = []

    def reproduce_all(
        stages: list[Any], graph: Any = None, on_error: str = "fail", **options: Any
    ) -> list[Any]:
        unusual = on_error != "fail" or any(options.get(name) for name in SERIAL)
        if graph is None or unusual:
            return one_by_one(stages, graph=graph, on_error=on_error, **options)
        options.pop("force_downstream", None)
        turn = Turn(stages[0].repo)
        turns[:] = [turn]

        def work(stage: Any) -> Any:
            with turn:
                return reproduce._reproduce_stage(
                    stage, upstream=list(graph.successors(stage)), **options
                )

        turn.repo.lock.unlock()  # it is locked by the caller, who unlocks it
        try:
            results, errors = schedule.run(
                stages, {stage: set(graph.successors(stage)) for stage in stages}, work, dag.demand
            )
        finally:
            turn.repo.lock.lock()
        for stage, error in errors.items():
            reproduce._raise_error(error, stage)
        if any(results.values()):  # the next process finds it parsed
            _yaml.parse_yaml(Path("dvc.lock").read_text(encoding="utf-8"), "dvc.lock")
        return [results[stage] for stage in stages if results[stage]]

    def run_command(executable: str | None, cmd: str, **options: Any) -> None:
        words = shlex.split(cmd, comments=False)
        with turns[0].given_away() if turns else contextlib.nullcontext():
            if words[0] != COMMAND or set(cmd) & set("|&;<>()$`*?[]~"):
                plain(executable, cmd, **options)
                return
            name = options["env"]["DVC_STAGE"]
            status = forks.run(name, words, Path(options["cwd"]), options["env"])
        if status != 0:
            raise StageCmdFailedError(cmd, status)

    reproduce._reproduce = reproduce_all
    run._run = run_command


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
