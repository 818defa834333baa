"""Text from datasets of the Hugging Face hub, or from a local folder in the same format."""

from itertools import islice
from pathlib import Path

from universality.core.errors import InputError
from universality.core.params.corpora import HubCorpus
from universality.sources.snapshot import snapshot, unreachable


def stream_texts(section: HubCorpus, split: str, n_documents: int) -> list[str]:
    """Return the first `n_documents` non-empty texts of a split, without loading the rest.

    Where the hub is out of reach, they come from its local cache, if that has the parquet files of
    the same revision.
    """
    from datasets import load_dataset

    where = f"dataset {section.path!r} (revision {section.revision}), split {split!r}"
    path, revision = _place(section, where)
    try:
        dataset = load_dataset(path, split=split, revision=revision, streaming=True)
        columns = dataset.column_names or [section.text_column]
        if section.text_column not in columns:
            raise InputError(
                f"{where}: no column {section.text_column!r}; there is: {', '.join(columns)}"
            )
        texts = (row[section.text_column].strip() for row in dataset)
        found = list(islice((text for text in texts if text), n_documents))
    except (OSError, ValueError) as error:
        # `datasets` reports an unreachable hub, an unknown name and an unknown split as these two.
        reason = " ".join(str(error).split())
        raise InputError(f"{where}: cannot be read ({reason})") from error
    if len(found) < n_documents:
        raise InputError(f"{where}: {len(found)} documents, {n_documents} are wanted")
    return found


def _place(section: HubCorpus, where: str) -> tuple[str, str | None]:
    """Return path and revision for `load_dataset`, which knows nothing of revisions offline.

    It would take whatever revision it has cached last, and say so in a warning only.
    """
    if Path(section.path).is_dir():
        return section.path, None
    if section.revision is None:
        raise InputError(f"{where}: no such folder, and a dataset of the hub needs a revision")
    if not unreachable():
        return section.path, section.revision
    files = ("*.parquet",)
    return str(snapshot(section.path, section.revision, files, where, "dataset")), None
