"""What a clone has to explore: models with SAEs, and the partners of matched pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from universality.core.io import read_json, read_table
from universality.studies.matching.files import SAE_ID, hook_name
from universality.studies.matching.params.matching import Pair

MAKE = "`make repro` makes them (`make pull` gets them, if your lab's remote has them)"
FOLDERS = ("models", "saes", "features", "tables", "dashboards", "cards")
"""Folders of data/ that a start page counts."""


@dataclass(frozen=True)
class Choice:
    """An SAE that can be asked, with the model it reads."""

    model: str
    sae: str
    """Id, such as `l0_mlp_out_seed0`."""
    hook: str
    layer: int
    seed: int
    architecture: str
    d_sae: int

    @property
    def name(self) -> str:
        """Return `model/sae`, as the page and the API call it."""
        return f"{self.model}/{self.sae}"

    @property
    def place(self) -> str:
        """Return the name in words, without the model."""
        site = self.hook.partition(f"blocks.{self.layer}.")[2].removeprefix("hook_")
        return f"layer {self.layer} {site}, seed {self.seed}"


def choices(data: Path) -> dict[str, Choice]:
    """Return the SAEs of `data`/saes whose model is in `data`/models, by name, layers in order."""
    found = []
    for config in data.glob("saes/*/*/cfg.json"):
        folder = config.parent
        named = SAE_ID.fullmatch(folder.name)
        model = folder.parent.name
        if named is None or not (data / "models" / model / "config.json").is_file():
            continue
        about = read_json(config)
        layer, seed = int(named[1]), int(named[3])
        found.append(
            Choice(model, folder.name, hook_name(folder), layer, seed, about["architecture"],
                   about["d_sae"])
        )  # fmt: skip
    found.sort(key=lambda choice: (choice.model, choice.seed, choice.layer, choice.sae))
    return {choice.name: choice for choice in found}


def first_pair(
    known: Mapping[str, Choice], pairs: Mapping[str, Pair], a: str | None, b: str | None
) -> tuple[str, str]:
    """Return the names of A and B that a page starts with.

    They are of the models `a` and `b` if given (which `known` must have), else of the first of
    `pairs` that is there.
    """

    def first(model: str, seed: int | None = None) -> str | None:
        fitting = (name for name, one in known.items() if one.model == model)
        return next((n for n in fitting if seed is None or known[n].seed == seed), None)

    if a is None and b is None:
        for pair in pairs.values():
            one, two = first(pair.a, pair.a_seed), first(pair.b, pair.b_seed)
            if one and two:
                return one, two
    models = list(dict.fromkeys(choice.model for choice in known.values()))
    one = a or next(model for model in models if model != b or len(models) == 1)
    two = b or next(model for model in models if model != one or len(models) == 1)
    return first(one) or "", first(two) or ""


@dataclass(frozen=True)
class Partners:
    """The best partners of one SAE's features in another SAE; arrays are `(d_sae,)`."""

    partner: np.ndarray
    """-1 where there is none: features that fire too rarely are not matched."""
    r: np.ndarray
    """Pearson correlation over the positions that both models share."""
    null_r: np.ndarray | None
    """r of the best match when B's positions are shifted; None where the table has no null."""
    mutual: np.ndarray
    """Whether each is the other's best partner."""
    count: np.ndarray
    """Positions that both models share on which each feature fires."""

    def fit(self, n_firing: np.ndarray) -> bool:
        """Return whether these can be partners of an SAE whose features fire `n_firing` times.

        `(d_sae,)`, on all positions, so nowhere less often than on the shared ones. Of another
        training of the SAE, whose features have other numbers, about every second fires less often.
        """
        return bool((self.count <= n_firing).all())


@dataclass(frozen=True)
class Matched:
    """The two directions of a matched pair of SAEs."""

    pair: str
    """Key of `pairs`."""
    a: Partners
    b: Partners


def matched(
    pairs: Mapping[str, Pair],
    tables: Path,
    a: Choice,
    b: Choice,
    n_firing: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
) -> tuple[Matched | None, str]:
    """Return the partners of `a` and `b` from `tables`, which has one folder a pair.

    If there are none, the text says why. The roles of A and B may be exchanged. `n_firing` are the
    positions on which each feature fires, `(d_sae,)`, where that is known: published tables may lie
    beside SAEs that were trained here.
    """
    sides = (a.model, a.seed), (b.model, b.seed)
    for key, pair in pairs.items():
        named = (pair.a, pair.a_seed), (pair.b, pair.b_seed)
        if sides not in (named, named[::-1]):
            continue
        if not (tables / key / "features.parquet").is_file():
            return None, (
                f"no tables of the pair {key}; `make repro` makes them, "
                "`make pull STUDY=matching` gets the published ones"
            )
        one, two = (a, b) if sides == named else (b, a)
        both = _partners(tables / key, one, two)
        if both is None:
            return None, f"the tables of the pair {key} are not of these SAEs"
        both = both if sides == named else both[::-1]
        for partners, n in zip(both, n_firing, strict=True):
            if n is not None and not partners.fit(n):
                return None, (
                    f"the tables of the pair {key} are of another training of these SAEs; "
                    "`make repro` makes them anew"
                )
        return Matched(key, *both), ""
    return None, "`pairs` of params.yaml does not match these two SAEs"


def _partners(folder: Path, a: Choice, b: Choice) -> tuple[Partners, Partners] | None:
    forward, backward = (
        _of_layers(read_table(folder / f"{name}.parquet"), a.layer, b.layer, feature)
        for name, feature in (("features", "feature_a"), ("backward", "feature_b"))
    )
    if (len(forward), len(backward)) != (a.d_sae, b.d_sae):
        return None
    back = backward["partner"].to_numpy()
    there = forward["partner"].to_numpy()
    returns = (back >= 0) & (there[np.maximum(back, 0)] == np.arange(len(back)))
    return (
        Partners(there, forward["r"].to_numpy(), forward["null_r"].to_numpy(),
                 forward["mutual"].to_numpy(), forward["count_a"].to_numpy()),
        Partners(back, backward["r"].to_numpy(), None, returns, backward["count_b"].to_numpy()),
    )  # fmt: skip


def _of_layers(table: pd.DataFrame, layer_a: int, layer_b: int, feature: str) -> pd.DataFrame:
    """Return the rows of two layers, ordered by the column `feature`."""
    return table.query("layer_a == @layer_a and layer_b == @layer_b").sort_values(by=feature)


def inventory(root: Path) -> dict[str, list[str]]:
    """Return what is in each of `FOLDERS` of `root`/data, by name; hidden files are left out."""
    return {
        name: sorted(path.name for path in (root / "data" / name).glob("*") if path.name[0] != ".")
        for name in FOLDERS
    }
