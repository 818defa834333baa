"""SAEs of the Hugging Face hub, at a pinned revision, converted to SAELens' present format."""

import re
from pathlib import Path
from typing import Any

from universality.core.errors import InputError
from universality.core.hooks import sae_id
from universality.core.io import atomic_directory, read_json
from universality.sources.snapshot import snapshot
from universality.studies.saes.params.hub_saes import HubSae, HubSaes

WEIGHTS = {"saelens": "sae_weights.safetensors", "sparsify": "sae.safetensors"}
"""Format -> the file beside cfg.json."""
_MODULES = {"": "hook_resid_post", ".mlp": "hook_mlp_out", ".attention": "hook_attn_out"}
_UNLIKE_SAE = {
    "transcode": "is a transcoder",
    "skip_connection": "has a skip connection",
    "signed": "keeps negative activations",
}
"""Switches of sparsify's cfg.json that make something else than SAELens' TopK SAE."""


def copy_saes(wanted: HubSaes, model: str, out: Path) -> None:
    """Write the SAEs of `model` as `out`/<id of hook and seed>, in float32.

    cfg.json says in its metadata from which commit and folder each comes. Raises InputError if the
    repository lacks a file, if a file says another hook, or if it is no SAE that SAELens opens.
    """
    where = f"hub SAEs {wanted.repo} at {wanted.revision}"
    files = [
        f"{one.folder}/{name}" for one in wanted.saes for name in ("cfg.json", _weights(wanted))
    ]
    source = snapshot(wanted.repo, wanted.revision, tuple(files), where)
    missing = [file for file in files if not (source / file).is_file()]
    if missing:
        raise InputError(f"{where}: it has no {missing[0]}")
    with atomic_directory(out) as directory:
        for one in wanted.saes:
            sae = _open(source / one.folder, wanted, f"{where}, {one.folder}")
            _check_hook(sae, one, f"{where}, {one.folder}")
            _fold_scaling(sae, one, f"{where}, {one.folder}")
            if wanted.centred:
                fold_centring(sae)
            sae.cfg.metadata.model_name = model
            sae.cfg.metadata.hub_repo = wanted.repo
            sae.cfg.metadata.hub_commit = source.name
            sae.cfg.metadata.hub_folder = one.folder
            sae.save_model(directory / sae_id(one.hook, wanted.seed))


def sparsify_hook(folder: str) -> str:
    """Return the hook of a sparsify folder, the path of the module whose *output* it encodes.

    `layers.3` is the residual stream after block 3, `layers.3.mlp` the output of its MLP. Raises
    InputError for others: `layer_3`, of the first weeks of sparsify, counted from the embedding,
    so that the same SAE was later renamed to `layers.2`.
    """
    found = re.fullmatch(r"layers\.(\d+)(\.mlp|\.attention)?", folder.split("/")[-1])
    if not found:
        raise InputError(
            f"{folder!r} names no hook; expected layers.N, layers.N.mlp or layers.N.attention"
        )
    return f"blocks.{found[1]}.{_MODULES[found[2] or '']}"


def read_sparsify(
    path: str | Path, device: str, cfg_overrides: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return configuration and weights of a sparsify folder as SAELens' TopK SAE has them.

    A converter for `SAE.load_from_disk`. Not SAELens' own (6.54), which transposes the decoder,
    takes `layers.N.mlp` for the residual stream, and subtracts the decoder's bias from the input
    only if decoder rows were *not* normalised; sparsify always does.
    """
    import sae_lens
    from sae_lens.loading.pretrained_sae_loaders import load_safetensors_weights

    folder = Path(path)
    config = read_json(folder / "cfg.json")
    odd = [what for key, what in _UNLIKE_SAE.items() if config.get(key)]
    if config.get("activation", "topk") != "topk":
        odd.append(f"has activation {config['activation']!r}")
    if odd:
        raise InputError(f"it {odd[0]}; only TopK SAEs are read")
    weights = load_safetensors_weights(folder / WEIGHTS["sparsify"], device, "float32")
    cfg = {
        "architecture": "topk",
        "k": config["k"],
        "d_in": config["d_in"],
        # 0 and nothing mean the same.
        "d_sae": config.get("num_latents") or config["d_in"] * config["expansion_factor"],
        "dtype": "float32",
        "device": device,
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "metadata": {
            "sae_lens_version": sae_lens.__version__,
            "hook_name": sparsify_hook(folder.name),
        },
        **(cfg_overrides or {}),
    }
    state = {
        "W_enc": weights["encoder.weight"].T.contiguous(),
        "b_enc": weights["encoder.bias"],
        "W_dec": weights["W_dec"],
        "b_dec": weights["b_dec"],
    }
    return cfg, state


def fold_centring(sae: Any) -> None:
    """Change the encoder so that it takes the mean over dimensions out of its input, in place.

    For models with layer norm, where that mean changes nothing else: an SAE trained on a model
    whose writing weights were centred then fires on the model as it is. What it reconstructs stays
    the centred activation.
    """
    import torch

    with torch.no_grad():
        if sae.cfg.apply_b_dec_to_input:
            # (Px - b) W = (x - b) PW - (b - Pb) W, where P takes the mean out.
            sae.b_enc -= sae.b_dec.mean() * sae.W_enc.sum(0)
        sae.W_enc -= sae.W_enc.mean(0)


def _weights(wanted: HubSaes) -> str:
    return WEIGHTS[wanted.format]


def _open(folder: Path, wanted: HubSaes, where: str) -> Any:
    from sae_lens import SAE
    from safetensors import SafetensorError

    converter: dict[str, Any] = {"converter": read_sparsify} if wanted.format == "sparsify" else {}
    try:
        return SAE.load_from_disk(folder, device="cpu", dtype="float32", **converter)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        SafetensorError,
    ) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{where}: cannot be opened as {wanted.format} ({reason})") from error


def _check_hook(sae: Any, one: HubSae, where: str) -> None:
    said = sae.cfg.metadata.hook_name
    if said != one.hook:
        raise InputError(f"{where}: its files say hook {said}, the parameters {one.hook}")


def _fold_scaling(sae: Any, one: HubSae, where: str) -> None:
    """Make the SAE take activations as they are, if it was trained on scaled ones."""
    scaled = sae.cfg.normalize_activations == "expected_average_only_in"
    if scaled != (one.norm_scaling_factor is not None):
        found = sae.cfg.normalize_activations
        raise InputError(
            f"{where}: its cfg.json has normalize_activations {found!r}, and norm_scaling_factor "
            f"is {one.norm_scaling_factor}; one needs the other"
        )
    if one.norm_scaling_factor is not None:
        sae.fold_activation_norm_scaling_factor(one.norm_scaling_factor)
