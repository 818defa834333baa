"""The tour, executed on the published tables as a reader has them: a clone, and what it pulls."""

import base64
import re
import shutil

import nbformat
import pytest
from nbclient import NotebookClient
from project import PYTHON, ROOT, Project, environment_of, run

from universality.core.io import read_table
from universality.present.summaries import read_summary

TOUR = ROOT / "notebooks" / "tour.ipynb"
OTHERS = ("sae_seed", "seed_b", "random_a")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of what is committed, with the tables that the tour reads and no other data."""
    if not (ROOT / "dvc.lock").is_file():
        pytest.skip("no dvc.lock yet: `make repro` writes it")
    folder = tmp_path_factory.mktemp("tour") / "clone"
    run(["git", "clone", "--quiet", str(ROOT), str(folder)], ROOT)
    project = Project(folder)
    folders = [f"{part}/seed_a_vs_{other}" for part in ("pairs", "cards") for other in OTHERS]
    wanted = ["data/tables/summaries", *(f"data/tables/matching/{folder}" for folder in folders)]
    # As `make pull STUDY=matching` does, without the tables that are not read.
    project(PYTHON, "pipeline/quick_dvc.py", "pull", "--allow-missing", *wanted)
    return project


@pytest.fixture(scope="module")
def executed(clone):
    """The notebook of this tree, run with the package of this tree on the tables of the clone."""
    folder = clone.folder / "notebooks"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(TOUR, folder)
    notebook = nbformat.read(folder / TOUR.name, as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    return client.execute(env=environment_of(ROOT))


def outputs(notebook, kind):
    """Return the outputs of all cells that have the MIME type `kind`."""
    found = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output["data"][kind] for output in found if kind in output.get("data", {})]


def test_it_answers_its_question(clone, executed):
    numbers = read_summary(clone.folder / "data" / "tables" / "summaries" / "matching.parquet")
    summary, figure, features = executed.cells[3], executed.cells[4], executed.cells[6]
    shown = re.findall(r"<td>([\d.]+)</td>", summary.outputs[0]["data"]["text/html"])
    expected = [
        numbers[f"seed_a_vs_{other}_best_of_4_layers"][name]
        for other in OTHERS
        for name in (
            "n_features", "median_r", "median_r_low", "median_r_high", "median_r_null",
            "share_above",
        )
    ]  # fmt: skip
    assert list(map(float, shown)) == pytest.approx(expected, abs=1e-5)
    images = outputs(executed, "image/png")
    assert len(images) == 1
    assert figure.outputs[0]["data"]["image/png"] == images[0]
    assert base64.b64decode(images[0])[:4] == b"\x89PNG"
    pairs = [
        read_table(clone.folder / f"data/tables/matching/cards/seed_a_vs_{other}/asymmetry.parquet")
        for other in ("seed_b", "random_a")
    ]
    r, untrained = (dict(zip(zip(t["layer_a"], t["feature_a"], strict=True), t["r"], strict=True))
                    for t in pairs)  # fmt: skip
    shared = [key for key in r if r[key] >= 0.7]
    learned = [key for key in shared if untrained[key] < 0.7]
    said = features.outputs[0]["text"]
    assert said == (
        f"{len(r)} features; partner in seed_b: {len(shared)}; no untrained one: {len(learned)}\n"
    )
    assert 0 < len(learned) < len(shared)
    best = max(learned, key=lambda key: r[key] - untrained[key])
    table = features.outputs[1]["data"]["text/html"]
    first = table.partition("<tbody>")[2]
    assert f"<td>{best[0]}</td>" in first
    assert first.index(f"<td>{best[1]}</td>") < first.index("</tr>")


def test_it_runs_without_a_word_of_warning(executed):
    streams = [o for cell in executed.cells for o in cell.get("outputs", []) if "name" in o]
    assert {stream["name"] for stream in streams} == {"stdout"}


def test_it_is_kept_without_outputs():
    """They would be of other tables as soon as a parameter changes."""
    notebook = nbformat.read(TOUR, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    code = [cell.source.splitlines() for cell in notebook.cells if cell.cell_type == "code"]
    lines = [line for some in code for line in some if line]
    assert len([line for line in lines if not line.startswith(("from ", "import "))]) <= 24


def test_without_tables_it_says_what_to_do(tmp_path):
    """Its first cell reads a table: one line names the file and the command."""
    code = nbformat.read(TOUR, as_version=4).cells[1].source
    done = run([PYTHON, "-c", f"import os; os.chdir({str(tmp_path)!r})\n{code}"], ROOT, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "asymmetry.parquet: no such file or directory; `make repro` or `make pull`" in last
