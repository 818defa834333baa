"""Read one section of params.yaml into its frozen model, or say in one line what is wrong."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from universality.core.errors import InputError

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
"""Ids of models, corpora, SAEs and pairs; they become file names."""


class Section(BaseModel):
    """Base of every section: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


SectionT = TypeVar("SectionT", bound=BaseModel)


def read_yaml(path: Path, constructor: Any = None) -> Any:
    """Read a YAML file, with a `constructor` of ruamel's that knows more tags, if any.

    Errors name the file and the line.
    """
    from ruamel.yaml import YAML, YAMLError

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    safe = YAML(typ="safe")
    safe.Constructor = constructor or safe.Constructor
    try:
        return safe.load(text)
    except YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error


def load_section(path: Path, model: type[SectionT], *keys: str) -> SectionT:
    """Read the section at `keys` (no keys: the whole file) of the YAML file `path`."""
    value = read_yaml(path)
    for depth, key in enumerate(keys):
        if not isinstance(value, dict) or key not in value:
            known = ", ".join(map(str, value)) if isinstance(value, dict) else "nothing"
            name = ".".join(keys[: depth + 1])
            raise InputError(f"{path}: no key {name!r}; there is: {known}")
        value = value[key]
    return validate(model, value, f"{path}: {'.'.join(keys)}".rstrip(": "))


def validate(model: type[SectionT], value: Any, where: str) -> SectionT:
    """Check `value` against `model`; the error names key, value and what is allowed."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InputError(f"{where}: {_describe(model, error)}") from error


def _describe(model: type[BaseModel], error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            allowed = ", ".join(model.model_fields)
            at_top = f"; known keys: {allowed}" if len(item["loc"]) == 1 else ""
            parts.append(f"{key!r} is not a known key{at_top}")
        elif item["type"] == "missing":
            parts.append(f"{key!r} is missing")
        else:
            parts.append(f"{key!r} is {item['input']!r}: {item['msg']}")
    return "; ".join(" ".join(part.split()) for part in parts)
