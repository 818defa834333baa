"""Models of the Hugging Face hub, at a pinned revision."""

import shutil
from pathlib import Path
from typing import Any

import requests

from universality.errors import InputError
from universality.io import atomic_directory
from universality.params.models import HubModel
from universality.sources.http import CONNECT_SECONDS

FILES = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)
"""What is downloaded: weights as safetensors only (never pickle), and no code."""


def copy_model(model: HubModel, out: Path) -> None:
    """Copy a model to the directory `out`, from the hub or, out of its reach, its local cache."""
    where = f"hub model {model.repo} at {model.revision}"
    snapshot = _snapshot(model, where)
    files = sorted(path for path in snapshot.iterdir() if path.is_file())
    names = {file.name for file in files}
    has_weights = any(name.endswith(".safetensors") for name in names)
    if not has_weights or not {"config.json", "tokenizer_config.json"} <= names:
        raise InputError(
            f"{where}: it has {', '.join(sorted(names)) or 'none'} of the files that are read; "
            "needed are config.json, tokenizer_config.json and weights as safetensors"
        )
    with atomic_directory(out) as directory:
        for file in files:
            shutil.copyfile(file, directory / file.name)


def _snapshot(model: HubModel, where: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    # Its first base is HTTPError of the HTTP library in use, which depends on the hub's version.
    http_error: Any = HfHubHTTPError.__bases__[0]
    unreachable = _unreachable()
    try:
        snapshot = snapshot_download(
            model.repo,
            revision=model.revision,
            allow_patterns=list(FILES),
            ignore_patterns=["*/*"],
            local_files_only=unreachable is not None,
        )
    except (OSError, http_error) as error:
        reason = " ".join(str(error).split())
        if unreachable:
            reason = f"it is not in the local cache, and {unreachable}"
        raise InputError(f"{where}: not available: {reason}") from error
    return Path(snapshot)


def _unreachable() -> str | None:
    """Say why the hub is out of reach, if it is: its own client would try for half a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        requests.head(constants.ENDPOINT, timeout=CONNECT_SECONDS)
    except requests.RequestException:
        return f"{constants.ENDPOINT} cannot be reached"
    return None
