"""Share SAEs in the layout that SAELens loads: one folder per SAE, and one model card.

Each folder holds the SAE's `cfg.json` and weights, and its metrics, so that the card can be written
anew from the folders whenever another SAE joins them.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from universality.core.errors import InputError
from universality.core.io import atomic_directory, read_json, write_json, write_text
from universality.sources.snapshot import unreachable
from universality.studies.saes.card import MARK, Published, model_card

CONFIG, WEIGHTS, CARD = "cfg.json", "sae_weights.safetensors", "README.md"
METRICS, CORPUS = "metrics.json", "corpus.json"
OPTIONAL = ("sparsity.safetensors", "runner_cfg.json")
"""What SAELens reads beside the two, if it is there."""


@dataclass(frozen=True)
class Release:
    """An SAE on its way out."""

    source: Path
    name: str
    """Folder in the collection: SAELens' `sae_id`."""
    metrics: Mapping[str, float]
    """Empty if nothing was measured."""
    corpus: Mapping[str, Any]
    """Name and origin of the text that they were measured on; empty if it is not known."""
    licence: str


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration of the SAE in the folder `path`."""
    missing = [name for name in (CONFIG, WEIGHTS) if not (path / name).is_file()]
    if missing:
        raise InputError(f"{path}: not an SAE in SAELens format: it has no {missing[0]}")
    config = read_json(path / CONFIG)
    if not isinstance(config, dict):
        raise InputError(
            f"{path / CONFIG}: expected the configuration of an SAE, found {config!r:.40}"
        )
    return config


def default_name(path: Path) -> str:
    """Return `<model>_<folder>`, which is the SAE's id in metrics/saes.json."""
    model = (read_config(path).get("metadata") or {}).get("model_name")
    folder = path.resolve().name
    return f"{model.split('/')[-1]}_{folder}" if model else folder


def check_sae(path: Path) -> None:
    """Raise InputError unless SAELens opens the SAE in `path` and all its weights are finite."""
    read_config(path)

    from sae_lens import SAE
    from safetensors import SafetensorError

    try:
        sae = SAE.load_from_disk(path, device="cpu")
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: SAELens cannot open it ({reason})") from error
    bad = [name for name, value in sae.state_dict().items() if not value.isfinite().all()]
    if bad:
        raise InputError(f"{path / WEIGHTS}: {bad[0]} holds a NaN or infinite value")


def select_metrics(path: Path, name: str) -> dict[str, float]:
    """Return the metrics of the SAE `name` from a file id -> {metric: value}."""
    metrics = read_json(path)
    if not isinstance(metrics, dict) or name not in metrics:
        known = sorted(metrics) if isinstance(metrics, dict) else []
        listed = ", ".join(known[:8]) + (f", ... ({len(known)} in all)" if len(known) > 8 else "")
        raise InputError(f"{path}: no id {name!r}; there is: {listed or 'nothing'}")
    found = metrics[name]
    numbers = isinstance(found, dict) and all(isinstance(v, int | float) for v in found.values())
    if not numbers:
        raise InputError(f"{path}: {name} is {found!r:.80}, expected metrics and their numbers")
    return found


def to_directory(release: Release, out: Path, repository: str | None = None) -> None:
    """Add the SAE to the collection `out` and write its card anew; the SAE's folder comes whole.

    `repository` is the collection's name on the hub, if it has one.
    """
    card = out / CARD
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, expected a directory")
    if card.exists() and MARK not in card.read_text(encoding="utf-8"):
        raise InputError(f"{card}: was not written by `universality publish`; move it away first")
    with atomic_directory(out / release.name) as folder:
        for name in (CONFIG, WEIGHTS, *OPTIONAL):
            if (release.source / name).is_file():
                shutil.copyfile(release.source / name, folder / name)
        for name, value in ((METRICS, release.metrics), (CORPUS, release.corpus)):
            if value:
                write_json(folder / name, dict(value))
    write_text(card, model_card(published(out), release.licence, repository))


def published(folder: Path) -> list[Published]:
    """Return the SAEs of a collection, by name."""
    found = []
    for config in sorted(folder.glob(f"[!.]*/{CONFIG}")):
        paths = (config.with_name(name) for name in (METRICS, CORPUS))
        known = (read_json(path) if path.exists() else {} for path in paths)
        found.append(Published(config.parent.name, read_json(config), *known))
    return found


def check_hub(repository: str) -> None:
    """Raise InputError if the hub is out of reach: its own client would try for half a minute."""
    reason = unreachable()
    if reason:
        raise InputError(f"hf:{repository}: not published: {reason}")


def to_hub(release: Release, repository: str, private: bool) -> str:
    """Add the SAE and the new card to a model repository, in one commit; return its address.

    The repository is made if there is none. Raises InputError if the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    http_error: Any = HfHubHTTPError.__bases__[0]
    api = HfApi()
    with TemporaryDirectory() as name:
        folder = Path(name)
        try:
            try:
                for file in api.list_repo_files(repository):
                    # All that the card is made of. `snapshot_download` would take an empty folder
                    # for the answer of a hub that fails, and the card would lose the other SAEs.
                    if file == CARD or Path(file).name in (CONFIG, METRICS, CORPUS):
                        api.hf_hub_download(repository, file, local_dir=folder)
            except RepositoryNotFoundError:
                api.create_repo(repository, private=private)
            to_directory(release, folder, repository)
            commit = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                allow_patterns=[CARD, f"{release.name}/*"],
                commit_message=f"Upload SAE {release.name}",
            )
        except (OSError, ValueError, http_error) as error:  # ValueError: front matter
            reason = " ".join(str(error).split())
            raise InputError(f"hf:{repository}: not published: {reason}") from error
    return str(commit.commit_url)
