"""What goes wrong from outside: the run recovers, or stops with one clear line; nothing is lost.

UNIVERSALITY_RELEASE=1 kills runs more often, and also the whole pipeline; UNIVERSALITY_KILLS=50
kills that so often.
"""

import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from project import PARSED, PYTHON, Project, environment_of, ran

from repetitions import times
from universality.core.errors import InputError

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "pipeline"))

import alone  # noqa: E402  # pyright: ignore[reportMissingImports]
import lock  # noqa: E402  # pyright: ignore[reportMissingImports]

pytestmark = pytest.mark.pipeline

Done = subprocess.CompletedProcess[str]
RUN = (PYTHON, "pipeline/run.py", "embedded")
KILLS = int(os.environ.get("UNIVERSALITY_KILLS", str(times(0, 10))))
EVERYTHING = "every stage"
SEED = int(os.environ.get("UNIVERSALITY_KILL_SEED", "0"))


def never_run(finished: Project, folder: Path) -> Project:
    """Return a clone of `finished` without any result."""
    project = finished.clone(folder)
    for name in ("dvc.lock", "figures", "metrics"):
        project("git", "rm", "-r", "--quiet", name)
    project.commit()
    return project


def with_own_cache(finished: Project, folder: Path) -> Project:
    """Return a clone without data, with a copy of the cache."""
    project = finished.clone(folder)
    shutil.copytree(finished.folder / ".dvc" / "cache", folder / ".dvc" / "cache")
    shutil.copytree(finished.folder / PARSED, folder / PARSED)
    return project


def quick(project: Project, *command: str, check: bool = True) -> Done:
    return project(PYTHON, "pipeline/quick_dvc.py", *command, check=check)


def assert_same_entries(project: Project, finished: Project, last: str) -> dict:
    """Compare what `project` has in dvc.lock, the stage `last` among it; returns it."""
    found, expected = project.lock, finished.lock
    assert found.keys() == expected.keys() if last == EVERYTHING else last in found
    assert [name for name in found if found[name] != expected[name]] == []
    return found


def assert_as_undisturbed(project: Project, finished: Project, last: str) -> None:
    """Compare that, and the bytes of the outputs."""
    for name, entry in assert_same_entries(project, finished, last).items():
        for out in entry["outs"]:
            assert lock.tracked_hash(project.folder / out["path"]) == out["md5"], name


def said_clearly(done: Done, *parts: str) -> None:
    """Assert that a command failed and that its last line, without a traceback, has `parts`."""
    assert done.returncode != 0
    assert 'File "' not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert [part for part in parts if part not in last] == [], done.stderr


# Killed runs.


class Run:
    """A run in the background, in a process group of its own, that says all into a file."""

    def __init__(self, project: Project, *command: str):
        self._lock = project.folder / "dvc.lock"
        self.n_before = self.n_done()
        self.said = project.folder / ".dvc" / "tmp" / "said"
        self.said.parent.mkdir(exist_ok=True)
        with self.said.open("w") as file:
            self._process = subprocess.Popen(
                command,
                cwd=project.folder,
                env=environment_of(project.folder),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def n_done(self) -> int:
        """The stages in dvc.lock."""
        if not self._lock.exists():
            return 0
        lines = self._lock.read_text().splitlines()
        return sum(line[:2] == "  " and line[2] not in " -" for line in lines)

    def lasts(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Wait for that time at most; say whether the run goes on."""
        end = time.monotonic() + seconds
        while self._process.poll() is None:
            if time.monotonic() > end or until():
                return True
            time.sleep(0.02)
        return False

    def kill_all(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def kill_runner(self) -> None:
        """Kill the runner only; what it started is left to itself."""
        process = psutil.Process(self._process.pid)
        # Snakemake is the child of `make repro`; DVC's runner is that process itself.
        children = process.children() if "snakemake" in process.cmdline() else []
        for victim in (process, *children):
            victim.kill()
        self._process.wait()

    def end(self) -> int:
        return self._process.wait()


def kill_often(
    project: Project, command: tuple[str, ...], n_kills: int, n_stages: int, seconds: float
) -> int:
    """Run `command` again and again, killed at random moments; returns how often it was killed.

    A third of the moments is at random from the start on, the others after up to `n_stages` more
    are done, so that the run comes to its end.
    """
    moments = random.Random(SEED)
    print(f"UNIVERSALITY_KILL_SEED={SEED}")
    for n_killed in range(n_kills):
        early, everyone = moments.random() < 1 / 3, moments.random() < 0.7
        run = Run(project, *command)
        enough = run.n_before + moments.randint(1, n_stages)
        goes_on = early or run.lasts(600, until=lambda run=run, n=enough: run.n_done() >= n)
        moment = moments.expovariate(1 / seconds) * (3 if early else 1)
        if not goes_on or not run.lasts(moment):
            assert run.end() == 0, run.said.read_text()
            return n_killed
        before = run.n_done()
        (run.kill_all if everyone else run.kill_runner)()
        kind = "all" if everyone else "the runner"
        print(
            f"{n_killed + 1}: {kind} killed {'early' if early else 'later'}, {before} stages done"
        )
    return n_kills


def test_killed_runs_end_as_if_undisturbed(finished, tmp_path):
    """Also SAE training, which continues from its checkpoint.

    Snakemake itself would ask for `--unlock`, and a job of a killed one may still be at work.
    """
    project = never_run(finished, tmp_path / "project")
    early = (*RUN, "snakemake", "data/activations/seed_a")
    assert kill_often(project, early, times(1, 4), 1, seconds=2) > 0
    last = "match@seed_a_vs_sae_seed"
    command = (*RUN, "snakemake", "data/tables/matching/pairs/seed_a_vs_sae_seed")
    run = Run(project, *command)
    saes = project.folder / "data" / "checkpoints" / "seed_a"
    assert run.lasts(600, until=lambda: any(saes.glob("*/current"))), run.said.read_text()
    run.kill_all()
    project(*command)
    log = project.folder / ".dvc" / "tmp" / "stages" / "train_saes@seed_a.log"
    assert "continuing from step" in log.read_text()
    assert_as_undisturbed(project, finished, last)
    assert list((project.folder / "data").rglob(".*.tmp")) == []


def test_killed_dvc_runs_end_as_if_undisturbed(finished, tmp_path):
    project = never_run(finished, tmp_path / "project")
    command = (*RUN, "dvc", "train_tokenizer")
    assert kill_often(project, command, times(1, 4), 1, seconds=1) > 0
    project(*command)
    assert_as_undisturbed(project, finished, "train_tokenizer")


@pytest.mark.skipif(not KILLS, reason="long: UNIVERSALITY_RELEASE=1 runs it")
@pytest.mark.timeout(1200 + 180 * KILLS)
@pytest.mark.parametrize("runner", ["dvc", "snakemake"])
def test_whole_pipeline_killed_often(finished, tmp_path, runner):
    project = never_run(finished, tmp_path / "project")
    n_kills = KILLS if runner == "snakemake" else -(-KILLS // 5)
    n_killed = kill_often(project, (*RUN, runner), n_kills, 200 // n_kills, seconds=2)
    assert n_killed >= n_kills / 2
    project(*RUN, runner)
    assert_as_undisturbed(project, finished, EVERYTHING)


def test_second_run_is_refused_and_does_no_harm(finished, tmp_path):
    """Nor does somebody who only looks on, with DVC's lock, while a stage ends."""
    project = never_run(finished, tmp_path / "project")
    slow = "sample_corpus@stories"  # still at work when the second run comes
    first = Run(project, *RUN, "dvc", slow)
    log = project.folder / ".dvc" / "tmp" / "stages" / f"{slow}.log"
    while not log.exists():
        assert first.lasts(0.1), first.said.read_text()
    with (project.folder / ".dvc" / "tmp" / "lock").open() as dvcs:
        fcntl.flock(dvcs, fcntl.LOCK_EX)
        for runner in ("dvc", "snakemake"):
            second = project(*RUN, runner, check=False)
            assert second.returncode != 0
            assert second.stdout == ""
            assert second.stderr == (
                f"universality: another run is at work in {project.folder}; "
                "wait for its end, or end it\n"
            )
        while "used, " not in log.read_text():
            assert first.lasts(0.1), first.said.read_text()
        assert first.lasts(4)  # DVC itself gives up after 3 seconds
    assert first.end() == 0, first.said.read_text()
    assert_as_undisturbed(project, finished, slow)


# Disks.


class Disk:
    """A small file system at `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        mount("tmpfs", folder, "size=1m")

    def leave(self, megabytes: float) -> None:
        """Make it so large that only this is free."""
        used = shutil.disk_usage(self.folder).used
        mount("tmpfs", self.folder, f"remount,rw,size={used + int(megabytes * 2**20)}")


def mount(kind: str, folder: Path, options: str) -> None:
    done = subprocess.run(
        ["mount", "-t", kind, "-o", options, kind, folder], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    yield Disk(folder)
    for path in (folder / "project" / "data" / "models", folder):
        subprocess.run(["umount", path], check=False, capture_output=True)


@pytest.mark.usefixtures("no_forks")
def test_full_and_read_only_disk(finished, disk):
    disk.leave(200)
    project = never_run(finished, disk.folder / "project")
    command = (*RUN, "dvc", "convert_llama2c@stories15m")

    disk.leave(30)  # the weights have 58 MB
    done = project(*command, check=False)
    assert "fetch@stories15m_weights: failed" in done.stderr
    assert "No space left on device" in done.stderr
    said_clearly(done, "failed to reproduce 'fetch@stories15m_weights'")

    disk.leave(140)  # for weights and model, but not for the model in the cache as well
    done = project(*command, check=False)
    said_clearly(done, "convert_llama2c@stories15m", "No space left on device")
    assert "convert_llama2c@stories15m" not in project.lock

    disk.leave(200)
    models = project.folder / "data" / "models"
    shutil.rmtree(models)
    models.mkdir()
    mount("tmpfs", models, "ro")
    done = project(*command, check=False)
    assert "Read-only file system" in done.stderr
    said_clearly(done, "failed to reproduce 'convert_llama2c@stories15m'")
    subprocess.run(["umount", models], check=True)

    mount("tmpfs", disk.folder, "remount,ro")
    said_clearly(project(*command, check=False), "universality:", "Read-only file system")

    disk.leave(200)
    project(*command)
    assert_as_undisturbed(project, finished, "convert_llama2c@stories15m")


@pytest.mark.usefixtures("no_forks")
def test_a_file_in_place_of_a_folder(finished, tmp_path):
    project = never_run(finished, tmp_path / "project")
    raw = project.folder / "data" / "raw"
    raw.write_text("")
    done = project(*RUN, "dvc", "fetch@llama_tokenizer", check=False)
    assert "data/raw" in done.stderr
    said_clearly(done, "fetch@llama_tokenizer")
    assert raw.read_text() == ""


# Remotes.


class Server:
    """A remote over HTTP that keeps what is put there, until it is `lost`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.n_puts_left = sys.maxsize

    def handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                server.n_puts_left -= 1
                if server.n_puts_left < 0:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                server.files[self.path] = b"".join(self.chunks())
                self.answer(201, b"")

            def chunks(self) -> Iterator[bytes]:
                while size := int(self.rfile.readline(), 16):
                    yield self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()

            def do_GET(self) -> None:
                found = server.files.get(self.path)
                self.answer(404 if found is None else 200, found or b"")

            do_HEAD = do_GET

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@pytest.fixture
def server() -> Iterator[tuple[Server, str]]:
    state = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), state.handler()) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield state, f"http://127.0.0.1:{http.server_port}/remote"
        http.shutdown()
        thread.join()


def use_remote(project: Project, url: str) -> None:
    method = "    method = PUT\n" if url.startswith("http") else ""
    with (project.folder / ".dvc" / "config.local").open("a") as file:
        file.write(f"[core]\n    remote = lab\n['remote \"lab\"']\n    url = {url}\n")
        file.write(f"    verify = true\n{method}")


FEATURES = "data/features/seed_a"


def assert_push_completes(finished: Project, tmp_path: Path, url: str) -> Project:
    """Push again after a failure; returns a clone that has pulled."""
    project = Project(tmp_path / "project")
    quick(project, "push", FEATURES)
    clone = finished.with_cache(tmp_path / "clone")
    (clone.folder / ".dvc" / "config.local").unlink()
    use_remote(clone, url)
    quick(clone, "pull", FEATURES)
    assert lock.tracked_hash(clone.folder / FEATURES) == hash_of(finished, FEATURES)
    return clone


def hash_of(project: Project, path: str) -> str:
    return next(
        out["md5"]
        for entry in project.lock.values()
        for out in entry["outs"]
        if out["path"] == path
    )


def test_remote_that_fills_in_mid_push(finished, tmp_path, disk):
    project = finished.with_cache(tmp_path / "project")
    use_remote(project, str(disk.folder))
    disk.leave(0.8)  # of 1.4 MB
    done = quick(project, "push", FEATURES, check=False)
    said_clearly(done, "failed to push data")
    assert "No space left on device" in done.stderr
    whole = [file for file in disk.folder.glob("files/md5/*/*") if file.suffix != ".tmp"]
    assert whole
    for file in whole:
        md5 = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        assert md5 == (file.parent.name + file.name).removesuffix(".dir")
    disk.leave(10)
    assert_push_completes(finished, tmp_path, str(disk.folder))


def test_remote_lost_in_mid_push_and_files_that_it_halved(finished, tmp_path, server):
    state, url = server
    project = finished.with_cache(tmp_path / "project")
    use_remote(project, url)
    state.n_puts_left = 4
    said_clearly(quick(project, "push", FEATURES, check=False), "failed to push data")
    assert len(state.files) == 4
    state.n_puts_left = sys.maxsize
    clone = assert_push_completes(finished, tmp_path, url)

    longest = max(state.files, key=lambda name: len(state.files[name]))
    state.files[longest] = state.files[longest][: len(state.files[longest]) // 2]
    for folder in (clone.folder / FEATURES, clone.folder / ".dvc" / "cache"):
        shutil.rmtree(folder)
    done = quick(clone, "pull", FEATURES, check=False)
    assert done.returncode != 0
    assert FEATURES in done.stderr
    assert not (clone.folder / FEATURES).exists()


# Damaged files.


def object_of(project: Project, path: str) -> tuple[Path, Path]:
    """Return the largest file of the output `path`: in the cache, and in its place."""
    cache = project.folder / ".dvc" / "cache" / "files" / "md5"
    listing = hash_of(project, path)
    items = json.loads((cache / listing[:2] / listing[2:]).read_text())
    found = [(cache / i["md5"][:2] / i["md5"][2:], i["relpath"]) for i in items]
    stored, name = max(found, key=lambda item: item[0].stat().st_size)
    return stored, project.folder / path / name


def alter(file: Path, how: str) -> None:
    """Damage `file` in place, as a disk does: a link to it is damaged, too."""
    content, before = file.read_bytes(), file.stat()
    with file.open("r+b") as opened:
        if how == "cut off":
            opened.truncate(len(content) // 2)
        else:
            opened.seek(len(content) // 2)
            opened.write(bytes([content[len(content) // 2] ^ 1]))
    if how == "one bit, at no time":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_damaged_file_of_the_cache_is_made_again(finished, tmp_path):
    project = with_own_cache(finished, tmp_path / "project")
    model = "data/models/random_a"
    stored, placed = object_of(project, model)
    whole = stored.read_bytes()
    alter(stored, "cut off")
    quick(project, "checkout", model)  # takes it for whole, and remembers it so
    assert len(placed.read_bytes()) < len(whole)

    done = project(*RUN, "dvc", "random_model@random_a")
    assert "removed from the cache, since it is damaged" in done.stderr
    assert "Running stage 'random_model@random_a'" in done.stdout
    assert stored.read_bytes() == placed.read_bytes() == whole
    assert project("git", "status", "--porcelain").stdout == " M provenance.json\n"  # when it ran

    alter(stored, "one bit, at no time")
    verify = (PYTHON, "pipeline/dag.py", "verify")
    done = project(*verify, check=False)
    assert done.returncode == 1
    assert f"{model}/{placed.name}: damaged in the cache" in done.stderr
    assert not stored.exists()


def test_output_changed_by_hand_and_lock_cut_short(finished, tmp_path):
    project = finished.with_cache(tmp_path / "project")
    quick(project, "checkout", FEATURES)
    changed = project.folder / FEATURES / "tokens.json"
    whole = changed.read_bytes()
    changed.unlink()  # as an editor does: the cache keeps its file
    changed.write_text("{}")
    file = project.folder / "dvc.lock"
    text = file.read_text()
    file.write_text(text[: text.index("  features@seed_a:")])
    done = project(*RUN, "dvc", "match@seed_a_vs_sae_seed")
    assert ran(done) == set()
    assert "'features@seed_a' is cached" in done.stdout
    assert changed.read_bytes() == whole
    assert_same_entries(project, finished, "match@seed_a_vs_sae_seed")


CONFLICT = "<<<<<<< HEAD\n    cmd: a\n=======\n    cmd: b\n>>>>>>> other\n"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: text[: text.index("    deps:") + 20], "dvc.lock is damaged"),
        (
            lambda text: text.replace("    cmd:", f"{CONFLICT}    cmd:", 1),
            "(possible merge conflicts)",
        ),
        (lambda text: "", "dvc.lock is damaged"),
        (lambda text: "\0" * len(text), "dvc.lock is damaged"),
    ],
    ids=["cut off", "conflict", "empty", "zeros"],
)
def test_unreadable_lock_is_one_line(finished, tmp_path, damage, expected):
    path = tmp_path / "dvc.lock"
    path.write_text(damage((finished.folder / "dvc.lock").read_text()))
    with pytest.raises(InputError) as error:
        lock.require_readable(path)
    assert expected in str(error.value)
    assert "git checkout dvc.lock" in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_runs_with_an_unreadable_lock(finished, tmp_path):
    project = finished.with_cache(tmp_path / "project")
    file = project.folder / "dvc.lock"
    file.write_text(CONFLICT + file.read_text())
    before = file.read_bytes()
    for runner in ("dvc", "snakemake"):
        said_clearly(project(*RUN, runner, check=False), "universality: dvc.lock is damaged")
    said_clearly(project(PYTHON, "pipeline/dag.py", "check", check=False), "dvc.lock is damaged")
    direct = project("snakemake", "--dry-run", "--cores", "1", check=False)
    assert direct.returncode != 0
    assert "dvc.lock is damaged" in direct.stdout + direct.stderr
    assert "Traceback" not in direct.stdout + direct.stderr
    assert file.read_bytes() == before


def test_what_killed_runs_leave_is_removed(tmp_path):
    half = tmp_path / "data" / "tables" / ".pair.123.tmp"
    half.mkdir(parents=True)
    (half / "features.parquet").write_text("half")
    cache = tmp_path / ".dvc" / "cache" / "files" / "md5" / "ab"
    cache.mkdir(parents=True)
    for name, age in ((".old.tmp", 2 * alone.HOUR), (".new.tmp", 0), ("cdef", 2 * alone.HOUR)):
        (cache / name).write_text(name)
        then = time.time() - age
        os.utime(cache / name, (then, then))
    readers = tmp_path / ".dvc" / "tmp" / "rwlock"
    readers.parent.mkdir()
    readers.write_text('{"read": {"a"')
    (tmp_path / ".snakemake" / "locks").mkdir(parents=True)
    with alone.alone(tmp_path):
        assert sorted(path.name for path in cache.iterdir()) == [".new.tmp", "cdef"]
        assert not half.exists()
        assert not readers.exists()
        assert not (tmp_path / ".snakemake" / "locks").exists()
        readers.write_text("{}")
    with alone.alone(tmp_path):
        assert readers.exists()
