"""What `make repro PROFILE=...` and `make figures FORMAT=...` run."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from universality.core.errors import InputError
from universality.core.params.base import read_yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "pipeline"))
import overlays  # noqa: E402  # pyright: ignore[reportMissingImports]
import run  # noqa: E402  # pyright: ignore[reportMissingImports]

figures = importlib.import_module("figures")  # there is a folder of this name, too


@pytest.fixture
def profiles(tmp_path):
    (tmp_path / "params.yaml").write_text(
        "models: {a: {layers: [0, 1], size: 3}, b: {size: 4}}\npairs: {}\nseed: 1\n"
    )
    (tmp_path / "profiles").mkdir()
    return tmp_path / "profiles"


def laid_over(profiles, text):
    path = profiles / "more.yaml"
    path.write_text(f"base: params.yaml\n{text}")
    merged = profiles / "merged.yaml"
    merged.write_text(overlays.parameters(path))
    return read_yaml(merged)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("seed: 2\n", {"seed": 2}),
        ("new: {x: 1}\n", {"new": {"x": 1}}),
        # Mappings are merged key by key, lists and scalars replaced.
        (
            "models: {a: {layers: [5]}, c: {size: 1}}\n",
            {"models": {"a": {"layers": [5], "size": 3}, "b": {"size": 4}, "c": {"size": 1}}},
        ),
        ("pairs: {p: {a: x}}\n", {"pairs": {"p": {"a": "x"}}}),
        ("models: none\n", {"models": "none"}),
        # What is empty or tagged replaces a mapping, and says all of it.
        ("models: {}\n", {"models": {}}),
        ("models: !only {a: {size: 5}}\n", {"models": {"a": {"size": 5}}}),
        (
            "models: {a: !only {size: 5}}\n",
            {"models": {"a": {"size": 5}, "b": {"size": 4}}},
        ),
        (
            "models: {c: !only {size: 5}}\n",
            {"models": {"a": {"layers": [0, 1], "size": 3}, "b": {"size": 4}, "c": {"size": 5}}},
        ),
    ],
)
def test_a_profile_is_laid_over_its_base(profiles, text, expected):
    base = read_yaml(profiles.parent / "params.yaml")
    assert laid_over(profiles, text) == base | expected


def test_a_complete_profile_is_taken_as_it_stands(profiles):
    path = profiles / "whole.yaml"
    path.write_text("# a comment\nseed: 3\n")
    assert overlays.parameters(path) == "# a comment\nseed: 3\n"


@pytest.mark.parametrize("text", ["base: [", "base: params.yaml\nmodels: !other {}\n"])
def test_what_is_no_yaml_is_one_line(profiles, text):
    path = profiles / "broken.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"broken\.yaml: not valid YAML") as error:
        overlays.parameters(path)
    assert "\n" not in str(error.value)


def test_the_profile_full_is_the_default_and_more(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(overlays.parameters(ROOT / "profiles" / "full.yaml"))
    full, default = read_yaml(path), read_yaml(ROOT / "params.yaml")
    assert full != default
    assert full.keys() == default.keys()
    assert "base" not in full


def test_an_unknown_profile_or_runner_is_named():
    with pytest.raises(InputError, match="PROFILE is 'tiny'; there are: embedded, full, "):
        run.profile_file("tiny")
    with pytest.raises(InputError, match="RUNNER is 'make'; there are: snakemake, slurm, dvc"):
        run.run("embedded", "make")


COMMANDS = {
    "plot_saes": "universality plot-saes --tables data/tables/saes --out figures/saes",
    "paper": "universality paper --root . --out paper/universality.pdf --tables paper/tables",
    "summaries": "universality summaries --tables data/tables --out data/tables/summaries",
    "nothing": "universality check",
}


def test_another_format_goes_to_a_folder_of_its_own():
    assert figures.in_format(COMMANDS, "pdf") == {
        "plot_saes": [
            "universality", "plot-saes", "--tables", "data/tables/saes", "--out",
            "figures-pdf/saes", "--format", "pdf",
        ]
    }  # fmt: skip
    with pytest.raises(InputError, match="FORMAT is 'gif'; there are: pdf, png"):
        figures.main("gif")
    both = COMMANDS | {"plot_models": "universality plot-models --out figures/models"}
    assert figures.in_format(both, "pdf", "saes") == figures.in_format(COMMANDS, "pdf")
    with pytest.raises(InputError, match="STUDY is 'sae'; there are: models, saes"):
        figures.in_format(both, "pdf", "sae")
    with pytest.raises(InputError, match="STUDY needs a FORMAT"):
        figures.main("", "saes")


def test_git_tracks_no_figure_of_another_format():
    for file_format in figures.FORMATS:
        path = f"figures-{file_format}/saes/a.{file_format}"
        done = subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False)
        assert done.returncode == 0, path
