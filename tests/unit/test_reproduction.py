"""What `make repro` says of its results beside the committed ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from universality.core.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[2] / "pipeline"))

import reproduction  # pyright: ignore[reportMissingImports]

LOCK = """schema: '2.0'
stages:
  train@a:
    cmd: universality train a
    params:
      params.yaml:
        train.a: 3
    outs:
    - path: data/a
      md5: aaa
  match:
    cmd: universality match
    deps:
    - path: data/a
      md5: aaa
    outs:
    - path: data/m
      md5: mmm
"""
YAML = """stages:
  train:
    foreach: [a]
    do: {cmd: universality train, meta: {pinned: models}}
  match: {cmd: universality match}
"""
NUMBERS = {"pair": {"r": 0.5, "r_low": 0.4, "r_high": 0.6, "n": 10, "null": 0.1, "value": 1.0,
                    "low": 0.9, "high": 1.1}}  # fmt: skip


def note(when):
    return {"when": when, "machine": "x", "outputs": "o"}


@pytest.fixture
def root(tmp_path):
    """A committed project."""
    files = {
        "dvc.lock": LOCK,
        "provenance.json": json.dumps({
            "machines": {"x": {"processor": "P"}},
            "stages": {"train@a": note("1"), "match": note("1")},
        }),
        "dvc.yaml": YAML,
        "metrics/matching.json": json.dumps(NUMBERS),
        reproduction.FINDINGS: json.dumps({"one": {"holds": True}, "two": {"holds": True}}),
        reproduction.VERDICTS: json.dumps({"claims": [{"id": "park", "verdict": "holds"}]}),
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "x")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def test_the_same_results(root):
    assert reproduction.report(root).splitlines() == [
        "Beside HEAD: stages run here: 0, as committed: 2, of which pinned: 1",
        "  processor: P",
        "  outputs: 2 of 2 have the committed hash",
        "  numbers: 4 equal within rounding",
        "  findings: 2 as committed",
        "  verdicts: 1 as committed",
    ]
    assert json.loads((root / "reproduction.json").read_text())["outputs"]["other"] == []


def test_everything_that_differs_is_named(root):
    (root / "dvc.lock").write_text(LOCK.replace("mmm", "nnn").replace("train.a: 3", "train.a: 4"))
    changed = {"pair": NUMBERS["pair"] | {"r": 0.61, "n": 11, "value": 1.05, "null": 0.1 + 1e-9}}
    (root / "metrics/matching.json").write_text(json.dumps(changed))
    record = json.loads((root / "provenance.json").read_text())
    record["stages"]["match"] = note("2")
    record["machines"]["x"]["processor"] = "Q"
    (root / "provenance.json").write_text(json.dumps(record))
    findings = {"one": {"holds": False}, "two": {"holds": True}}
    (root / reproduction.FINDINGS).write_text(json.dumps(findings))
    verdicts = {"claims": [{"id": "park", "verdict": "inconclusive"}]}
    (root / reproduction.VERDICTS).write_text(json.dumps(verdicts))
    assert reproduction.report(root).splitlines() == [
        "Beside HEAD: stages run here: 1, as committed: 1, of which pinned: 1",
        "  processor: Q; committed: P, so last bits may differ",
        "  other parameters: train.a",
        "  outputs: 1 of 2 have the committed hash; others: data/m",
        "  numbers: 1 equal within rounding, 1 within their interval, 1 outside it, "
        "1 different, without an interval: matching:pair.r, matching:pair.n",
        "  findings: 1 as committed; changed: one (holds -> does not hold)",
        "  verdicts: 0 as committed; changed: park (holds -> inconclusive)",
    ]


def test_a_first_run_has_nothing_to_compare_with(root):
    subprocess.run(["git", "rm", "-q", "--cached", "dvc.lock"], cwd=root, check=True)
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *who, "commit", "-qm", "none"], cwd=root, check=True)
    with pytest.raises(InputError, match=r"HEAD has no dvc\.lock"):
        reproduction.report(root)


@pytest.mark.parametrize(
    ("value", "was", "expected"),
    [
        (0.5, {"r": 0.5}, "equal"),
        (0.5 + 1e-8, {"r": 0.5, "r_low": 0.5, "r_high": 0.5}, "equal"),
        (0.41, {"r": 0.5, "r_low": 0.4, "r_high": 0.6}, "inside"),
        (0.39, {"r": 0.5, "r_low": 0.4, "r_high": 0.6}, "outside"),
        (0.39, {"r": 0.5}, "other"),
        (None, {"r": 0.5}, "other"),
        (float("nan"), {"r": 0.5, "r_low": 0.4, "r_high": 0.6}, "outside"),
    ],
)
def test_agreement_of_one_number(value, was, expected):
    assert reproduction.agreement("r", value, was) == expected
