"""Whether SAEs sit where they were trained: the variance they explain there and beside it.

Names of hooks differ by one between libraries (Lan et al. 2024 took activations from
`hidden_states[i]`, whose first entry is the embedding, for the SAE of layer i), and a wrong hook
still gives features, so that nothing else would tell.
"""

import re
from typing import TYPE_CHECKING, Any

import torch

from universality.core.activations import collect
from universality.core.corpora import Tokens
from universality.core.randomness import generator
from universality.core.stats import ratio_interval
from universality.studies.saes.evaluation import Reconstruction
from universality.studies.saes.params.hub_saes import SaeHooks

if TYPE_CHECKING:
    import pandas as pd

_STREAM = ("hook_resid_pre", "hook_resid_post")
_ADDED = ("hook_mlp_out", "hook_attn_out")
"""What is added to the residual stream."""


def neighbouring_hooks(hook: str, n_layers: int) -> list[str]:
    """Return the hooks that `hook` may be confused with, in a model of `n_layers`.

    The same site one layer lower and higher; for the residual stream also what the MLP before it
    added, for the output of an MLP or of attention also the stream around its block. Never the same
    place under another name: the stream after a block is the stream before the next.
    """
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)", hook)
    if not found:
        raise ValueError(f"{hook!r} is no hook of a block")
    layer, site = int(found[1]), found[2]
    if site in _STREAM:
        point = layer + (site == "hook_resid_post")
        points = [p for p in (point - 1, point + 1) if 0 <= p <= n_layers]
        added = [f"blocks.{point - 1}.hook_mlp_out"] if point > 0 else []
        return [_stream(p, site, n_layers) for p in points] + added
    layers = [n for n in (layer - 1, layer + 1) if 0 <= n < n_layers]
    around = [f"blocks.{layer}.{stream}" for stream in _STREAM] if site in _ADDED else []
    return [f"blocks.{n}.{site}" for n in layers] + around


def _stream(point: int, site: str, n_layers: int) -> str:
    """Return the residual stream before block `point`, as `site` if that name exists there."""
    after = site == "hook_resid_post"
    if point == (0 if after else n_layers):
        after = not after
    return f"blocks.{point - 1}.hook_resid_post" if after else f"blocks.{point}.hook_resid_pre"


@torch.inference_mode()
def hook_table(
    bridge: Any, tokens: Tokens, saes: dict[str, tuple[str, Any]], centred: bool, params: SaeHooks
) -> "pd.DataFrame":
    """Measure `saes` (id -> (hook, SAE)) at their own hooks and at the neighbouring ones.

    One row per SAE and hook: sae, hook (its own), measured_at, own, explained_variance and l0, both
    with 95% intervals over documents (`_low`, `_high`), n_positions, n_documents. The explained
    variance is 1 - squared error / squared distance to the mean; special tokens are left out. With
    `centred`, activations lose their mean over dimensions first.
    """
    import pandas as pd

    places = {
        name: [hook, *neighbouring_hooks(hook, bridge.cfg.n_layers)]
        for name, (hook, _) in saes.items()
    }
    sums = {
        (name, place): Reconstruction(saes[name][1], tokens.n_documents)
        for name in saes
        for place in places[name]
    }
    hooks = list(dict.fromkeys(place for _, place in sums))
    for part in collect(bridge, tokens, hooks, params.batch_tokens, mask_special=True):
        for (_, place), reconstruction in sums.items():
            x = part.activations[place]
            reconstruction.add(part.document, x - x.mean(1, keepdim=True) if centred else x)
    rows = []
    for (name, place), found in sums.items():
        ratios = {
            "explained_variance": (found.variance - found.residual, found.variance),
            "l0": (found.active, found.count),
        }
        random = generator(params.seed, "hooks", name, place)
        hook = saes[name][0]
        row: dict[str, Any] = {
            "sae": name,
            "hook": hook,
            "measured_at": place,
            "own": place == hook,
        }
        for metric, (above, below) in ratios.items():
            row[metric] = float(above.sum() / below.sum())
            interval = ratio_interval(above, below, params.n_bootstrap, random)
            row[f"{metric}_low"], row[f"{metric}_high"] = interval
        row["n_positions"] = int(found.count.sum())
        row["n_documents"] = tokens.n_documents
        rows.append(row)
    return pd.DataFrame(rows)


def misplaced(table: "pd.DataFrame", minimum: float) -> list[str]:
    """Say of each SAE of a `hook_table` why it does not sit where it was trained, if so.

    It explains less than `minimum` of the variance at its own hook, or more at another.
    """
    found = []
    for name, rows in table.groupby("sae", sort=False):
        own: Any = rows[rows["own"]].iloc[0]
        best: Any = rows.loc[rows["explained_variance"].idxmax()]
        value = own["explained_variance"]
        too_little, elsewhere = value < minimum, not best["own"]
        if too_little or elsewhere:
            said = f"{name} explains {value:.3f} of the variance at its hook {own['hook']}"
            said += f", less than {minimum:g}" if too_little else ""
            better = f", and {best['explained_variance']:.3f} at {best['measured_at']}"
            found.append(said + (better if elsewhere else ""))
    return found
