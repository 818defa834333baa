"""The parameters of a profile: `python pipeline/overlays.py PROFILE` prints all of them.

A file of profiles/ says only what differs from the file that its key `base` names. Mappings are
laid over each other key by key; lists and single values are replaced. A mapping that is empty or
has the tag `!only` replaces that of the base, too: what it lacks is not there.
"""

import io
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor

from universality.core.errors import InputError
from universality.core.params.base import read_yaml

ROOT = Path(__file__).resolve().parent.parent


class Only(dict[str, Any]):
    """A mapping with the tag `!only`."""


class _Constructor(SafeConstructor):
    pass


_Constructor.add_constructor(
    "!only", lambda loader, node: Only(loader.construct_mapping(node, deep=True))
)


def parameters(profile: Path) -> str:
    """Return the parameters of a profile as text: its `base` with the file laid over it.

    A file without the key `base` is complete and taken as it stands.
    """
    differing = read_yaml(profile, _Constructor)
    if not isinstance(differing, dict) or "base" not in differing:
        return profile.read_text(encoding="utf-8")
    whole = laid_over(read_yaml(profile.parent.parent / differing["base"]), differing)
    del whole["base"]
    yaml, text = YAML(), io.StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(whole, text)
    return f"# {profile.name} laid over its base; written by pipeline/run.py.\n{text.getvalue()}"


def laid_over(base: Any, differing: Any) -> Any:
    """Return `base` with what is `differing`, mapping by mapping."""
    if not isinstance(differing, dict):
        return differing
    replaced = isinstance(differing, Only) or not differing or not isinstance(base, dict)
    below = {} if replaced else base
    return below | {key: laid_over(below.get(key), value) for key, value in differing.items()}


if __name__ == "__main__":
    try:
        sys.stdout.write(parameters(ROOT / "profiles" / f"{sys.argv[1]}.yaml"))
    except InputError as error:
        sys.exit(f"universality: {error}")
