"""Files of one commit of a model or dataset, from the Hugging Face hub or its local cache."""

from pathlib import Path
from typing import Any, Literal

import requests

from universality.core.errors import InputError
from universality.sources.http import CONNECT_SECONDS


def snapshot(
    repo: str,
    revision: str,
    patterns: tuple[str, ...],
    where: str,
    repo_type: Literal["model", "dataset"] = "model",
) -> Path:
    """Return a folder with the files of a commit, downloaded or, out of reach, from the cache.

    The folder is named by the commit, whatever `revision` calls it. `patterns` without a slash mean
    files at the top of a model. Raises InputError, beginning with `where`.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    # Its first base is HTTPError of the HTTP library in use, which depends on the hub's version.
    http_error: Any = HfHubHTTPError.__bases__[0]
    reason = unreachable()
    at_top = repo_type == "model" and not any("/" in pattern for pattern in patterns)
    try:
        folder = snapshot_download(
            repo,
            repo_type=repo_type,
            revision=revision,
            allow_patterns=list(patterns),
            ignore_patterns=["*/*"] if at_top else None,
            local_files_only=reason is not None,
        )
    except (OSError, http_error) as error:
        said = " ".join(str(error).split())
        if reason:
            said = f"it is not in the local cache, and {reason}"
        raise InputError(f"{where}: not available: {said}") from error
    return Path(folder)


def unreachable() -> str | None:
    """Say why the hub is out of reach, if it is: its own client would try for half a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        requests.head(constants.ENDPOINT, timeout=CONNECT_SECONDS)
    except requests.RequestException:
        return f"{constants.ENDPOINT} cannot be reached"
    return None
