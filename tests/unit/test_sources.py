import hashlib
import io
import os
import random
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from universality.core.errors import InputError
from universality.core.params.base import load_section, read_yaml, validate
from universality.sources import places
from universality.sources.catalogue import Artifact
from universality.sources.fetch import MIRROR_VARIABLE, cache_directory, fetch

ROOT = Path(__file__).resolve().parents[2]
CONTENT = bytes(range(256)) * 4096
HUB = {"hub": "owner/name", "revision": "main", "file": "folder/weights.bin"}
PYPI = {"pypi": "some-package==1.0", "member": "package/data.bin"}
NPM = {"npm": "@scope/some.package@1.0.0", "member": "package/data.bin"}


def pinned(places: list[dict[str, Any]], content: bytes = CONTENT) -> Artifact:
    value = {
        "description": "test file",
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "none",
        "places": places,
    }
    return validate(Artifact, value, "test")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in (MIRROR_VARIABLE, "HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def kept(tmp_path: Path) -> list[str]:
    """Names of the files under the test's folder, but for the locks."""
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    return sorted(path.name for path in files if path.suffix != ".lock")


class Server:
    """A hub on loopback, which drops each connection after `cut` bytes of content."""

    def __init__(self, content: bytes) -> None:
        self.content, self.cut, self.ranges_work = content, len(content), True
        self.requests: list[tuple[str, str | None]] = []
        self.budget = 1000

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        span = handler.headers.get("Range")
        self.requests.append((handler.path, span))
        self.budget -= 1
        if self.budget < 0:
            handler.send_error(503)
            return
        start = 0
        if span and self.ranges_work:
            start = resumed_from(span)
            if start >= len(self.content):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(self.content)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(self.content) - start))
        handler.end_headers()
        handler.wfile.write(self.content[start : start + self.cut])
        handler.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server(CONTENT)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{http.server_port}/")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def test_hub_download(server: Server, tmp_path: Path) -> None:
    fetch("thing", pinned([HUB]), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert server.requests == [("/owner/name/resolve/main/folder/weights.bin", None)]
    assert kept(tmp_path) == ["out"]


def resumed_from(span: str | None) -> int:
    return int(span.removeprefix("bytes=").removesuffix("-")) if span else 0


def test_resumes_within_a_call(server: Server, tmp_path: Path) -> None:
    server.cut = 400_000
    fetch("thing", pinned([HUB]), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT
    starts = [resumed_from(span) for _, span in server.requests]
    assert len(starts) == 3
    for before, after in pairwise(starts):
        assert 0 <= before + server.cut - after < 20_000  # at most the last chunk is lost


def test_resumes_in_the_next_call(server: Server, tmp_path: Path) -> None:
    server.cut, server.budget = 400_000, 1
    artifact = pinned([HUB])
    with pytest.raises(InputError, match="HTTP status 503"):
        fetch("thing", artifact, tmp_path / "out")
    assert kept(tmp_path) == [f"{artifact.sha256}.part"]
    server.cut, server.budget = len(CONTENT), 1
    fetch("thing", artifact, tmp_path / "out")
    assert 380_000 < resumed_from(server.requests[-1][1]) <= 400_000
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    artifact = pinned([HUB])
    (cache_directory() / f"{artifact.sha256}.part").write_bytes(b"old start")
    server.ranges_work = False
    fetch("thing", artifact, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


@pytest.mark.parametrize("extra", [b"", b"too long"])
def test_part_that_is_whole_or_too_long(server: Server, tmp_path: Path, extra: bytes) -> None:
    artifact = pinned([HUB])
    (cache_directory() / f"{artifact.sha256}.part").write_bytes(CONTENT + extra)
    fetch("thing", artifact, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_wrong_hash_keeps_nothing(server: Server, tmp_path: Path) -> None:
    server.content = b"something else"
    artifact = pinned([HUB])
    with pytest.raises(InputError) as error:
        fetch("thing", artifact, tmp_path / "out")
    message = str(error.value)
    found = hashlib.sha256(b"something else").hexdigest()
    for part in ("thing", "hub owner/name@main folder/weights.bin", found, artifact.sha256):
        assert part in message
    assert "\n" not in message
    assert kept(tmp_path) == []


def test_wrong_hash_leaves_the_old_output(server: Server, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    server.content = b"something else"
    with pytest.raises(InputError, match="wrong file"):
        fetch("thing", pinned([HUB]), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"old"


def test_mirror_comes_first(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = pinned([HUB])
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / artifact.sha256).write_bytes(CONTENT)
    monkeypatch.setenv(MIRROR_VARIABLE, str(mirror))
    fetch("thing", artifact, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert server.requests == []
    (mirror / artifact.sha256).unlink()
    fetch("thing", artifact, tmp_path / "out")
    assert len(server.requests) == 1


def test_nowhere_lists_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path / "no_mirror"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nothing listens
    monkeypatch.setenv("PATH", str(tmp_path))  # so npm is missing

    def no_pip(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if command[0] == sys.executable:
            return subprocess.CompletedProcess(command, 1, stderr="x: No module named pip\n")
        return real_run(command, **options)

    real_run = subprocess.run
    monkeypatch.setattr(subprocess, "run", no_pip)
    artifact = pinned([HUB, PYPI, NPM])
    with pytest.raises(InputError) as error:
        fetch("thing", artifact, tmp_path / "out")
    message = str(error.value)
    for part in (
        f"mirror {tmp_path / 'no_mirror'}: no such directory",
        "hub owner/name@main folder/weights.bin: connection failed",
        "pypi some-package==1.0 package/data.bin: x: No module named pip",
        "npm @scope/some.package@1.0.0 package/data.bin: npm cannot be run",
        MIRROR_VARIABLE,
        artifact.sha256,
    ):
        assert part in message
    assert "\n" not in message
    assert kept(tmp_path) == []


def test_offline_variable_skips_the_hub(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE"):
        fetch("thing", pinned([HUB]), tmp_path / "out")
    assert server.requests == []


def archive_downloaded(monkeypatch: pytest.MonkeyPatch, name: str, files: dict[str, bytes]) -> None:
    """Let pip and npm "download" an archive with these files."""

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        flag = "--dest" if "pip" in command else "--pack-destination"
        archive = Path(command[command.index(flag) + 1]) / name
        if name.endswith(".whl"):
            with zipfile.ZipFile(archive, "w") as opened:
                for member, content in files.items():
                    opened.writestr(member, content)
        else:
            with tarfile.open(archive, "w:gz") as opened:
                for member, content in files.items():
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    opened.addfile(info, io.BytesIO(content))
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.parametrize(
    "archive", ["some_package-1.0-py3-none-any.whl", "some-package-1.0.tar.gz"]
)
def test_pypi_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: str) -> None:
    files = {"../../escape": b"bad", "package/other": b"no", "package/data.bin": CONTENT}
    archive_downloaded(monkeypatch, archive, files)
    fetch("thing", pinned([PYPI]), tmp_path / "a" / "b" / "out")
    assert (tmp_path / "a" / "b" / "out").read_bytes() == CONTENT
    assert kept(tmp_path) == ["out"]


def test_npm_byte_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive_downloaded(monkeypatch, "p.tgz", {"package/data.bin": b"head" + CONTENT + b"tail"})
    span = {"bytes": [4, 4 + len(CONTENT)]}
    fetch("thing", pinned([{**NPM, **span}]), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT


@pytest.mark.parametrize("archive", ["p-1.0-py3-none-any.whl", "p-1.0.tar.gz"])
def test_a_member_is_not_unpacked_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: str
) -> None:
    archive_downloaded(monkeypatch, archive, {"package/data.bin": CONTENT})
    monkeypatch.setattr(places, "LARGEST", len(CONTENT) - 1)
    with pytest.raises(InputError, match="is larger than"):
        fetch("thing", pinned([PYPI]), tmp_path / "out")
    assert kept(tmp_path) == []
    monkeypatch.setattr(places, "LARGEST", len(CONTENT))
    fetch("thing", pinned([PYPI]), tmp_path / "out")


@pytest.mark.parametrize("archive_sha256", [None, "0" * 64])
def test_no_code_of_a_source_distribution_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive_sha256: str | None
) -> None:
    """With the real pip, and a package whose setup.py leaves a trace."""
    index, trace = tmp_path / "index", tmp_path / "trace"
    index.mkdir()
    setup = f"open({str(trace)!r}, 'w').close()\nfrom setuptools import setup; setup(name='evil')\n"
    with tarfile.open(index / "some-package-1.0.tar.gz", "w:gz") as archive:
        for name, text in {"setup.py": setup, "PKG-INFO": "Name: some-package\n"}.items():
            info = tarfile.TarInfo(f"some-package-1.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip's spelling of "do not isolate"
    place = {**PYPI, "archive_sha256": archive_sha256} if archive_sha256 else PYPI
    with pytest.raises(InputError, match="DO NOT MATCH" if archive_sha256 else "Could not find"):
        fetch("thing", pinned([place]), tmp_path / "out")
    assert not trace.exists()
    plain = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(tmp_path / "to")]
    subprocess.run([*plain, "some-package==1.0"], check=False, capture_output=True)
    assert trace.exists()  # as it did before


@pytest.mark.parametrize("archive", ["p-1.0-py3-none-any.whl", "p-1.0.tar.gz"])
def test_missing_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: str) -> None:
    archive_downloaded(monkeypatch, archive, {"package/other": b"no"})
    with pytest.raises(InputError, match=f"no file package/data.bin in {archive}"):
        fetch("thing", pinned([PYPI]), tmp_path / "out")
    assert kept(tmp_path) == []


@pytest.mark.parametrize("archive", ["p-1.0-py3-none-any.whl", "p-1.0.tar.gz"])
@pytest.mark.parametrize("damage", ["cut off", "altered"])
def test_damaged_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: str, damage: str
) -> None:
    archive_downloaded(monkeypatch, archive, {"package/data.bin": random.Random(0).randbytes(9999)})
    whole = subprocess.run

    def damaged(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        done = whole(command, **options)
        file = Path(command[command.index("--dest") + 1]) / archive
        content = file.read_bytes()
        half = len(content) // 2
        rest = b"" if damage == "cut off" else bytes(100) + content[half + 100 :]
        file.write_bytes(content[:half] + rest)
        return done

    monkeypatch.setattr(subprocess, "run", damaged)
    with pytest.raises(InputError) as error:
        fetch("thing", pinned([PYPI]), tmp_path / "out")
    assert "\n" not in str(error.value)
    assert archive in str(error.value) or "wrong file" in str(error.value)
    assert kept(tmp_path) == []


def test_altered_file_of_a_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = pinned([HUB])
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path / "mirror"))
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / artifact.sha256).write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match="wrong file from mirror"):
        fetch("thing", artifact, tmp_path / "out")
    assert kept(tmp_path) == [artifact.sha256]  # the mirror's own


def test_the_catalogue_is_valid() -> None:
    sources = ROOT / "data" / "sources.yaml"
    names = set(read_yaml(sources))
    artifacts = [load_section(sources, Artifact, name) for name in names]
    assert len({artifact.sha256 for artifact in artifacts}) == len(names)
    assert set(read_yaml(ROOT / "params.yaml")["artifacts"]) <= names


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"ftp": "x"}, "one of the keys hub, pypi, npm"),
        ({**PYPI, "revision": "x"}, "'places.0.pypi.revision' is not a known key"),
        ({**PYPI, "pypi": "x>=1"}, "x>=1"),
        ({**NPM, "bytes": [5, 5]}, "start < stop"),
        ({"npm": "x@1", "bytes": [0, 5]}, "'places.0.npm.member' is missing"),
    ],
)
def test_bad_places_are_named(place: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        pinned([place])
