"""Stages forked from one process."""

import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "pipeline"))

import forks  # pyright: ignore[reportMissingImports]


def ends_with(status: int) -> None:
    time.sleep(0.005)
    sys.exit(status)


@pytest.mark.skipif(sys.platform != "linux", reason="stages are forked on Linux only")
def test_every_thread_gets_its_own_processes_status() -> None:
    # Without a lock a fifth of these come back as 255.
    context = multiprocessing.get_context("forkserver")
    wanted = [number % 7 for number in range(60)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda status: forks.forked(context, ends_with, status), wanted))
    assert found == wanted


SHARING = """
import os, subprocess, sys
import forks

with forks.shared() as environment:
    done = subprocess.run([sys.executable, "-c", sys.argv[1]], env={**os.environ, **environment},
                          capture_output=True, text=True)
print(done.stdout, done.stderr, sep="|")
"""
ASKING = """
from pathlib import Path
import asked, forks

status, said = forks.run_beside("stage", asked.say, Path("."))
print(said, status)
"""
ASKED = """
import os, sys

def say():
    print(f"{os.getcwd()} {os.environ['WORD']} {'warm' in sys.modules}")
    return 3
"""


@pytest.mark.skipif(sys.platform != "linux", reason="stages are forked on Linux only")
def test_processes_share_one_server(tmp_path: Path) -> None:
    """What is called has the caller's folder and environment, and the libraries already."""
    pipeline = Path(__file__).parents[2] / "pipeline"
    (tmp_path / "asked.py").write_text(ASKED)
    done = subprocess.run(
        [sys.executable, "-c", SHARING, ASKING],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{pipeline}", "WORD": "word"},
        capture_output=True,
        text=True,
        check=True,
    )
    said, complaints = done.stdout.strip().split("|")
    assert complaints == ""
    assert said.split() == [str(tmp_path), "word", "True", "3"]
    assert list((tmp_path / forks.LOGS).iterdir()) == []


@pytest.mark.parametrize("status", [0, 3])
def test_a_process_of_its_own_says_what_it_took_as_well(tmp_path, monkeypatch, status):
    monkeypatch.setenv("UNIVERSALITY_FORK", "0")
    code = f"print('said'); sum(range(10_000_000)); raise SystemExit({status})"
    words = [sys.executable, "-c", code]
    assert forks.run("stage", words, tmp_path, dict(os.environ)) == status
    said = (tmp_path / forks.LOGS / "stage.log").read_text().splitlines()
    assert said[0] == "said"
    assert len(said) == 2
    run = forks.used("stage", tmp_path)
    assert run is not None
    assert run.cpu_seconds > 0
