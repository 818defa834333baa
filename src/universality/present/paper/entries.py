"""Entries of the paper that are written by hand, in YAML: claims and findings."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from universality.core.errors import InputError
from universality.core.io import table_paths
from universality.core.params.base import read_yaml

Entry = TypeVar("Entry", bound=BaseModel)


def read_entries(folder: Path, model: type[Entry]) -> dict[str, Entry]:
    """Return the entries of `folder`, one YAML file a study, by their id, each as `model`.

    A model with a field `study` gets the name of the file there. Raises `InputError` that names the
    entry and the key if one is wrong or there twice.
    """
    entries: dict[str, Entry] = {}
    for path in table_paths(folder, "*.yaml"):
        study = {"study": path.stem} if "study" in model.model_fields else {}
        for name, fields in read_yaml(path).items():
            if name in entries:
                raise InputError(f"{path}: {name} is there twice")
            try:
                entries[name] = model.model_validate(study | fields)
            except ValidationError as error:
                first = error.errors()[0]
                key = ".".join(str(part) for part in (name, *first["loc"]))
                raise InputError(f"{path}: {key}: {first['msg']}") from None
    return entries
