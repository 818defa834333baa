"""A server on loopback that answers as the Hugging Face hub does, with one model repository."""

import base64
import json
import threading
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub(ThreadingHTTPServer):
    """As much of the hub as an upload and a download of small files need, one repository."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] | None = None
        self.commits: list[str] = []
        self.refuse = ""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, lines: list[dict]) -> None:
        self.files = dict(self.files or {})
        for line in lines:
            if line["key"] == "header":
                self.commits.append(line["value"]["summary"])
            elif line["key"] == "file":
                content = base64.b64decode(line["value"]["content"])
                self.files[line["value"]["path"]] = content


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format, *args):
        pass

    def _reply(self, status, value: object = b"", **headers: str):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        files = self.server.files
        if path == "/":
            self._reply(200)
        elif files is None:
            self._reply(404, {}, X_Error_Code="RepoNotFound")
        elif path.startswith("/lab/saes/resolve/main/"):
            content = files.get(path.removeprefix("/lab/saes/resolve/main/"))
            if content is None:
                self._reply(404, X_Error_Code="EntryNotFound")
            else:
                etag = f'"{sha1(content).hexdigest()}"'
                self._reply(200, content, ETag=etag, X_Repo_Commit="c" * 40)
        elif path.startswith("/api/models/lab/saes"):
            siblings = [{"rfilename": name} for name in files]
            tree = [
                {"type": "file", "path": n, "size": len(c), "oid": "0"} for n, c in files.items()
            ]
            body = (
                tree
                if "/tree/" in path
                else {"id": "lab/saes", "sha": "c" * 40, "siblings": siblings}
            )
            self._reply(200, body)
        else:
            self._reply(404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refuse:
            self._reply(403, {"error": self.server.refuse})
        elif self.path == "/api/validate-yaml":
            valid = "license: xyz" not in json.loads(body)["content"]
            errors = [] if valid else [{"message": "license is not one"}]
            self._reply(200 if valid else 400, {"errors": errors, "warnings": []})
        elif self.path == "/api/repos/create":
            self.server.files = {".gitattributes": b""}
            self._reply(200, {"url": f"{self.server.address}/lab/saes", "name": "lab/saes"})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]
            self._reply(200, {"files": modes})
        elif "/commit/" in self.path:
            self.server.commit([json.loads(line) for line in body.splitlines()])
            url = f"{self.server.address}/lab/saes/commit/{'c' * 40}"
            self._reply(200, {"success": True, "commitOid": "c" * 40, "commitUrl": url})
        else:
            self._reply(404)
