"""The `universality` command: one subcommand per pipeline stage, plus `check`.

A subcommand's module is imported only when it is called, so that a stage starts quickly and runs
no other stage's code.
"""

import ctypes
import gc
import importlib
import logging
import os
import sys
from typing import Any

import click
import typer
import typer.core
import typer.main

from universality.errors import InputError

STAGES = {
    "check": "Check a parameter file and say what is wrong with it.",
    "fingerprints": "Write what of the code each stage depends on.",
    "fetch": "Get one pinned artifact of data/sources.yaml and verify its hash.",
    "convert-llama2c": "Convert a llama2.c checkpoint to a Hugging Face directory.",
    "convert-gguf": "Convert a GGUF file to a Hugging Face directory.",
    "hub-model": "Download a model of the Hugging Face hub at a pinned revision.",
    "sample-corpus": "Sample stories from a language model.",
    "file-corpus": "Make a corpus from a JSON list of documents.",
    "gloss-corpus": "Make a corpus of WordNet's definitions.",
    "hub-corpus": "Make a corpus from a dataset of the Hugging Face hub.",
    "train-tokenizer": "Train the small models' tokenizer on the corpus.",
    "train-model": "Train a small language model on the corpus.",
    "random-model": "Write a small language model with untrained weights.",
    "evaluate-model": "Measure a model's cross-entropy beside n-gram baselines.",
    "activations": "Collect and shuffle the activations of a model's hooks.",
    "train-saes": "Train the SAEs of a model on its activations.",
    "evaluate-saes": "Judge the SAEs of a model on validation text.",
    "train-grid": "Train the SAEs of a grid, to be compared with each other.",
    "evaluate-grid": "Judge the SAEs of a grid on validation text.",
    "publish": "Share an SAE with a model card, in a folder or on the Hugging Face hub.",
    "features": "Write the sparse feature activations of a model's SAEs.",
    "hub-saes": "Download SAEs of the Hugging Face hub at a pinned revision.",
    "sae-hooks": "Check that SAEs of the hub sit at the hooks they were trained on.",
    "hub-features": "Write the sparse feature activations of SAEs of the hub.",
    "dashboard": "Write an offline page about features of an SAE.",
    "sae-anatomy": "Describe the features of a model's SAEs: density, direction, neurons.",
    "sae-widths": "Compare and stitch SAEs that differ only in width.",
    "sae-remedies": "Compare residual SAEs and orthogonal decoders with plain SAEs.",
    "sae-errors": "Find where the error of a model's SAEs is.",
    "toy-saes": "Train SAEs on toy models, whose features are known.",
    "match": "Match the features of two models.",
    "match-neurons": "Match the MLP neurons of two models, the baseline of features.",
    "match-text": "Look at partners again on other texts.",
    "match-grids": "Match the SAEs of a grid: L0, width, architecture.",
    "match-progress": "Match the SAEs of two models along their training.",
    "match-agreement": "Compare matched features by what they write, and SAEs by their weights.",
    "match-cards": "Show matched features side by side, and which is the more general.",
    "compare-spaces": "Compare the spaces of two models: CCA and its relatives.",
    "compare-decoders": "Compare the decoders of two models on matched features.",
    "svcca-audit": "Recompute what the published SVCCA measures.",
    "identify-layers": "Find which layers of LM seeds are alike, by every measure.",
    "stitch-models": "Put activations of one model into another.",
    "feature-maps": "Map and cluster the features of a pair; test words for circles.",
    "feature-coordinates": "Place the features of all linked pairs on their maps.",
    "linked-maps": "Write an offline page with two linked maps of features.",
    "steer-effects": "Steer a model with vectors of contrasts: effect and price.",
    "steer-downstream": "Find which SAE features a steering vector changes, layer by layer.",
    "steer-maps": "Map the positions of a text in SAE features before and after steering.",
    "steer-transfer": "Steer a model with a vector of another.",
    "steer": "Show what a model says with a vector added, and which features change.",
    "decompose-vectors": "Decompose steering vectors into SAE features, and steer with them.",
    "steer-parts": "Steer with parts of vectors, and with SAEs patched in above.",
    "wordnet-words": "Write WordNet's words in their forms, and the names of its synsets.",
    "concept-graph": "Give WordNet's concepts the single tokens of a model that name them.",
    "concept-vectors": "Test the geometry of hierarchical concepts in the unembedding.",
    "concept-layers": "Test it in the activations of single tokens, and against SAE features.",
    "compare-concepts": "Compare the geometry of concepts in two models.",
    "summaries": "Sum up every study in numbers, from its tables.",
    "paper": "Write the paper and its tables, published claims beside ours among them.",
    "overview": "Write a few numbers of every study, and curves, for `dvc exp` and `dvc plots`.",
    "plot-models": "Draw the figures about the language models.",
    "plot-saes": "Draw the figures about the SAEs.",
    "plot-matching": "Draw the figures of the matching study.",
    "plot-similarity": "Draw the figures about the spaces of two models.",
    "plot-steering": "Draw the figures about steering vectors.",
    "plot-hierarchy": "Draw the figures about hierarchical concepts.",
    "explore": "Serve the report, and features on demand, to a browser on this machine.",
    "card": "Print where a number, an SAE, a model or a figure comes from.",
}
"""Subcommand -> help. `sample-corpus` lives in universality/stages/sample_corpus.py."""


class _StageGroup(typer.core.TyperGroup):
    """A command group that imports a stage's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(STAGES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Any:
        if cmd_name not in STAGES:
            return None
        module = importlib.import_module(f"universality.stages.{cmd_name.replace('-', '_')}")
        stage = typer.Typer(add_completion=False, rich_markup_mode=None)
        stage.command(cmd_name, help=STAGES[cmd_name])(module.command)
        return typer.main.get_command(stage)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Stages, in the order of the pipeline"):
            formatter.write_dl(list(STAGES.items()))


app = typer.Typer(
    cls=_StageGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Do different language models learn the same features? Each subcommand is one stage of "
    "the pipeline; `make repro` runs them all in order. `universality STAGE --help` explains one.",
)


@app.callback()
def settle() -> None:
    """Settle this process's logging, threads and memory, before the libraries are imported."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # Libraries must not phone home, and results must not depend on how many cores there are.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if not os.environ.get("UNIVERSALITY_WANDB"):
        os.environ.setdefault("WANDB_MODE", "disabled")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # Our own bars ask for themselves (universality.progress); the libraries' would fill the logs.
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
