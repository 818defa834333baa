"""Stages forked from one process."""

import multiprocessing
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

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
