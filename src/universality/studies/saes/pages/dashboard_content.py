"""What a dashboard says: the features it shows with what they write, and how to read it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from universality.core.contexts import Positions
from universality.core.errors import InputError
from universality.core.randomness import generator
from universality.studies.saes.pages.dashboard import Firing, choose_features, firing
from universality.studies.saes.params.dashboards import Dashboard

if TYPE_CHECKING:
    import scipy.sparse as sp

_RESIDUAL = re.compile(r"blocks\.\d+\.(hook_(resid_(pre|mid|post)|mlp_out|attn_out|out)"
                       r"|(mlp|attn)\.hook_out)")  # fmt: skip
_MLP_HIDDEN = re.compile(r"blocks\.(\d+)\.mlp\.(hook_post|out\.hook_in)")


@dataclass(frozen=True)
class Feature:
    """A feature as the page shows it."""

    firing: Firing
    tokens: list[str]
    """Names of `firing.tokens`."""
    top_logits: list[tuple[str, float]]
    bottom_logits: list[tuple[str, float]]
    nearest: list[tuple[int, float]]
    """Other features of the SAE and their decoder cosines."""

    @property
    def label(self) -> str:
        """What the list of features says of it: where it fires most."""
        top = self.firing.top
        return top[0].tokens[top[0].peak][0] if top else "never fires"

    @property
    def search(self) -> str:
        """Text that the search looks through."""
        words = [example.tokens[example.peak][0] for example in self.firing.top]
        words += self.tokens + [token for token, _ in self.top_logits]
        return " ".join([str(self.firing.feature), *dict.fromkeys(words)]).lower()


@dataclass(frozen=True)
class About:
    """What the head of the page says, and what it knows of features that are not on it."""

    title: str
    summary: str
    notes: list[str]
    n_positions: int
    dead: frozenset[int]
    """Features of the SAE that never fire on the text."""
    null_cosine: float
    """Cosine of a random direction and the feature nearest to it."""
    null_logits: tuple[float, float]
    """Top and bottom logit of a random direction; NaN without logits."""


def dashboard(
    activations: "sp.csr_matrix",
    at: Positions,
    decoder: np.ndarray,
    config: Mapping[str, Any],
    bridge: Any,
    tokenizer: Any,
    corpus: str,
    origin: Mapping[str, Any],
    params: Dashboard,
) -> tuple[About, list[Feature]]:
    """Return what the page of an SAE shows.

    `activations` is `(n_rows, d_sae)`, its rows are described by `at`; `decoder` is `(d_sae, d_in)`
    and `config` the SAE's `cfg.json`; `origin` is that of the manifest of the text `corpus`.
    """
    expected = (len(at.token), len(decoder))
    if activations.shape != expected:
        raise InputError(
            f"the activations of {params.sae} have the shape {activations.shape}, expected "
            f"{expected}: the tokens of tokens.parquet and the features of the SAE"
        )
    counts = np.bincount(activations.indices[activations.data > 0], minlength=len(decoder))
    chosen = choose_features(counts / len(at.token), params)
    found = firing(activations.tocsc(), at, chosen, params)
    unit = decoder / np.maximum(np.linalg.norm(decoder, axis=1, keepdims=True), 1e-12)
    random = generator(params.seed, "dashboard null").standard_normal(
        (params.n_null, unit.shape[1])
    )
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    hook = config["metadata"]["hook_name"]
    logits = decoder_logits(bridge, np.concatenate([unit[list(chosen)], random]), hook)
    features = [
        _feature(one, None if logits is None else logits[i], unit, tokenizer, params)
        for i, one in enumerate(found)
    ]
    null = np.full((1, 1), np.nan) if logits is None else logits[len(chosen) :]
    about = About(
        title=f"{params.model}, {params.sae}",
        summary=_summary(counts, at, config, corpus, origin, params),
        notes=[
            *_notes(params, logits is not None),
            f"Text: {corpus}; {', '.join(f'{key} {origin[key]}' for key in sorted(origin))}.",
        ],
        n_positions=len(at.token),
        dead=frozenset(np.flatnonzero(counts == 0).tolist()),
        null_cosine=float(np.median((random @ unit.T).max(1))),
        null_logits=(float(np.median(null.max(1))), float(np.median(null.min(1)))),
    )
    return about, features


def _summary(
    counts: np.ndarray, at: Positions, config: Mapping[str, Any], corpus: str,
    origin: Mapping[str, Any], params: Dashboard,
) -> str:  # fmt: skip
    n, n_documents = len(at.token), len(at.bounds) - 1
    source = origin.get("sampled_from")
    text = f"{corpus} (sampled from {source})" if source else corpus
    return (
        f"Features of a {config['architecture']} SAE at {config['metadata']['hook_name']} of "
        f"{params.model}, {config['d_in']} to {config['d_sae']}. On the text {text}, {n} tokens of "
        f"{n_documents} documents, {counts.sum() / n:.1f} features fire per token and "
        f"{np.mean(counts == 0):.1%} never do."
    )


def _feature(
    found: Firing, logits: np.ndarray | None, unit: np.ndarray, tokenizer: Any, params: Dashboard
) -> Feature:
    top, bottom = [], []
    if logits is not None:
        order = np.argsort(-logits, kind="stable")
        top, bottom = (
            [(token_name(tokenizer, int(i)), float(logits[i])) for i in ids]
            for ids in (order[: params.n_logits], order[: -params.n_logits - 1 : -1])
        )
    tokens = [token_name(tokenizer, use.token) for use in found.tokens]
    return Feature(found, tokens, top, bottom, nearest(unit, found.feature, params.n_nearest))


def token_name(tokenizer: Any, token: int) -> str:
    """Return the text of a token with its leading space; its piece if it is no text by itself.

    Decoders drop the space of a first token, so the token is decoded behind a copy of itself.
    """
    once, twice = tokenizer.decode([token]), tokenizer.decode([token, token])
    text = twice[len(once) :]
    if text and "\ufffd" not in text:
        return text
    return tokenizer.id_to_token(token) or f"[{token}]"


def _notes(params: Dashboard, has_logits: bool) -> list[str]:
    logits = (
        "Logits are the logit lens of the decoder row: the row alone as the residual stream, at "
        "norm √d_model, through the final norm and the unembedding, less the logits of an empty "
        "residual stream and less their mean over the vocabulary. What later layers make of the "
        "feature is left out."
        if has_logits
        else "No logits: the SAE's hook does not write to the residual stream."
    )
    return [
        "Top examples are the highest activations over all tokens, at most one per document. They "
        "flatter a feature. The random examples do not: the tokens on which it fires, ordered by "
        f"activation, are cut into {params.n_intervals} parts of equal size, and from each up to "
        f"{params.n_per_interval} are drawn, one per document.",
        "The framed token is the one that the example is about; the number before it is its "
        "activation. Shading is activation over the feature's highest, for every token shown.",
        "BOS is left out. A feature that never fires on this text says so and has no examples.",
        "Densities have 95% intervals by bootstrap over documents.",
        "Tokens that it fires on: their share of its firing; their share of the text, which is "
        "what a feature that ignores the token would show; and the share of their occurrences on "
        "which it fires.",
        logits,
        "Nearest features are those of the same SAE with the highest decoder cosine. Features "
        "without a link are not on this page.",
        "The last line of these tables is their null: the median over "
        f"{params.n_null} random directions of the top logit, the bottom logit, and the cosine of "
        "the nearest feature.",
        "␣ is a space and ↵ a line end. Bytes that are no character by themselves are shown as the "
        "tokenizer names them.",
    ]


def decoder_logits(bridge: Any, directions: np.ndarray, hook: str) -> np.ndarray | None:
    """Return the logits `(n, vocabulary)` that directions `(n, d_in)` at `hook` add by themselves.

    The logit lens of a decoder row (nostalgebraist 2020): the residual stream is the row alone, at
    norm sqrt(d_model), goes through the final norm and the unembedding, and has the logits of an
    empty residual stream (biases) and its own mean over the vocabulary taken off. MLP neurons are
    first written through their output matrix. Later layers are left out. None if `hook` neither
    lies in the residual stream nor writes to it in a known way.
    """
    import torch

    hidden = _MLP_HIDDEN.fullmatch(hook)
    if not hidden and not _RESIDUAL.fullmatch(hook):
        return None
    with torch.inference_mode():
        x = torch.from_numpy(np.asarray(directions, dtype=np.float32))[None]
        if hidden:
            out = bridge.blocks[int(hidden[1])].mlp.out
            x = out(x) - out(torch.zeros_like(x[:, :1]))
        x = x * (x.shape[-1] ** 0.5 / x.norm(dim=-1, keepdim=True).clamp_min(1e-12))
        empty = torch.zeros_like(x[:, :1])
        logits = bridge.unembed(bridge.ln_final(x)) - bridge.unembed(bridge.ln_final(empty))
        return (logits - logits.mean(-1, keepdim=True))[0].numpy()


def nearest(decoder: np.ndarray, feature: int, n: int) -> list[tuple[int, float]]:
    """Return the `n` features nearest to `feature` by cosine of the unit rows of `decoder`."""
    cosine = decoder @ decoder[feature]
    cosine[feature] = -np.inf
    order = np.argsort(-cosine, kind="stable")[: min(n, len(decoder) - 1)]
    return [(int(other), float(cosine[other])) for other in order]
