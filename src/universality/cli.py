"""The `universality` command: what people call, and under `run` the stages of the pipeline.

A command is a file of a folder `commands/`, a stage one of a folder `stages/`, both with a function
`command` whose docstring is its help. Its module is imported only when it is called, so that a
stage starts quickly and runs no other stage's code.
"""

import ast
import ctypes
import gc
import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click
import typer
import typer.core
import typer.main

from universality.core.errors import InputError

_PACKAGE = Path(__file__).parent


class _Group(typer.core.TyperGroup):
    """A group whose commands are the files of all folders of one name."""

    folder: str

    def _files(self) -> dict[str, Path]:
        """Return command -> its file; those of a study follow each other."""
        paths = sorted(_PACKAGE.rglob(f"{self.folder}/[!_]*.py"))
        return {path.stem.replace("_", "-"): path for path in paths}

    def list_commands(self, ctx: Any) -> list[str]:
        return [*self._files(), *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        path = self._files().get(cmd_name)
        if path is None:
            return super().get_command(ctx, cmd_name)
        parts = path.relative_to(_PACKAGE.parent).with_suffix("").parts
        module = importlib.import_module(".".join(parts))
        one = typer.Typer(add_completion=False, rich_markup_mode=None)
        one.command(cmd_name)(module.command)
        return typer.main.get_command(one)

    def format_commands(self, ctx: Any, formatter: click.HelpFormatter) -> None:
        by_place: dict[str, list[tuple[str, str]]] = {}
        for name, path in self._files().items():
            by_place.setdefault(path.parents[1].name, []).append((name, _summary(path)))
        if self.folder == _Commands.folder:
            others = [
                (name, "Run one stage of the pipeline.") for name in super().list_commands(ctx)
            ]
            by_place = {"Commands": [row for rows in by_place.values() for row in rows] + others}
        for place, rows in by_place.items():
            with formatter.section(_TITLES.get(place, place.capitalize())):
                formatter.write_dl(rows)


_TITLES = {"present": "All studies", "saes": "SAEs"}


class _Commands(_Group):
    folder = "commands"


class _Stages(_Group):
    folder = "stages"


def _summary(path: Path) -> str:
    """Return the first line of help of the command in the file `path`."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    functions = (node for node in body if isinstance(node, ast.FunctionDef))
    command = next(node for node in functions if node.name == "command")
    return (ast.get_docstring(command) or "").partition("\n")[0]


_LOOKS: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "no_args_is_help": True,
}
app = typer.Typer(
    cls=_Commands,
    help="Do different language models learn the same features? `make repro` answers; these look "
    "at what it made, and at models of your own. `universality COMMAND --help` explains one.",
    **_LOOKS,
)
stages = typer.Typer(
    cls=_Stages,
    help="Run one stage of the pipeline, as dvc.yaml does; `make repro` runs them all in order.",
    **_LOOKS,
)
app.add_typer(stages, name="run")


@app.callback()
def settle() -> None:
    """Settle this process's logging, threads and memory, before the libraries are imported."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # Libraries must not phone home, and results must not depend on how many cores there are.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if not os.environ.get("UNIVERSALITY_WANDB"):
        os.environ.setdefault("WANDB_MODE", "disabled")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # Our own bars ask for themselves (core.progress); the libraries' would fill the logs.
    os.environ.setdefault("TQDM_DISABLE", "1")
    # Threads that wait spin for a moment only (libgomp's default, 300,000 turns, starves all others
    # as soon as anything else runs); not at all would cost a third of the speed.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    # One each: stages run side by side, and most share two cores badly.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = os.environ.get("UNIVERSALITY_THREADS", "1")
    # MKL may else use fewer threads for a product when it thinks best, or other instructions for
    # another alignment: other sums, other hashes.
    os.environ["MKL_DYNAMIC"] = "FALSE"
    os.environ["MKL_CBWR"] = "AUTO,STRICT"
    _keep_large_buffers()
    # Libraries make a million objects at import that are never freed: looking for garbage among
    # them, again and again, takes a fifth of the time that a stage needs to start.
    gc.set_threshold(100_000, 50, 50)


def _keep_large_buffers() -> None:
    """Let glibc keep freed arrays: asking the kernel for fresh pages costs half the time of a step.

    By default every array above 32 MB comes from mmap and goes back at once.
    """
    allocator = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(allocator, "mallopt"):  # not in musl
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1)):
            allocator.mallopt(option, value)  # pyright: ignore[reportOptionalMemberAccess]


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def main() -> Any:
    """Run the command line; bad input is one line on stderr and exit status 2."""
    try:
        return app()
    except InputError as error:
        print(f"universality: {error}", file=sys.stderr)
        sys.exit(2)
