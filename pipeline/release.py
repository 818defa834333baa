"""Pack a release and check it: `python pipeline/release.py VERSION`, which is `make release`.

dist/universality-VERSION.tar.gz holds the tables, pages and SAEs, the figures, metrics, paper and
docs, the report, which is built for it, and what they were made from (dvc.lock, params.yaml,
provenance.json), with a manifest of hashes. It is checked by unpacking it into an empty clone of
this commit: every file has the hash of the manifest, every output the hash of dvc.lock, and git
finds nothing changed. The same commit and data give the same bytes.
"""

import gzip
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import dag
import lock
import quick_dvc
import report
from universality.core.errors import InputError
from universality.core.io import atomic_path

MANIFEST = "manifest.json"
TRACKED = ("figures", "metrics", "paper", "dvc.lock", "dvc.yaml", "params.yaml", "provenance.json")
TRACKED_TOO = ("fingerprints.json", "README.md", "LICENSE", "CITATION.cff", "docs")
PACKED = ("data/saes/", "data/maps/", "data/cards/", "data/dashboards/")
"""Outputs that the committed remote does not have: SAEs, and pages of features."""


def main(arguments: list[str]) -> int:
    """Pack and check; returns the exit status."""
    if len(arguments) != 1 or not re.fullmatch(r"\d+\.\d+\.\d+", arguments[0]):
        raise InputError("VERSION is needed, three numbers such as 1.0.0: make release VERSION=...")
    version = arguments[0]
    if _git("status", "--porcelain"):
        raise InputError("there are changes that git does not have; commit them, then release")
    quick_dvc.quicken()
    stages = dag.load_stages()
    problems = lock.problems(Path(), stages)
    if problems:
        raise InputError(f"{problems[0]} ({len(problems)} such); `make repro` before a release")
    outputs = [
        out.path
        for stage in stages
        for out in stage.outputs
        if out.remote == "tables" or out.path.startswith(PACKED)
    ]
    lacking = [path for path in outputs if not Path(path).exists()]
    if lacking:
        raise InputError(
            f"{lacking[0]} is not here ({len(lacking)} such); `make pull` or `make repro`"
        )
    hashes = _hashes(outputs)
    wrong = [path for path in outputs if lock.tracked_hash(Path(path)) != hashes[path]]
    if wrong:
        raise InputError(f"{wrong[0]} is not what dvc.lock says ({len(wrong)} such); `make repro`")
    report.write()
    tracked = _git("ls-files", "-z", *TRACKED, *TRACKED_TOO).split("\0")
    made = [*map(Path, outputs), report.REPORT]
    files = sorted({*filter(None, tracked), *(file for path in made for file in _files(path))})
    archive = Path("dist", f"universality-{version}.tar.gz")
    with atomic_path(archive) as temporary:
        pack(temporary, version, files, outputs)
        check(temporary, outputs, hashes)
    size = archive.stat().st_size / 1e6
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    sys.stderr.write(f"{archive}: {len(files)} files, {size:.0f} MB, unpacked and checked\n")
    sys.stdout.write(f"{sha256}  {archive}\n")
    return 0


def pack(archive: Path, version: str, files: list[str], outputs: list[str]) -> None:
    """Write `files` and their manifest, in one order and with one time."""
    made = int(_git("show", "--no-patch", "--format=%ct", "HEAD"))
    manifest = {
        "version": version,
        "commit": _git("rev-parse", "HEAD").strip(),
        "outputs": outputs,
        "sha256": {name: _sha256(Path(name)) for name in files},
    }
    text = json.dumps(manifest, indent=1, sort_keys=True).encode()
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=made, fileobj=raw) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
        tempfile.TemporaryDirectory() as folder,
    ):
        (Path(folder) / MANIFEST).write_bytes(text)
        for name in (MANIFEST, *files):
            source = Path(folder, name) if name == MANIFEST else Path(name)
            member = tar.gettarinfo(str(source), arcname=name)
            member.mtime, member.uid, member.gid, member.uname, member.gname = made, 0, 0, "", ""
            member.mode = 0o644
            with source.open("rb") as content:
                tar.addfile(member, content)


def check(archive: Path, outputs: list[str], hashes: dict[str, str]) -> None:
    """Unpack into an empty clone and compare; raises InputError with the first difference."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
        with tarfile.open(archive) as tar:
            tar.extractall(clone, filter="data")
        manifest = json.loads((clone / MANIFEST).read_text(encoding="utf-8"))
        for name, sha256 in manifest["sha256"].items():
            if _sha256(clone / name) != sha256:
                raise InputError(f"{name}: unpacked with another hash")
        for path in outputs:
            if lock.tracked_hash(clone / path) != hashes[path]:
                raise InputError(f"{path}: unpacked, it is not what dvc.lock says")
        (clone / MANIFEST).unlink()
        changed = _git("-C", str(clone), "status", "--porcelain")
        if changed:
            raise InputError(f"unpacked, git finds changes: {changed.splitlines()[0]}")


def _hashes(outputs: list[str]) -> dict[str, str]:
    from universality.present.provenance import read_lock

    made = {
        out["path"]: out["md5"] for entry in read_lock(Path()).values() for out in entry["outs"]
    }
    return {path: made[path] for path in outputs}


def _files(path: Path) -> list[str]:
    found = [path] if path.is_file() else path.rglob("*")
    return [file.as_posix() for file in found if file.is_file() and file.name != lock.IGNORED]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        sys.exit(f"universality: {error}")
