"""Run the command of a stage, with what it says in a file of its own.

Every stage imports torch and the model libraries, five seconds each: on Linux, one process imports
them once and each stage is forked from it. Elsewhere libraries break, and the stage is a process
like any other, as it is with UNIVERSALITY_FORK=0. Snakemake's jobs are processes of their own,
which share one such server: `shared`.
"""

import contextlib
import ctypes
import functools
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import machine
from universality.present.provenance import Run

LOGS = Path(".dvc", "tmp", "stages")
SHOWN = 40
"""The last lines of a log that are shown when a stage fails, without where in the code it was."""

_PDEATHSIG = 1


SHARED = "UNIVERSALITY_FORK_SERVER"
"""Address of a server that belongs to another process: the one that runs Snakemake."""
PRELOADED = ["warm"]
ALSO_PRELOADED = ["dvc.cli", "dvc.commands.repro", "dvc.repo.reproduce", "dvc.stage.run", "dag"]
"""For jobs of Snakemake, each of which has DVC run one stage."""


def server() -> ForkServerContext | None:
    """Return the process that stages are forked from, or None where they are not."""
    if sys.platform != "linux" or os.environ.get("UNIVERSALITY_FORK") == "0":
        return None
    context = multiprocessing.get_context("forkserver")
    address = os.environ.get(SHARED)
    if address:
        _use(address)
        return context
    context.set_forkserver_preload(PRELOADED)
    here = str(Path(__file__).parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if here not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*paths, here]))
    return context


@contextlib.contextmanager
def shared() -> Iterator[dict[str, str]]:
    """Let processes that this one starts share its server, which ends with this process.

    Yields what they need in their environment.
    """
    context = server()
    if context is None:
        yield {}
        return
    context.set_forkserver_preload([*PRELOADED, *ALSO_PRELOADED])
    forkserver.ensure_running()
    address = forkserver._forkserver._forkserver_address  # pyright: ignore
    yield {SHARED: address}


@functools.cache
def _use(address: str) -> None:
    """Fork from the server at `address`; `multiprocessing` has no function for that."""
    known: Any = forkserver._forkserver  # pyright: ignore
    known._forkserver_address = address
    known._forkserver_alive_fd = os.open(
        os.devnull, os.O_RDONLY
    )  # the server outlives this process
    known.ensure_running = lambda: None


_ONE_READER = threading.Lock()


def forked(context: ForkServerContext, call: Callable[..., None], *arguments: Any) -> int:
    """Run `call(*arguments)` in a process of its own; returns its exit status.

    Threads may do so at once. `multiprocessing` reads a status once, and whichever thread starts a
    process next reads those of all that have ended: the one who waits for it then finds 255.
    """
    process = context.Process(target=call, args=arguments)
    with _ONE_READER:
        process.start()
    connection.wait([process.sentinel])
    with _ONE_READER:
        process.join()
    return process.exitcode or 0


def run(name: str, words: list[str], folder: Path, environment: dict[str, str]) -> int:
    """Run `words`, the console command of stage `name`, in `folder`; returns its exit status.

    One line says how long it took, and the end of the log why it failed.
    """
    log = folder / LOGS / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    context = server()
    start = time.monotonic()
    if context:
        status = forked(context, _call, words, folder, environment, log)
    else:
        status = _process(words, folder, environment, log)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    took_up = "".join(line.removeprefix("used") for line in lines if line.startswith(_USED))
    why = {0: "", -signal.SIGKILL: "killed, perhaps for its memory, after "}
    took = f"{why.get(status, 'failed after ')}{time.monotonic() - start:.0f} s"
    more = ""
    if status:
        sys.stderr.write("".join(f"{line}\n" for line in reasons(lines)[-SHOWN:]))
        more = f"; all it said: {LOGS / log.name}"
        if shutil.disk_usage(folder).free < _ROOM:  # then its log may lack the reason
            more += f"; no space left on the device of {folder}"
    sys.stderr.write(f"{name}: {took}{took_up}{more}\n")
    return status


def _process(words: list[str], folder: Path, environment: dict[str, str], log: Path) -> int:
    """Run `words` in a process that imports all it needs; returns its exit status."""
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=stream, stderr=stream)
        _, status, use = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # else it is waited for again
        stream.write(_said_of(use, environment))
    return process.returncode


def _said_of(use: resource.struct_rusage, environment: dict[str, str]) -> str:
    """Return the last line of a stage's log."""
    per_gb = 1e9 if sys.platform == "darwin" else 1e6
    device = environment.get(machine.VARIABLE)
    where = f", GPU {device}" if device else ""
    cpu = use.ru_utime + use.ru_stime
    return f"{_USED}{cpu:.1f} s of CPU, {use.ru_maxrss / per_gb:.1f} GB{where}\n"


def reasons(lines: list[str]) -> list[str]:
    """Return the `lines` of a log without the frames of tracebacks; what was raised stays."""
    shown, inside = [], False
    for line in lines:
        inside = line.startswith(_TRACEBACK) or (inside and line.startswith("  "))
        if not inside and not line.startswith(_USED):
            shown.append(line)
    return shown


_USED = "used, "
_TRACEBACK = "Traceback (most recent call last):"
_ROOM = 1 << 20


def run_beside(name: str, call: Callable[[], int], folder: Path) -> tuple[int, str]:
    """Call `call` in a process forked from the shared server; returns exit status and what it says.

    `call` is a function of a module, without arguments bound.
    """
    context = server()
    assert context, "only where there is a server"
    log = folder / LOGS / f"{name}.said"
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        status = forked(context, _beside, call, folder, dict(os.environ), log)
        said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        return status, said
    finally:
        log.unlink(missing_ok=True)


def used(name: str, folder: Path) -> Run | None:
    """Return what the last run of stage `name` took, if its log says so."""
    text = (folder / LOGS / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    found = re.search(rf"^{_USED}(\S+) s of CPU, (\S+) GB(?:, GPU (\S+))?$", text, re.M)
    return Run.here(float(found[1]), float(found[2]), found[3] or "") if found else None


def _beside(call: Callable[[], int], folder: Path, environment: dict[str, str], log: Path) -> None:
    _settle(folder, environment, log)
    sys.exit(call())


def _settle(folder: Path, environment: dict[str, str], log: Path) -> None:
    """Make this process, forked from the server, the one that was asked for."""
    # When the run is killed, so that it cannot end its stages, they end with it.
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM)
    parent = multiprocessing.parent_process()
    if environment.get(SHARED) and parent:  # else the server ends with the one that asked
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(stream, 1)
    os.dup2(stream, 2)


def _end_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _call(words: list[str], folder: Path, environment: dict[str, str], log: Path) -> None:
    """Run the console command in this process, forked from the one with the imports."""
    _settle(folder, environment, log)
    sys.argv = words
    from universality.cli import main

    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
    finally:
        sys.stdout.flush()
        sys.stderr.write(_said_of(resource.getrusage(resource.RUSAGE_SELF), environment))
        sys.stderr.flush()
