"""Where a result comes from: the lock, the notes beside it, and what `universality card` prints."""

import json
from pathlib import Path

import pytest

from universality.core.errors import InputError
from universality.core.fingerprints import fingerprints
from universality.present import provenance
from universality.present.commands.card import command
from universality.present.provenance import Run
from universality.present.summaries import write_summaries

ROOT = Path(__file__).parents[2]

LOCK = """
schema: '2.0'
stages:
  fetch@weights:
    cmd: universality fetch weights
    params:
      data/sources.yaml:
        weights:
          sha256: abc
    outs:
    - path: data/raw/weights
      md5: m1
  train@a:
    cmd: universality train a
    deps:
    - path: data/raw/weights
      md5: m1
    params:
      fingerprints.json:
        train: c1
      params.yaml:
        train.a:
          seed: 3
    outs:
    - path: data/models/a
      md5: m2.dir
  train@b:
    cmd: universality train b
    outs:
    - path: data/models/b
      md5: m3.dir
  summaries:
    cmd: universality summaries
    deps:
    - path: data/models
      md5: m4.dir
    - path: data/words.yaml
      md5: w1
    outs:
    - path: data/tables/summaries
      md5: m6.dir
    - path: metrics
      md5: m5.dir
"""
RUN = Run(1.5, 0.25, "2", "2026-01-02T03:04:05Z", {"processor": "P", "cores": 2, "memory_gb": 8,
          "system": "Linux x", "python": "3.11.7", "torch": "2.0"})  # fmt: skip


@pytest.fixture
def root(tmp_path):
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / "dvc.yaml").write_text("artifacts:\n  model-a:\n    path: data/models/a\n")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "x.json").write_text('{"a_one": {"r": 0.5, "n": 3}}')
    code = tmp_path / "src" / "universality" / "stages" / "train.py"
    code.parent.mkdir(parents=True)
    code.write_text("x = 1\n")
    summary = {"a_one": {"r": 0.5, "n": 3, "q": 7.0}, "a_1.5_b": {"s": 0.25}}
    write_summaries(tmp_path / "data" / "tables" / "summaries", {"x": summary})
    return tmp_path


def card(root, identifier):
    return provenance.card(root, identifier)


def printed(root, identifier):
    return "\n".join(provenance.lines(card(root, identifier)))


@pytest.mark.parametrize(
    ("identifier", "stage", "what"),
    [
        ("train@a", "train@a", "stage train@a"),
        ("model-a", "train@a", "artifact model-a, data/models/a"),
        ("data/models/a/", "train@a", "data/models/a"),
        ("data/models/a/config.json", "train@a", "data/models/a/config.json"),
        ("metrics/x.json:a_one.r", "summaries", "metrics/x.json:a_one.r = 0.5"),
        ("metrics/x.json:a_one", "summaries", 'metrics/x.json:a_one = {"r": 0.5, "n": 3}'),
        ("metrics/x.json:a_1.5_b.s", "summaries", "metrics/x.json:a_1.5_b.s = 0.25"),
        (
            "data/tables/summaries/x.parquet:a_one.q",
            "summaries",
            "data/tables/summaries/x.parquet:a_one.q = 7.0",
        ),
    ],
)
def test_what_an_identifier_names(root, identifier, stage, what):
    found = card(root, identifier)
    assert (found["stage"], found["what"]) == (stage, what)


def test_everything_a_result_was_made_from(root):
    found = card(root, "metrics/x.json:a_one.r")
    assert [x["stage"] for x in found["above"]] == ["fetch@weights", "train@a", "train@b"]
    assert found["inputs"] == [
        {"path": "data/models", "md5": "m4.dir", "stages": ["train@a", "train@b"]},
        {"path": "data/words.yaml", "md5": "w1", "stages": []},
    ]
    assert found["named"] == ["train@a"]
    assert found["pinned"] == [{"artifact": "weights", "sha256": "abc"}]
    text = printed(root, "data/models/a")
    code = ("fingerprint c1, changed since", "    src/universality/stages/train.py")
    for part in ("seed", "m2.dir", *code, "by fetch@weights", "abc"):
        assert part in text
    now = fingerprints(root / "src")["train"]
    (root / "dvc.lock").write_text(LOCK.replace("c1", now))
    assert f"fingerprint {now}, as now" in printed(root, "train@a")
    assert "data/models/b" not in text


def test_a_note_is_about_the_outputs_it_names(root):
    lock = provenance.read_lock(root)
    assert "not noted" in printed(root, "train@a")
    provenance.note(root, lock, {"train@a": RUN})
    assert provenance.noted(root, "train@a", lock["train@a"]) == RUN
    text = printed(root, "train@a")
    for part in ("2026-01-02T03:04:05Z, 1.5 s of CPU, 0.25 GB, GPU 2", "P, 2 cores", "torch 2.0"):
        assert part in text
    (root / "dvc.lock").write_text(LOCK.replace("m2.dir", "m9.dir"))  # made anew by plain DVC
    assert "not noted" in printed(root, "train@a")


def test_notes_are_kept_and_machines_dropped_with_their_last_stage(root):
    lock = provenance.read_lock(root)
    other = Run(2, 3, "", "2026-01-02T03:04:06Z", {"processor": "Q"})
    provenance.note(root, lock, {"train@a": RUN, "train@b": other})
    provenance.note(root, lock, {"train@b": RUN})
    record = json.loads((root / "provenance.json").read_text())
    assert set(record["stages"]) == {"train@a", "train@b"}
    assert list(record["machines"].values()) == [RUN.machine]
    assert (root / "provenance.json").read_text().count("\n") == 9  # a line for each


@pytest.mark.parametrize(
    ("identifier", "says"),
    [
        ("train@c", "close to it: train@b, train@a"),
        ("metrics/x.json:a_one.z", "close to it: a_one"),
        ("metrics/y.json:a", "no such file"),
        ("data/tables/summaries/x.parquet:a_one.z", "close to it: a_one"),
        ("data/tables/matching/a.parquet:a_one.r", "numbers have names in metrics/ and"),
        ("src/universality/cli.py", "no stage, output, artifact or number"),
    ],
)
def test_unknown_names_are_one_line(root, identifier, says):
    with pytest.raises(InputError, match=says) as error:
        card(root, identifier)
    assert "\n" not in str(error.value)


def test_a_number_that_only_the_summaries_have_needs_them(root):
    (root / "data" / "tables" / "summaries" / "x.parquet").unlink()
    with pytest.raises(InputError, match=r"x\.parquet may have it: `make pull`"):
        card(root, "metrics/x.json:a_one.q")


def test_a_broken_lock_is_one_line(root):
    for text in ("", "<<<<<<< HEAD\nstages:\n", LOCK + "{"):
        (root / "dvc.lock").write_text(text)
        with pytest.raises(InputError, match="not a lock file of DVC"):
            card(root, "train@a")


ODD = [
    1, -2, 1.5, 1e-5, 1e300, -0.0, float("inf"), True, False, None, "yes", "no", "on", "1e-05",
    "1.0", "010", "0x1f", "0o17", "null", "~", "", "2020-01-01", "=", "<<", "1" * 32, "1e5", "+1",
    "a: b", "- x", "# c", "1_000", "1:30", ".5", "ünï", "a\nb", " lead", {}, [],
    {"a": {"b": [{"c": 1}]}},
]  # fmt: skip


def test_dvc_lock_is_parsed_as_dvc_parses_it():
    from dvc.utils.serialize import dumps_yaml, parse_yaml

    text = dumps_yaml({"stages": {"a": ODD}})
    assert provenance.parse_quickly(text) == parse_yaml(text, "") == {"stages": {"a": ODD}}
    committed = (ROOT / "dvc.lock").read_text()  # of which a part will do, as DVC takes seconds
    part = "".join(committed.splitlines(keepends=True)[:2000])
    assert provenance.parse_quickly(part) == parse_yaml(part, "")
    for wrong in ("a: [", "a: 1\na: 2\n", "<<<<<<< HEAD\na: 1\n", "\0"):
        assert provenance.parse_quickly(wrong) is None


def test_the_command(root, capsys):
    command("train@a", root, as_json=True)
    assert json.loads(capsys.readouterr().out)["command"] == "universality train a"
    command("train@a", root)
    assert capsys.readouterr().out.startswith("stage train@a\n  made by   train@a\n")


def test_this_machine():
    here = provenance.machine()
    assert here["torch"].startswith("2.")
    assert here["cores"] >= 1
    assert here["memory_gb"] >= 1


def test_artifacts_are_what_stages_make():
    lock = provenance.read_lock(ROOT)
    for name, path in provenance._artifacts(ROOT).items():
        outputs = [out["path"] for entry in lock.values() for out in entry["outs"]]
        assert path in outputs, name
