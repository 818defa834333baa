"""What the figure of scaling is drawn from."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
import code_deps  # noqa: E402  # pyright: ignore[reportMissingImports]
import dag  # noqa: E402  # pyright: ignore[reportMissingImports]
import scaling  # noqa: E402  # pyright: ignore[reportMissingImports]

SECONDS = {"a": 5.0, "b": 1.0, "c": 3.0, "d": 2.0}


def stage(name, reads=(), threads=1):
    outputs = (dag.Output(f"out/{name}", True, None, True),)
    inputs = tuple(f"out/{other}" for other in reads)
    return dag.Stage(name, "", inputs, inputs, outputs, {}, threads, 1000, 0)


STAGES = [stage("a"), stage("b"), stage("c", "b"), stage("d", "ac")]


def test_critical_path_is_the_longest_chain():
    needs = scaling.needs_of(STAGES)
    assert needs == {"a": set(), "b": set(), "c": {"b"}, "d": {"a", "c"}}
    found = scaling.scaling(STAGES, needs, SECONDS)
    assert found["critical_path"] == ["a", "d"]
    assert found["critical_path_seconds"] == 7
    assert found["work_seconds"] == 11
    assert found["wall_seconds"][1] == 11
    assert all(found["wall_seconds"][workers] == 7 for workers in scaling.WORKERS[1:])


def test_no_number_of_workers_beats_the_bounds():
    found = json.loads((ROOT / "figures" / "workflow" / "scaling.json").read_text())
    for name, graph in found.items():
        for workers, wall in graph["wall_seconds"].items():
            assert wall >= graph["critical_path_seconds"] - 0.1, (name, workers)
            assert wall >= graph["work_seconds"] / int(workers) - 0.1, (name, workers)


def test_the_committed_numbers_are_of_this_graph():
    stages = dag.load_stages(ROOT)
    found = json.loads((ROOT / "figures" / "workflow" / "scaling.json").read_text())["embedded"]
    assert found["stages"] == len(stages)
    noted = scaling.provenance.cpu_seconds(ROOT)
    assert set(noted) == {stage.name for stage in stages}
    assert found["work_seconds"] == pytest.approx(sum(noted.values()), abs=0.1)


def test_every_kind_of_stage_belongs_to_a_study():
    for kind in code_deps._load(ROOT / "dvc.yaml")["stages"]:
        assert scaling.study_of(kind) in scaling.STUDIES
