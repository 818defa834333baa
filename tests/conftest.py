"""Real artifacts and models, shared by all tests.

Artifacts come as they do for users: from UNIVERSALITY_MIRROR or the public places. They are kept
in the user's cache directory, so that only the first run downloads.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from repetitions import times
from universality.core.errors import InputError
from universality.core.params.base import load_section
from universality.sources.catalogue import Artifact, HubPlace
from universality.sources.fetch import MIRROR_VARIABLE, cache_directory, fetch, sha256_of

ROOT = Path(__file__).resolve().parents[1]
FIRST = (
    "pipeline/test_smoke.py",
    "unit/test_hierarchy_study.py",
    "unit/test_matching.py",
    "unit/test_saes.py",
    "unit/test_gguf.py",
    "unit/test_decomposition.py",
    "browser/test_feature_map_page.py",
    "browser/test_explorer_page.py",
    "browser/test_api.py",
    "unit/test_explorer.py",
    "unit/test_hierarchy.py",
    "unit/test_pretrained.py",
    "unit/test_tinystories.py",
    "unit/test_llama2c.py",
    "unit/test_error_study.py",
    "unit/test_machine.py",
    "unit/test_geometry.py",
    "unit/test_quick_dvc.py",
    "unit/test_forks.py",
    "unit/test_matching_figures.py",
    "unit/test_similarity_study.py",
    "unit/test_similarity.py",
    "unit/test_movement.py",
    "unit/test_steering_stages.py",
    "unit/test_toy.py",
    "pipeline/test_faults.py",
    "pipeline/test_slurm.py",
    "pipeline/test_remotes.py",
    "pipeline/test_experiments.py",
    "pipeline/test_pins.py",
    "pipeline/test_figures.py",
    "pipeline/test_release.py",
    "pipeline/test_identity.py",
    "pipeline/test_notebook.py",
)
"""Files in the order in which they start; all others follow.

The first makes both runs of the pipeline. The others that need one come five minutes later, so that
no process waits for them, and the short files come last, so that all processes end together.
"""
SOURCES = ROOT / "data" / "sources.yaml"


settings.register_profile("here", max_examples=times(30, 100))
settings.load_profile("here")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of `FIRST` first; with `--dist loadfile` a free process takes the next file."""
    place = {ROOT / "tests" / name: index for index, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


_neighbour = ROOT.parent / "shared" / "mirror"
if _neighbour.is_dir():
    os.environ.setdefault(MIRROR_VARIABLE, str(_neighbour))


@pytest.fixture(scope="session")
def artifact() -> Callable[[str], Path]:
    """Return a function from an artifact's id to its file; skips where only the hub has it."""

    def get(name: str) -> Path:
        entry = load_section(SOURCES, Artifact, name)
        path = cache_directory() / "tests" / entry.sha256
        if path.exists() and sha256_of(path) == entry.sha256:
            return path
        try:
            fetch(name, entry, path)
        except InputError as error:
            if all(isinstance(place, HubPlace) for place in entry.places):
                pytest.skip(str(error))
            raise
        return path

    return get


def _convert_llama2c(weights: Path, tokenizer: Path, out: Path) -> Path:
    from universality.studies.models.stages.convert_llama2c import command

    command(weights=weights, tokenizer=tokenizer, out=out)
    return out


@pytest.fixture(scope="session")
def stories15m_dir(
    artifact: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The converted stories15m: TinyStories, 6 layers, Llama tokenizer."""
    out = tmp_path_factory.mktemp("models") / "stories15m"
    return _convert_llama2c(artifact("stories15m_weights"), artifact("llama_tokenizer"), out)


@pytest.fixture(scope="session")
def stories260k_dir(
    artifact: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The converted stories260k: grouped-query attention, tokenizer of 512 tokens."""
    out = tmp_path_factory.mktemp("models") / "stories260k"
    return _convert_llama2c(artifact("stories260k_weights"), artifact("tok512"), out)


@pytest.fixture(scope="session")
def smollm2_dir(artifact: Callable[[str], Path]) -> Path:
    """The converted SmolLM2; it is large, so the newest conversion stays in the user's cache."""
    from universality.studies.models.stages.convert_gguf import command

    file = artifact("smollm2_gguf")
    package = ROOT / "src" / "universality"
    sources = ("sources/gguf.py", "studies/models/stages/convert_gguf.py", "core/io.py")
    parts = [file.name, version("transformers"), version("gguf")]
    parts += [sha256_of(package / name) for name in sources]
    key = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
    out = cache_directory() / "tests" / f"smollm2-{key}"
    with FileLock(out.parent / "smollm2.lock"):
        if not out.exists():
            for outdated in out.parent.glob("smollm2-*"):
                shutil.rmtree(outdated, ignore_errors=True)
            command(file=file, out=out)
    return out
