"""Findings: sentences with their numbers, and the rules that make them true."""

import json
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from universality.core.errors import InputError
from universality.present.paper import findings
from universality.present.paper.claims import Claim
from universality.present.paper.entries import read_entries
from universality.present.paper.findings import Finding

sys.path.insert(0, str(Path(__file__).parents[2] / "pipeline"))
import readme  # pyright: ignore[reportMissingImports]

NUMBERS = {
    "matching": {
        "a_1.5_b": {"r": 0.4816, "r_low": 0.4, "r_high": 0.5, "n": 3212, "r_null": 0.0171},
        "a_2_b": {"r": 0.25, "n": 10},
        "other": {"r": 0.9},
    },
    "saes": {"m": {"value": 0.625, "low": 0.5, "high": 0.75}},
}
R = "{matching:a_1.5_b.r}"


def finding(text="x", *rules):
    return Finding(text=text, rules=list(rules) or [f"{R} > 0"])


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("It is {matching:a_1.5_b.r}.", "It is 0.48."),
        ("It is {3 matching:a_1.5_b.r}.", "It is 0.482."),
        ("It is {% matching:a_1.5_b.r}.", "It is 48%."),
        ("It is {% 1 matching:a_1.5_b.r}.", "It is 48.2%."),
        ("It is {0 matching:a_1.5_b.n}.", "It is 3,212."),
        ("It is {ci matching:a_1.5_b.r}.", "It is 0.48 [0.40, 0.50]."),
        ("It is {ci % saes:m.value}.", "It is 63% [50%, 75%]."),
        ("{least matching:a_*.r} to {most matching:a_*.r}", "0.25 to 0.48"),
        ("{median matching:*.r} and {mean matching:a_*.r}", "0.48 and 0.37"),
        ("in {0 count matching:*.r} of {0 count matching:a_*.n}", "in 3 of 2"),
        ("two\n  lines", "two lines"),
        ("{matching:nowhere.r}", None),
        ("{matching:a_*.r}", None),  # which of the two?
        ("{least matching:z_*.r}", None),
        ("{ci matching:nowhere.r}", None),
    ],
)
def test_a_sentence_is_printed_with_its_numbers(text, printed):
    assert findings.sentence(finding(text), NUMBERS) == printed


@pytest.mark.parametrize(
    ("rules", "holds"),
    [
        (["{matching:a_1.5_b.r_low} > {matching:a_2_b.r}"], True),
        (["{matching:a_1.5_b.r_low} > {matching:other.r}"], False),
        (["{matching:a_1.5_b.r} - {matching:a_1.5_b.r_null} > 0.46"], True),
        (["{matching:a_1.5_b.r} - {matching:a_1.5_b.r_null} > 0.47"], False),
        (["{matching:a_2_b.r} * 2 >= 1 / 2"], True),
        (["0.2 < {matching:a_2_b.r} < 0.3"], True),
        (["0.2 < {matching:a_2_b.r} < 0.25"], False),
        (["{matching:a_2_b.r} <= 0.25"], True),
        (["-{matching:a_2_b.r} < -0.2"], True),
        (["{least matching:a_*.r} > 0.2", "{most matching:a_*.r} < 0.5"], True),
        (["{least matching:a_*.r} > 0.2", "{most matching:*.r} < 0.5"], False),
        (["{matching:nowhere.r} > 0"], None),
        (["{matching:a_2_b.r} > 1", "{matching:nowhere.r} > 0"], None),
    ],
)
def test_all_rules_must_hold(rules, holds):
    assert findings.holds(finding("x", *rules), NUMBERS) is holds


def test_what_a_finding_rests_on():
    one = finding("{ci matching:a_1.5_b.r} of {matching:a_*.r}", "{saes:m.low} > 0", f"{R} > 0")
    assert findings.addresses(one, NUMBERS) == [
        "matching:a_1.5_b.r", "matching:a_2_b.r", "saes:m.low"
    ]  # fmt: skip


def test_what_is_written_for_paper_report_and_readme():
    written = findings.findings_json({"one": finding("It is {saes:m.value}.", "{saes:m.low} > 1")},
                                     NUMBERS)  # fmt: skip
    assert written == {
        "one": {
            "study": "",
            "text": "It is 0.63.",
            "holds": False,
            "rules": ["{saes:m.low} > 1"],
            "addresses": ["saes:m.value", "saes:m.low"],
        }
    }


# ---- the files ----


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, entries in files.items():
        with (folder / f"{name}.yaml").open("w") as file:
            YAML().dump(entries, file)
    return folder


def test_findings_are_read_with_their_study(tmp_path):
    one = {"text": "x", "rules": ["{saes:m.value} > 0.5"]}
    found = findings.read_findings(write(tmp_path / "f", saes={"a": one}, matching={"b": one}))
    assert {name: entry.study for name, entry in found.items()} == {"a": "saes", "b": "matching"}


@pytest.mark.parametrize(
    "rule",
    [
        "{saes:m.value}",
        "{saes:m.value} = 1",
        "{saes:m.value} > 0 and {saes:m.low} > 0",
        "__import__('os').getcwd() > 0",
        "{saes:m.value} ** 2 > 0",
        "open > {saes:m.value",
    ],
)
def test_a_rule_is_a_comparison_and_nothing_else(tmp_path, rule):
    folder = write(tmp_path / "f", saes={"one": {"text": "x", "rules": [rule]}})
    with pytest.raises(InputError, match=r"one: .* is no comparison"):
        findings.read_findings(folder)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"saes": {"one": {"text": "x"}}}, "saes.yaml: one.rules: Field required"),
        ({"saes": {"one": {"text": "x", "rules": []}}}, "saes.yaml: one.rules: "),
        ({"saes": {"one": {"txt": "x", "rules": ["1 > 0"]}}}, "saes.yaml: one."),
        (
            {study: {"one": {"text": "x", "rules": ["1 > 0"]}} for study in ("matching", "saes")},
            "saes.yaml: one is there twice",
        ),
    ],
)
def test_an_entry_that_is_wrong_is_named_in_one_line(tmp_path, entries, said):
    with pytest.raises(InputError) as error:
        read_entries(write(tmp_path / "f", **entries), Finding)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_entries_keep_the_order_of_files_and_of_what_is_in_them(tmp_path):
    one = {"source": "x", "claim": "x", "published": "x", "differs": "x"}
    folder = write(tmp_path / "c", steering={"b": one, "a": one}, matching={"c": one})
    found = read_entries(folder, Claim)
    assert list(found) == ["c", "b", "a"]
    assert [claim.study for claim in found.values()] == ["matching", "steering", "steering"]


# ---- the README ----

PRINTED = {
    "one": {"text": "Seeds share 48% @lan2024 of `seed_a`, as @sec:a says.", "holds": True},
    "two": {"text": "A sentence " + "that is long " * 12 + "ends.", "holds": False},
    "three": {"text": None, "holds": None},
}


def test_findings_as_a_list_for_the_readme():
    lines = findings.markdown_list(PRINTED, ["two", "one"]).splitlines()
    assert lines[0].startswith("- A sentence that is long")
    assert all(line.startswith("  ") for line in lines[1:-1])
    assert max(map(len, lines)) <= 116
    assert " ".join(line.strip() for line in lines[:-1]).endswith("ends. **Not so in this run.**")
    assert lines[-1] == "- Seeds share 48% of `seed_a`, as says."
    for name, said in (("four", "no finding 'four'"), ("three", "lacks one of its numbers")):
        with pytest.raises(InputError, match=said):
            findings.markdown_list(PRINTED, [name])


def test_the_readme_gets_the_findings_of_the_run(tmp_path):
    (tmp_path / "paper" / "tables").mkdir(parents=True)
    (tmp_path / readme.FINDINGS).write_text(json.dumps(PRINTED))
    (tmp_path / readme.SHOWN).write_text("# those that matter\none\n\n")
    text = "# Title\n\n<!-- findings -->\n- old\n<!-- /findings -->\n\nMore.\n"
    (tmp_path / "README.md").write_text(text)
    assert readme.main(tmp_path) == 0
    written = (tmp_path / "README.md").read_text()
    assert written == text.replace("- old\n", "- Seeds share 48% of `seed_a`, as says.\n")
    readme.main(tmp_path)
    assert (tmp_path / "README.md").read_text() == written
    with pytest.raises(InputError, match="has no lines"):
        readme.with_block("# Title\n", "- new\n")
