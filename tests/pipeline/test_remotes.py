"""A lab's remotes, each on its real server: what one clone pushes, an empty one gets and uses."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import servers
from project import PARSED, PYTHON, Project, ran

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("no_forks")]

UNPUSHED = ("data/raw/", "data/activations/")
"""What `push: false` in dvc.yaml keeps here: downloads, and what is large and quick to make."""
PART = ("data/saes/seed_a", "data/features/seed_a", "data/features/random_a")
"""What the servers are given, the directory apart: what READER reads."""
READER = "match@seed_a_vs_random_a"
READ_BY_MATCHING = ("data/tables/matching/",)
DVC = (PYTHON, "pipeline/quick_dvc.py")
"""Plain `dvc` takes two seconds longer, each time, to read the same YAML."""
REPRO = (*DVC, "repro", "--pull")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The folder of the remote `directory`."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def lab(finished, store, tmp_path_factory):
    """A finished project with its tables committed and all else pushed to a directory."""
    project = finished.copy(tmp_path_factory.mktemp("lab") / "project")
    use(project, "directory", str(store))
    project(*DVC, "push")
    project.commit()
    return project


@pytest.fixture(scope="module")
def pulled(lab, tmp_path_factory):
    """An empty clone after `make pull` from the directory."""
    clone = empty_clone(lab, tmp_path_factory.mktemp("pulled") / "project", "directory")
    clone(PYTHON, "pipeline/pull.py")
    return clone


def use(project: Project, name: str, url: str, **settings: str) -> None:
    """Make `name` the default remote, as the README has it."""
    remote = ("dvc", "remote")
    project(*remote, "add", "--local", "--default", name, url)
    for key, value in {**settings, "verify": "true"}.items():
        project(*remote, "modify", "--local", name, key, value)


def empty_clone(lab: Project, folder: Path, remote: str | None = None) -> Project:
    """Return a clone without any data; with a `remote`, it knows those of `lab`."""
    clone = lab.clone(folder)
    shutil.copytree(lab.folder / PARSED, folder / PARSED)
    if remote:
        _, head, remotes = (lab.folder / ".dvc/config.local").read_text().partition("['remote")
        text = f"[core]\n    remote = {remote}\n{head}{remotes}"
        (folder / ".dvc" / "config.local").write_text(text)
    return clone


def outputs(project: Project, here: bool) -> set[str]:
    """Return the outputs in data/ that are `here`, or those that are not."""
    paths = {path for path in recorded(project) if path.startswith("data/")}
    return {path for path in paths if (project.folder / path).exists() == here}


def recorded(project: Project) -> dict[str, str]:
    """Return the hash of every output in dvc.lock."""
    return {out["path"]: out["md5"] for stage in project.lock.values() for out in stage["outs"]}


def below(folders: tuple[str, ...], project: Project) -> set[str]:
    """Return the outputs of `project` in these folders."""
    return {path for path in outputs(project, here=True) if path.startswith(folders)}


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file in `folder`."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and file.name != ".snakemake_timestamp"
    }


def assert_complete(clone: Project, lab: Project) -> None:
    """All that can be pushed is in `clone`, byte for byte, and no stage has a reason to run."""
    assert outputs(clone, here=False) == below(UNPUSHED, lab)
    here = contents(clone.folder / "data")
    there = contents(lab.folder / "data")
    assert here == {path: x for path, x in there.items() if not f"data/{path}".startswith(UNPUSHED)}
    assert ran(clone(*REPRO, "--allow-missing")) == set()
    assert clone("git", "status", "--porcelain").stdout == ""


def assert_part(clone: Project, lab: Project) -> None:
    """What was asked for is in `clone`, byte for byte, and serves the stage that reads it."""
    for path in PART:
        assert contents(clone.folder / path) == contents(lab.folder / path)
    assert outputs(clone, here=True) == set(PART)
    assert ran(clone(*REPRO, "--allow-missing", READER)) == set()


def test_directory(lab, pulled):
    assert_complete(pulled, lab)
    dry = pulled("snakemake", "--dry-run", "--cores", "1")
    assert "Nothing to be done" in dry.stderr + dry.stdout


def test_status_names_only_what_is_never_pushed(lab, pulled):
    status = json.loads(pulled(*DVC, "status", "--json").stdout)
    assert status.pop("fingerprints") == ["always changed"]
    changes = [change for stage in status.values() for change in stage]
    states = [named for change in changes for named in change.values()]
    assert {path for named in states for path in named} == below(UNPUSHED, lab)
    assert {how for named in states for how in named.values()} == {"deleted", "not in cache"}


def test_ssh(lab, store, tmp_path, monkeypatch):
    with servers.ssh(tmp_path) as settings:
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        use(lab, "ssh", **settings)
        lab(*DVC, "push", *PART)
        here, there = contents(tmp_path / "store"), contents(store)
        assert here.items() <= there.items()
        clone = empty_clone(lab, tmp_path / "clone", "ssh")
        # DVC takes any host for the right one; `ssh` does not, so the way back is through it.
        clone("dvc", "remote", "modify", "--local", "ssh", "url", f"ssh://checked{tmp_path}/store")
        servers.trust(tmp_path, "key", int(settings["port"]))
        refused = clone(*DVC, "fetch", check=False)
        assert refused.returncode != 0
        assert "Connection lost" in refused.stderr
        servers.trust(tmp_path, "host_key", int(settings["port"]))
        clone(*DVC, "pull", *PART)
        assert_part(clone, lab)


def test_s3(lab, tmp_path):
    with servers.s3(tmp_path) as settings:
        use(lab, "s3", **settings)
        lab(*DVC, "push", *PART)
        clone = empty_clone(lab, tmp_path / "clone", "s3")
        clone(*DVC, "pull", *PART)
        assert_part(clone, lab)


def test_http_gives_and_takes_nothing(lab, store, tmp_path):
    with servers.http(tmp_path, store) as settings:
        use(lab, "http", **settings)
        clone = empty_clone(lab, tmp_path / "clone", "http")
        clone(*DVC, "pull", *PART)
        assert_part(clone, lab)
        listing = next(store.rglob("*.dir"))
        kept = listing.rename(tmp_path / "kept")
        before = contents(store), contents(lab.folder / "data")
        refused = lab(*DVC, "push", check=False)
        after = contents(store), contents(lab.folder / "data")
        kept.rename(listing)
    assert refused.returncode != 0
    assert "403" in refused.stderr
    assert "1 files failed to upload" in refused.stderr
    assert after == before


def test_one_study(lab, tmp_path):
    clone = empty_clone(lab, tmp_path / "clone")
    clone(PYTHON, "pipeline/pull.py", "matching")
    assert outputs(clone, here=True) == below(READ_BY_MATCHING, lab)
    assert ran(clone(*REPRO, "--allow-missing")) == set()
    assert clone("git", "status", "--porcelain").stdout == ""
    dry = clone("snakemake", "--dry-run", "--cores", "1", "figures/matching")
    assert "Nothing to be done" in dry.stderr + dry.stdout


def test_unknown_study(lab):
    done = lab(PYTHON, "pipeline/pull.py", "matching nothing", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("universality: STUDY is 'nothing'; there are: hierarchy, ")
    assert done.stderr.count("\n") == 1


def test_only_what_changed_runs_and_gets_what_it_reads(lab, tmp_path):
    """A part of a folder, got by hand, is no reason to draw from that part."""
    clone = empty_clone(lab, tmp_path / "clone")
    clone(*DVC, "pull", "data/tables/similarity/decoders/seed_a_vs_sae_seed")
    stage = "src/universality/studies/matching/stages/plot_matching.py"
    changed = clone.folder / stage
    changed.write_text(f"{changed.read_text()}\nCHANGED = 1\n")
    read_by_all = "src/universality/core/io.py"
    words = clone.folder / read_by_all
    words.write_text(f'{words.read_text()}\n# only\n"""words"""\n')
    assert ran(clone(*REPRO, "--allow-missing")) == {"plot_matching"}
    read = (*READ_BY_MATCHING, "data/tables/similarity/")
    assert outputs(clone, here=True) == below(read, lab)
    after = clone("git", "status", "--porcelain").stdout.splitlines()
    changed = ["dvc.lock", "fingerprints.json", "provenance.json"]
    changed += [
        "src/universality/core/io.py",
        "src/universality/studies/matching/stages/plot_matching.py",
    ]
    assert after == [f" M {path}" for path in changed]


def test_what_no_remote_has_is_made_again(lab, tmp_path):
    """One output is lost everywhere, one is damaged in the remote; downloads never were there."""
    pair = "seed_a_vs_sae_seed"
    clone = empty_clone(lab, tmp_path / "clone", "directory")
    for file in stored(clone, f"data/tables/matching/agreement/{pair}"):
        file.unlink()
    for file in stored(clone, f"data/tables/matching/pairs/{pair}")[1:]:
        file.chmod(0o644)
        file.write_bytes(file.read_bytes() + b"damage")
    done = clone(*REPRO, f"match_agreement@{pair}")
    never = {"fetch@stories15m_weights", "fetch@llama_tokenizer", "activations@seed_a"}
    assert ran(done) == {*never, f"match@{pair}", f"match_agreement@{pair}"}
    changed = clone("git", "status", "--porcelain").stdout.splitlines()
    assert {line.split()[1].split("/")[0] for line in changed} == {"remote", "provenance.json"}


def stored(project: Project, path: str) -> list[Path]:
    """Return the files in the committed remote/ that hold the directory `path`: listing first."""
    files = project.folder / "remote" / "files" / "md5"
    md5 = recorded(project)[path]
    listing = files / md5[:2] / md5[2:]
    members = [entry["md5"] for entry in json.loads(listing.read_text())]
    return [listing, *(files / md5[:2] / md5[2:] for md5 in members)]


@pytest.mark.parametrize(
    ("required", "outcome"), [("0", pytest.skip.Exception), ("1", pytest.fail.Exception)]
)
def test_a_missing_server_is_said(required, outcome, monkeypatch):
    monkeypatch.setenv(servers.REQUIRED, required)
    with pytest.raises((pytest.skip.Exception, pytest.fail.Exception)) as raised:
        servers.program("nothing")
    assert raised.type is outcome
    assert str(raised.value) == "there is no nothing: run `sh scripts/servers.sh install` as root"
