"""Real servers on loopback, each a process with a folder and a port of its own."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

HOST = "127.0.0.1"
REQUIRED = "UNIVERSALITY_REQUIRE_SERVERS"


def program(name: str) -> str:
    """Return the path of a server; without it the test is skipped, or fails where all must run."""
    path = shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if path is None:
        lacking = f"there is no {name}: run `sh scripts/servers.sh install` as root"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(lacking)
        pytest.skip(lacking)
    return path


def free_port() -> int:
    """Return a port that nothing uses now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """Run `command`, which listens on `port`; what it says is in `folder`/log."""
    log = folder / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=stream)
    try:
        end = time.monotonic() + 60
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{' '.join(command)} does not listen on {port}:\n{log.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) == 0


@contextlib.contextmanager
def ssh(folder: Path) -> Iterator[dict[str, str]]:
    """Run sshd for the present user and one new key; yields what a DVC remote needs to know.

    With `folder`/home as HOME, the host `checked` is the same server through a tunnel of `ssh`,
    which compares the host key, as DVC does not.
    """
    sshd, keygen = program("sshd"), program("ssh-keygen")
    for name in ("host_key", "key"):
        subprocess.run(
            [keygen, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True
        )
    shutil.copy(folder / "key.pub", folder / "authorized_keys")
    if os.geteuid() == 0:  # then sshd wants its empty folder, which its service would make
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    lines = [
        f"ListenAddress {HOST}:{port}",
        f"HostKey {folder}/host_key",
        f"AuthorizedKeysFile {folder}/authorized_keys",
        "StrictModes no",  # else it refuses keys below /tmp, where everybody may write
        "AuthenticationMethods publickey",
        "UsePAM no",
        "PidFile none",
        "Subsystem sftp internal-sftp",
    ]
    (folder / "config").write_text("".join(f"{line}\n" for line in lines))
    user, config = pwd.getpwuid(os.getuid()).pw_name, folder / "home" / ".ssh" / "config"
    config.parent.mkdir(parents=True)
    config.write_text(
        f"Host checked\n ProxyCommand ssh -F {config} -W {HOST}:{port} lab\n"
        f"Host lab\n HostName {HOST}\n Port {port}\n User {user}\n IdentityFile {folder}/key\n"
        f" UserKnownHostsFile {folder}/known_hosts\n StrictHostKeyChecking yes\n"
    )
    trust(folder, "host_key", port)
    with running([sshd, "-D", "-e", "-f", f"{folder}/config"], port, folder):
        yield {
            "url": f"ssh://{HOST}{folder}/store",
            "port": str(port),
            "user": user,
            "keyfile": f"{folder}/key",
        }


def trust(folder: Path, key: str, port: int) -> None:
    """Make `folder`/`key` the host key that `ssh` expects on `port`."""
    public = (folder / f"{key}.pub").read_text()
    (folder / "known_hosts").write_text(f"[{HOST}]:{port} {public}")


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[dict[str, str]]:
    """Run moto's S3 with a bucket `lab`; yields what a DVC remote needs to know."""
    port = free_port()
    with running([sys.executable, "-m", "moto.server", "--port", str(port)], port, folder):
        endpoint = f"http://{HOST}:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/lab", method="PUT")).close()
        yield {
            "url": "s3://lab/universality",
            "endpointurl": endpoint,
            "access_key_id": "any",
            "secret_access_key": "any",
        }


@contextlib.contextmanager
def http(folder: Path, served: Path) -> Iterator[dict[str, str]]:
    """Run nginx, which lets everybody read the folder `served`."""
    nginx, port = program("nginx"), free_port()
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # One process of the present user: the folders of a test are closed to nginx's own.
    (folder / "config").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{}}"
        f"http {{ access_log {folder}/access; {temporary}"
        f"server {{ listen {HOST}:{port}; root {served};"
        " location / { limit_except GET { deny all; } } } }"
    )
    with running([nginx, "-e", "stderr", "-c", f"{folder}/config"], port, folder):
        yield {"url": f"http://{HOST}:{port}"}
