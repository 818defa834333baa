"""`dvc` with less waiting: `python workflow/quick_dvc.py repro`, which is what `make repro` runs.

What runs, what is written and every byte of dvc.lock are DVC's own (a test compares), so plain `dvc
repro` can go on where this stopped, and the other way round. Three things are quicker:
- DVC parses params.yaml again for every stage: here a text that was parsed is copied;
- it parses and writes all of dvc.lock after every stage, seconds each time for a hundred stages:
  here the one entry is replaced in the text, and the file as a whole or not at all;
- every stage imports torch and the model libraries, five seconds each: here one process imports
  them once, and each stage of `repro` is forked from it. On Linux only: elsewhere libraries break.

DVC has no settings for these, so its internals are replaced; requirements.lock pins its version.
"""

import contextlib
import copy
import functools
import itertools
import multiprocessing
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

COMMAND = "universality"


def main(arguments: list[str]) -> int:
    """Run `dvc` with `arguments`; returns its exit status."""
    from dvc.cli import main as dvc

    quicken()
    if sys.platform == "linux" and arguments[:1] == ["repro"]:
        _fork_stages()
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
    parsed = functools.lru_cache(maxsize=8)(lambda text, path: parse(text, path))

    def parse_yaml(text: str, path: str, typ: str = "safe") -> Any:
        if typ != "safe":  # with comments and positions, for writing
            return parse(text, path, typ)
        return copy.deepcopy(parsed(text, path))

    _yaml.parse_yaml = strictyaml.parse_yaml = parse_yaml


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
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}", delete=False
    ) as file:
        file.write(text)
    os.chmod(file.name, path.stat().st_mode if path.exists() else 0o644)
    os.replace(file.name, path)


def _fork_stages() -> None:
    from dvc.stage import run
    from dvc.stage.exceptions import StageCmdFailedError

    plain = run._run
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["warm"])
    here = str(Path(__file__).parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*paths, here]))

    def run_stage(executable: str | None, cmd: str, **options: Any) -> None:
        words = shlex.split(cmd, comments=False)
        if words[0] != COMMAND or set(cmd) & set("|&;<>()$`*?[]~"):
            plain(executable, cmd, **options)
            return
        stage = server.Process(target=call, args=(words, options["cwd"], options["env"]))
        stage.start()
        with contextlib.suppress(KeyboardInterrupt):  # the stage has it, too, and ends
            stage.join()
        stage.join()
        if stage.exitcode != 0:
            raise StageCmdFailedError(cmd, stage.exitcode)

    run._run = run_stage


def call(words: list[str], folder: str, environment: dict[str, str]) -> None:
    """Run the console command `words` in this process, forked from the one with the imports."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words
    from universality.cli import main

    sys.exit(main())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
