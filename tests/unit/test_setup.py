import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "make", "rm", "mkdir", "touch", "dirname", "cat", "awk")


@pytest.fixture
def bare(tmp_path):
    """A clone's set-up files, and a PATH on which nothing but the basic tools is found."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "scripts/setup.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def fake(root, name, body):
    path = root / "bin" / name
    path.write_text(f"#!{shutil.which('sh')}\n{body}\n")
    path.chmod(0o755)


def old_python(root, name):
    fake(root, name, 'case "$1" in --version) echo Python 3.9.18;; *) exit 1;; esac')


def setup(root, *arguments):
    """Run `make setup`; return its one line of complaint."""
    done = subprocess.run(
        [shutil.which("make") or "make", "setup", *arguments],
        cwd=root,
        env={"PATH": str(root / "bin"), "HOME": os.environ.get("HOME", "")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert not (root / ".venv" / "installed").exists()
    # Both pips may say it.
    lines = {line for line in done.stderr.splitlines() if not line.startswith("make")}
    assert len(lines) == 1, done.stderr
    return lines.pop()


def test_git_is_missing(bare):
    assert "git is missing" in setup(bare)


def test_python_is_missing(bare):
    fake(bare, "git", "exit 0")
    assert "found no python3" in setup(bare)


def test_python_is_too_old(bare):
    fake(bare, "git", "exit 0")
    old_python(bare, "python3")
    assert "3.11, 3.12 or 3.13 is needed, found Python 3.9.18" in setup(bare)


def test_chosen_python_is_too_old(bare):
    fake(bare, "git", "exit 0")
    old_python(bare, "python3.9")
    assert "python3.9 is Python 3.9.18" in setup(bare, "PYTHON=python3.9")


def test_chosen_python_is_missing(bare):
    fake(bare, "git", "exit 0")
    assert "there is no python3.99" in setup(bare, "PYTHON=python3.99")


def test_venv_is_missing(bare):
    fake(bare, "git", "exit 0")
    # In range, but `import ensurepip, venv` fails, as on a Debian without python3-venv.
    fake(bare, "python3", 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac')
    assert "python3-venv" in setup(bare)


def test_interrupted_install_does_not_count(bare):
    """pip fails half-way: no mark of completion, so that the next `make` installs again."""
    fake(bare, "git", "exit 0")
    fake(bare, "python3", f'case "$1" in -m) {make_venv(bare)};; *) exit 0;; esac')
    line = setup(bare)
    assert line == "pip was interrupted"
    assert (bare / ".venv" / "bin" / "python").exists()


def make_venv(root):
    """Shell text that makes a .venv whose pip always fails."""
    fake(root, "broken", "echo pip was interrupted >&2; exit 1")
    target = root / ".venv" / "bin"
    return f"mkdir -p {target}; cat {root}/bin/broken > {target}/python; {chmod(target)}"


def chmod(target):
    return f"{shutil.which('chmod')} +x {target}/python"
