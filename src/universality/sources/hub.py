"""Models of the Hugging Face hub, at a pinned revision."""

import shutil
from fnmatch import fnmatch
from pathlib import Path

from universality.core.errors import InputError
from universality.core.io import atomic_directory
from universality.core.params.models import HubModel
from universality.sources.fetch import sha256_of
from universality.sources.snapshot import snapshot

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
"""Weights are read as safetensors, and code never; see `_convert` for the one exception."""
PYTORCH_FILE = "pytorch_model.bin"


def copy_model(model: HubModel, out: Path) -> None:
    """Write a model as a Hugging Face directory with safetensors, `out`."""
    pinned = model.pytorch_model_sha256
    weights = (PYTORCH_FILE,) if pinned else WEIGHT_FILES
    wanted = ("config.json", *weights)
    where = f"hub model {model.repo} at {model.revision}"
    if model.tokenizer_revision:
        tokenizer_where = f"hub model {model.repo} at {model.tokenizer_revision}"
        files = _files(model.repo, model.revision, wanted, where)
        files |= _files(model.repo, model.tokenizer_revision, TOKENIZER_FILES, tokenizer_where)
    else:
        files = _files(model.repo, model.revision, (*wanted, *TOKENIZER_FILES), where)
    has_weights = any(fnmatch(name, weights[0]) for name in files)
    if not has_weights or not {"config.json", "tokenizer_config.json"} <= files.keys():
        raise InputError(
            f"{where}: it has {', '.join(sorted(files)) or 'none'} of the files that are read; "
            "needed are config.json, tokenizer_config.json (tokenizer_revision names another "
            f"commit for it) and weights as {PYTORCH_FILE if pinned else 'safetensors'}"
        )
    with atomic_directory(out) as directory:
        for name in sorted(files.keys() - {PYTORCH_FILE}):
            shutil.copyfile(files[name], directory / name)
        if pinned:
            _convert(files[PYTORCH_FILE], pinned, directory / "model.safetensors", where)


def _files(repo: str, revision: str, patterns: tuple[str, ...], where: str) -> dict[str, Path]:
    """Return name -> path of the files at the top of a model that match; a cache may hold more."""
    folder = snapshot(repo, revision, patterns, where)
    files = (path for path in folder.iterdir() if path.is_file())
    return {p.name: p for p in files if any(fnmatch(p.name, pattern) for pattern in patterns)}


def _convert(file: Path, sha256: str, out: Path, where: str) -> None:
    """Convert the `pytorch_model.bin` with this hash to safetensors.

    It is a pickle, which is why it must be asked for with its hash. `weights_only` makes torch
    build tensors and containers from it and nothing else.
    """
    import pickle

    import torch
    from safetensors.torch import save_file

    found = sha256_of(file)
    if found != sha256:
        raise InputError(
            f"{where}: SHA-256 of {file.name} is {found}, pytorch_model_sha256 is {sha256}"
        )
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{where}: {file.name} is not read as tensors alone: {first}") from error
    if not isinstance(tensors, dict) or not all(map(torch.is_tensor, tensors.values())):
        raise InputError(f"{where}: {file.name} is not a table of tensors")
    # Copied one by one: safetensors takes no two names of one memory (tied embeddings).
    form = torch.contiguous_format
    copies = {name: tensor.clone(memory_format=form) for name, tensor in tensors.items()}
    save_file(copies, out, {"format": "pt"})
