import subprocess
import sys
from pathlib import Path

import pytest

import parameter_sets
from universality.core.errors import InputError
from universality.core.params.base import load_section
from universality.params import load_params
from universality.studies.saes.params.saes import SaeTraining

TEXT = parameter_sets.text("smoke")


def _write(tmp_path, text: str) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


def test_section_is_read_and_frozen(tmp_path):
    section = load_section(_write(tmp_path, TEXT), SaeTraining, "sae_training")
    assert section.step == "sparse"
    with pytest.raises(ValueError, match="frozen"):
        section.batch_size = 3  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch_size: 256", "batch_size: 0", r"batch_size' is 0: .*greater than or equal to 8"),
        ("  batch_size: 256", "  batch: 4", r"batch_size' is missing; 'sae_training\.batch' is"),
        ("batch_size: 256", "batch_size: many", r"'sae_training\.batch_size' is 'many': .*integer"),
        ("architecture: topk", "architecture: top", r"'topk', 'batchtopk'"),
        ("sparsity: 8", "sparsity: 8.5", r"sae_models\.stories15m' is .* expected a whole k"),
        ("\nmatching:", "\nmatchings:", r"'matching' is missing; 'matchings' is not a known key"),
        ("blocks.0.hook_mlp_out", "blocks.x.hook", r"hooks\.0' is 'blocks\.x\.hook'"),
        ("  stories15m:\n    weights", "  Stories 15M:\n    weights", "Stories 15M"),
        ("corpus: stories", "corpus: [", "not valid YAML"),
        ("\ncorpus: stories", "\ncorpus: tales", "corpus names 'tales'; there is: stories"),
        (
            "    b: stories15m",
            "    b: gpt9",
            "names 'gpt9'; there is: stories15m, seed_a, random_a",
        ),
        ("    b_seed: 1", "    b_seed: 7", "names SAE seed 7 of seed_a; there is: 0, 1"),
        ("  - llama_tokenizer\n", "", "names 'llama_tokenizer'; there is: stories15m_weights"),
        ("    layer_a: 0", "    layer_a: 5", "names layer 5 of seed_a; there is: 0, 1"),
        ("    b_seed: 1\n    layer", "    b_seed: 0\n    layer", "feature_maps.* not as in pairs"),
        (
            "linked_pairs:\n  seed_a_vs_stories15m:\n    a: seed_a\n    b: stories15m",
            "linked_pairs:\n  seed_a_vs_stories15m:\n    a: seed_a\n    b: random_a",
            r"linked_pairs\.seed_a_vs_stories15m is not as in pairs",
        ),
        ("  random_a:\n    seed: 3", "  seed_a:\n    seed: 3", "model 'seed_a' is defined twice"),
    ],
)
def test_bad_parameters_are_one_line_that_names_them(tmp_path, old, new, message):
    assert old in TEXT
    path = _write(tmp_path, TEXT.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as error:
        load_params(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_unknown_key_lists_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"no key 'trained_models\.seed_c'; there is: seed_a"):
        load_section(_write(tmp_path, TEXT), SaeTraining, "trained_models", "seed_c")


def test_command_line_shows_one_line_and_fails(tmp_path):
    path = _write(tmp_path, TEXT.replace("batch_size: 256", "batch_size: -1"))
    command = Path(sys.executable).with_name("universality")
    done = subprocess.run(
        [command, "check", "--params", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "sae_training.batch_size" in done.stderr


def help_of(*group: str) -> str:
    command = [Path(sys.executable).with_name("universality"), *group, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_help_lists_commands_and_the_stages_apart():
    for command in ("card", "check", "explore", "publish", "steer", "run"):
        assert f"  {command} " in help_of()
    for stage in ("fetch", "sample-corpus", "train-saes", "match", "plot-matching"):
        assert f"  {stage} " in help_of("run")
        assert f"  {stage} " not in help_of()
    assert "Match the features of two models." in help_of("run", "match")
