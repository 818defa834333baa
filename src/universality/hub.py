"""Text from datasets of the Hugging Face hub, or from a local folder in the same format."""

from itertools import islice

from universality.errors import InputError
from universality.params.corpora import HubCorpus


def stream_texts(section: HubCorpus, split: str, n_documents: int) -> list[str]:
    """Return the first `n_documents` non-empty texts of a split, without loading the rest."""
    from datasets import load_dataset

    where = f"dataset {section.path!r} (revision {section.revision}), split {split!r}"
    try:
        dataset = load_dataset(section.path, split=split, revision=section.revision, streaming=True)
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
        raise InputError(
            f"{where}: cannot be read ({reason}); give a local folder as `path` if the hub is "
            "out of reach"
        ) from error
    if len(found) < n_documents:
        raise InputError(f"{where}: {len(found)} documents, {n_documents} are wanted")
    return found
