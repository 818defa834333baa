"""What this machine has for stages: cores, memory, and GPUs, of which each stage gets one.

A stage that can use a GPU says so in dvc.yaml (`meta: {device: cuda}`) and has one for itself;
others see none. A device is held by a lock on a file, so processes, runners and clones on one
machine share the devices, and one that is killed gives its own back. Slurm hands out devices by
itself, and is left to it.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from universality.core.errors import InputError

THREADS = int(os.environ.get("UNIVERSALITY_THREADS", "1"))
"""What a library may use in a stage; `universality.cli.settle` tells them."""
VARIABLE = "CUDA_VISIBLE_DEVICES"
_WAIT = 0.5


def n_cores() -> int:
    """Return how many cores all stages together use: UNIVERSALITY_CORES, or all there are."""
    text = os.environ.get("UNIVERSALITY_CORES") or str(os.cpu_count() or 1)
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"UNIVERSALITY_CORES is {text!r}, expected a number from 1 on")
    return int(text)


def memory_mb() -> int:
    """Return the memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def visible() -> list[str]:
    """Return the devices that may be used: of CUDA_VISIBLE_DEVICES, or all that there are."""
    given = os.environ.get(VARIABLE)
    if given is not None:
        return [name for name in given.split(",") if name]
    return [str(index) for index in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


@contextmanager
def one() -> Iterator[str]:
    """Hold one device, waiting until one is free; gives its name, "" if there is none at all."""
    names = visible()
    if not names or "SLURM_JOB_ID" in os.environ:
        yield ",".join(names)
        return
    folder = Path(tempfile.gettempdir()) / f"universality-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        for name in names:
            with (folder / name.replace("/", "_")).open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield name
                return
        time.sleep(_WAIT)
