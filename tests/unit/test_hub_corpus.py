"""Text of the hub's local cache: only the pinned revision counts."""

from pathlib import Path

import pytest
import tiny_hub
from huggingface_hub import constants

from universality.core.errors import InputError
from universality.core.params.corpora import HubCorpus
from universality.sources.hub_access import stream_texts

OLD, NEW, ABSENT = "a" * 40, "b" * 40, "c" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    for revision in (OLD, NEW):
        train = ["", *(f"{revision[0]} story {index}" for index in range(6))]
        files = tiny_hub.dataset_files(train, [f"{revision[0]} held out"])
        tiny_hub.cache(tmp_path, "some/Stories", "dataset", revision, files)
    return tmp_path


def section(path: str = "some/Stories", revision: str | None = OLD) -> HubCorpus:
    return HubCorpus(
        path=path, revision=revision, train_split="train", validation_split="validation",
        text_column="text", n_documents=4, n_validation=1,
    )  # fmt: skip


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("revision", [OLD, NEW])
def test_offline_text_is_that_of_the_revision_not_of_the_newest(revision: str) -> None:
    wanted = section(revision=revision)
    letter = revision[0]
    assert stream_texts(wanted, "train", 5) == [f"{letter} story {i}" for i in range(5)]
    assert stream_texts(wanted, "validation", 1) == [f"{letter} held out"]


@pytest.mark.parametrize(
    ("path", "revision", "message"),
    [
        ("some/Stories", ABSENT, f"revision {ABSENT}.*not in the local cache, and HF_HUB_OFFLINE"),
        ("some/Other", OLD, "'some/Other'.*not in the local cache"),
        ("some/Stories", None, "a dataset of the hub needs a revision"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_is_not_cached_is_an_error(path: str, revision: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        stream_texts(section(path, revision), "train", 1)
    assert "\n" not in str(raised.value)


def test_a_hub_that_does_not_answer_is_as_good_as_none(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert stream_texts(section(), "train", 1) == ["a story 0"]
    folder = hub / "datasets--some--Stories" / "snapshots" / NEW
    assert stream_texts(section(str(folder), None), "train", 1) == ["b story 0"]
