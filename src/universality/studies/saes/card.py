"""The model card of a collection of SAEs: what they are, how good, how to load them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MARK = "<!-- written by `universality publish`, which writes it anew for every SAE that it adds -->"
TAGS = ["saelens", "sparse-autoencoder", "mechanistic-interpretability"]
HEADLINES = {
    "l0": "L0",
    "explained_variance": "explained variance",
    "ce_loss_recovered": "CE recovered",
    "ce_difference": "CE with SAE − CE",
    "dead_fraction": "dead features",
    "n_positions": "tokens",
}
"""Metric -> heading of the table of all SAEs."""
_SUFFIXES = ("low", "high", "null", "p")


@dataclass(frozen=True)
class Published:
    """An SAE of a collection."""

    name: str
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    corpus: Mapping[str, Any]
    """Name and origin of the text of the metrics; empty if it is not known."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What SAELens wrote down of the training."""
        return self.config.get("metadata") or {}


def model_card(saes: Sequence[Published], licence: str, repository: str | None) -> str:
    """Return the card, with the front matter that the hub reads."""
    from huggingface_hub import ModelCardData

    models = sorted({str(sae.metadata.get("model_name") or "unknown") for sae in saes})
    on_hub = [model for model in models if "/" in model]
    data = ModelCardData(
        library_name="saelens", license=licence, tags=TAGS, base_model=on_hub or None
    )
    parts = [
        f"---\n{data.to_yaml()}\n---",
        MARK,
        f"# Sparse autoencoders of {', '.join(models)}",
        _loading(saes, repository),
        "## How good they are",
        _headlines(saes),
        "In brackets: 95% intervals by bootstrap over documents. CE is the model's cross-entropy "
        "in nats per token; recovered is (CE with zero ablation − CE with SAE) / (CE with zero "
        "ablation − CE). A feature is dead if it fires on none of the tokens. All numbers are on "
        "validation text, special tokens left out.",
        *(_details(sae) for sae in saes),
    ]
    return "\n\n".join(parts) + "\n"


def _loading(saes: Sequence[Published], repository: str | None) -> str:
    name = saes[0].name
    where = repository or "OWNER/REPOSITORY"
    return (
        "## How to load one\n\n```python\nfrom sae_lens import SAE\n\n"
        f'sae = SAE.from_pretrained("{where}", "{name}")  # from the Hugging Face hub\n'
        f'sae = SAE.load_from_disk("{name}")  # from a local copy of this folder\n```\n\n'
        "`sae.encode` takes the activations of the hook, as TransformerLens names it, shape "
        "`(..., d_in)`."
    )


def _headlines(saes: Sequence[Published]) -> str:
    shown = {key: title for key, title in HEADLINES.items() if any(key in s.metrics for s in saes)}
    rows = []
    for sae in saes:
        width = f"{sae.config.get('d_in', '?')} → {sae.config.get('d_sae', '?')}"
        row = [f"`{sae.name}`", f"`{sae.metadata.get('hook_name')}`", _architecture(sae), width]
        rows.append([*row, *(_with_interval(sae.metrics, key) for key in shown)])
    return _table(["SAE", "hook", "architecture", "width", *shown.values()], rows)


def _architecture(sae: Published) -> str:
    trained = sae.metadata.get("training_architecture")
    architecture = str(sae.config.get("architecture"))
    return (
        f"{architecture} (trained as {trained})"
        if trained not in (None, architecture)
        else architecture
    )


def _with_interval(metrics: Mapping[str, float], key: str) -> str:
    if key not in metrics:
        return "not measured"
    interval = _interval(metrics, key)
    return f"{_number(metrics[key])} {interval}".rstrip()


def _interval(metrics: Mapping[str, float], key: str) -> str:
    low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
    return "" if low is None or high is None else f"[{_number(low)}, {_number(high)}]"


def _details(sae: Published) -> str:
    config = json.dumps(dict(sae.config), indent=1, sort_keys=True)
    parts = [f"## {sae.name}", f"```json\n{config}\n```"]
    keys = [key for key in sorted(sae.metrics) if not _belongs_to_another(key, sae.metrics)]
    if not keys:
        return "\n\n".join([*parts, "Nothing was measured of this SAE."])
    rows = [
        [
            f"`{key}`",
            _number(sae.metrics[key]),
            _interval(sae.metrics, key),
            *(_number(sae.metrics.get(f"{key}_{name}")) for name in ("null", "p")),
        ]
        for key in keys
    ]
    if sae.corpus:
        origin = ", ".join(f"{key} {value}" for key, value in sorted(sae.corpus["origin"].items()))
        parts.append(f"Measured on validation text of `{sae.corpus['name']}`: {origin}.")
    return "\n\n".join([*parts, _table(["metric", "value", "95% interval", "null", "p"], rows)])


def _belongs_to_another(key: str, metrics: Mapping[str, float]) -> bool:
    stem, _, suffix = key.rpartition("_")
    return suffix in _SUFFIXES and stem in metrics


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
