import json
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset

from universality.core.corpora import (
    SPLITS,
    batches,
    load_tokenizer,
    load_tokens,
    read_corpus,
    split_documents,
    token_manifest,
    write_corpus,
)
from universality.core.errors import InputError
from universality.core.params.corpora import HubCorpus
from universality.sources.hub_access import stream_texts


def test_corpus_is_a_datasets_dataset_with_manifest(tiny_corpus, tmp_path):
    files = {split: str(tiny_corpus / f"{split}.parquet") for split in SPLITS}
    dataset: Any = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path))
    assert set(dataset) == {"train", "validation"}
    ids = dataset["train"]["document"][:] + dataset["validation"]["document"][:]
    assert ids == list(range(len(ids)))
    manifest = json.loads((tiny_corpus / "manifest.json").read_text())
    assert manifest["validation"]["documents"] == [40, 44]
    texts = read_corpus(tiny_corpus, "validation")[1]
    assert manifest["validation"]["n_characters"] == sum(map(len, texts))


def test_two_writes_are_byte_identical(tmp_path):
    for name in "ab":
        write_corpus(tmp_path / name, {"train": ["x", "y"], "validation": ["z"]}, {"seed": 0})
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_empty_split_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="validation split has no documents"):
        write_corpus(tmp_path / "c", {"train": ["x"], "validation": []}, {})
    assert list(tmp_path.iterdir()) == []


def test_split_is_by_document_and_disjoint_in_text():
    texts = [f"story {i % 30}" for i in range(100)]
    split = split_documents(texts, 0.2, 0, "c")
    assert set(split["train"]).isdisjoint(split["validation"])
    assert len(split["train"]) + len(split["validation"]) == 100
    assert len(set(split["validation"])) == 6
    assert split == split_documents(texts, 0.2, 0, "c")
    assert split != split_documents(texts, 0.2, 1, "c")


def test_tokens_cover_the_text(tiny_corpus, tiny_model):
    tokens = load_tokens(tiny_corpus, "validation", tiny_model, 512)
    texts = read_corpus(tiny_corpus, "validation")[1]
    tokenizer, bos = load_tokenizer(tiny_model)
    for index, text in enumerate(texts):
        first, last = tokens.bounds[index : index + 2]
        assert tokens.ids[first] == bos
        assert tokens.special[first]
        assert not tokens.special[first + 1 : last].any()
        assert tokenizer.decode(tokens.ids[first + 1 : last].tolist()) == text
        assert tokens.end[last - 1] == len(text)
        assert (np.diff(tokens.end[first:last]) >= 0).all()


def test_documents_are_cut_and_counted(tiny_corpus, tiny_model):
    tokens = load_tokens(tiny_corpus, "validation", tiny_model, 10)
    assert tokens.lengths.tolist() == [10] * 5
    assert tokens.first(35).n_documents == 3
    assert len(tokens.first(35).ids) == 30
    assert tokens.first(1).n_documents == 1
    manifest = token_manifest(tokens.first(35))
    assert manifest["documents"] == tokens.documents[:3].tolist()
    assert manifest["sha256"] != token_manifest(tokens)["sha256"]


def test_batches_hold_every_token_once(tiny_corpus, tiny_model):
    tokens = load_tokens(tiny_corpus, "train", tiny_model, 512)
    seen = np.zeros(len(tokens.ids), dtype=int)
    for batch in batches(tokens, 200):
        assert batch.ids.size <= 200 or len(batch.rows) == 1
        for row, ids, valid in zip(batch.rows, batch.ids, batch.valid, strict=True):
            first, last = tokens.bounds[row : row + 2]
            assert ids[valid].tolist() == tokens.ids[first:last].tolist()
            seen[first:last] += 1
    assert (seen == 1).all()


def _hub(path: str, **changes) -> HubCorpus:
    values = {
        "path": path, "revision": None, "train_split": "train",
        "validation_split": "validation", "text_column": "text",
        "n_documents": 3, "n_validation": 2,
    }  # fmt: skip
    return HubCorpus(**(values | changes))


@pytest.fixture(scope="session")
def hub_folder(tmp_path_factory):
    """A folder in the on-disk format of roneneldan/TinyStories: parquet files in data/."""
    from datasets import Dataset

    folder = tmp_path_factory.mktemp("hub")
    for split, n in (("train", 5), ("validation", 2)):
        texts = ["", *(f"{split} story {i}" for i in range(n))]
        Dataset.from_dict({"text": texts}).to_parquet(
            folder / "data" / f"{split}-00000-of-00001.parquet"
        )
    return folder


def test_hub_dataset_from_a_folder(hub_folder):
    section = _hub(str(hub_folder))
    assert stream_texts(section, "train", 3) == [f"train story {i}" for i in range(3)]
    assert load_dataset(str(hub_folder), split="validation").num_rows == 3


@pytest.mark.parametrize(
    ("changes", "split", "n", "message"),
    [
        ({}, "test", 1, "split 'test'"),
        ({}, "train", 9, "5 documents, 9 are wanted"),
        ({"text_column": "story"}, "train", 1, "no column 'story'"),
    ],
)
def test_hub_dataset_errors(hub_folder, changes, split, n, message):
    with pytest.raises(InputError, match=message):
        stream_texts(_hub(str(hub_folder), **changes), split, n)


def test_real_stories_have_the_same_interface(artifact, tiny_model, tmp_path):
    from universality.studies.models.stages.file_corpus import command

    params = tmp_path / "params.yaml"
    section = "{artifact: real_stories, validation_fraction: 0.1, seed: 0}"
    params.write_text(f"file_corpora: {{real: {section}}}")
    command("real", artifact("real_stories"), tmp_path / "real", params)
    sizes = {split: len(read_corpus(tmp_path / "real", split)[0]) for split in SPLITS}
    assert sum(sizes.values()) == 1000
    assert sizes["validation"] == pytest.approx(100, abs=3)
    tokens = load_tokens(tmp_path / "real", "validation", tiny_model, 4096, n_documents=3)
    assert tokens.n_documents == 3
