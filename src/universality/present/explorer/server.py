"""The explorer's pages and its API, for browsers on this machine only.

A page of any other site may send requests here, by an address or by a name of its own that leads
to this machine. So names other than this machine's are refused (DNS rebinding), requests that
another site makes are too, and nothing from elsewhere runs in these pages.
"""

import re
import socket
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request, send_from_directory
from werkzeug.exceptions import (
    Forbidden,
    HTTPException,
    MethodNotAllowed,
    NotFound,
    UnsupportedMediaType,
)
from werkzeug.security import safe_join
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from universality.core.errors import InputError
from universality.present.explorer.catalogue import MAKE, first_pair, inventory
from universality.present.explorer.explorer import BusyError, Explorer
from universality.present.explorer.reading import MAX_CHARACTERS, N_STRONGEST
from universality.studies.saes.pages.dashboard_page import source, templates

HOST = "127.0.0.1"
NAMES = [HOST, "localhost"]
API = ("/api/features", "/api/choices")
LOCAL_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""The pages of the report bring their scripts and styles in themselves."""
LINK = '<p><a href="/features">Features on demand</a>: which features fire on a text of yours.</p>'


def create_app(explorer: Explorer, start: tuple[str | None, str | None] = (None, None)) -> Flask:
    """Return the application; `start` are the models that the page begins with."""
    app = Flask("universality.present.explorer", static_folder=None)
    app.config.update(TRUSTED_HOSTS=NAMES, MAX_CONTENT_LENGTH=2**16)
    report = explorer.root / "report"
    pages = templates("universality.present.explorer")

    @app.before_request
    def refuse_other_sites() -> None:
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        if origin not in (None, request.host_url.rstrip("/")):
            raise Forbidden("requests from other sites are refused")
        if site not in (None, "none", "same-origin"):
            raise Forbidden("requests from other sites are refused")

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", LOCAL_POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.errorhandler(InputError)
    def wrong_input(error: InputError) -> tuple[Response, int]:
        return jsonify(error=str(error)), 400

    @app.errorhandler(BusyError)
    def busy(error: BusyError) -> tuple[Response, int]:
        return jsonify(error=str(error)), 503

    @app.errorhandler(HTTPException)
    def said(error: HTTPException) -> Any:
        """Say what is wrong: as JSON to programs, else as a page, which repeats no request."""
        text = error.description or error.name
        if request.path in API:
            return jsonify(error=text), error.code or 500
        page = pages.get_template("error.html").render(title=error.name, text=text)
        return page, error.code or 500

    @app.get("/features")
    def features() -> str:
        known = explorer.choices()
        chosen = first_pair(known, explorer.pairs, *start) if known else ("", "")
        by_model: dict[str, list[Any]] = {}
        for choice in known.values():
            by_model.setdefault(choice.model, []).append(choice)
        return pages.get_template("features.html").render(
            models=by_model,
            chosen=dict(zip("ab", chosen, strict=True)),
            max_characters=MAX_CHARACTERS,
            n_strongest=N_STRONGEST,
            make=MAKE,
        )

    @app.route("/api/features", methods=["GET", "POST"])
    def answer() -> Response:
        if request.method != "POST":  # said here, as the report may have a folder of this name
            raise MethodNotAllowed(["POST"], "ask with POST")
        if not request.is_json:
            raise UnsupportedMediaType("send JSON: text, a, b (a and b are MODEL/SAE)")
        asked = request.get_json()
        if not isinstance(asked, dict):
            raise InputError("send a JSON object: text, a, b (a and b are MODEL/SAE)")
        return jsonify(explorer.features(*(asked.get(key) for key in ("text", "a", "b"))))

    @app.get("/api/choices")
    def every_choice() -> Response:
        return jsonify([vars(c) | {"name": c.name} for c in explorer.choices().values()])

    @app.get("/explorer/<name>")
    def asset(name: str) -> Response:
        if name == "explorer.css":  # the look of the dashboards, and what is different here
            css = source(pages, "dashboard.css") + source(pages, "explorer.css")
            return Response(css, mimetype="text/css")
        if name == "explorer.js":
            return Response(source(pages, "explorer.js"), mimetype="text/javascript")
        raise NotFound

    @app.get("/favicon.ico")
    def icon() -> tuple[str, int]:
        return "", 204  # browsers ask for it, and would complain

    @app.get("/")
    def first() -> Response | str:
        index = report / "index.html"
        if index.is_file():
            page = Response(with_link(index.read_text(encoding="utf-8")), mimetype="text/html")
            page.headers["Content-Security-Policy"] = REPORT_POLICY
            return page
        return pages.get_template("start.html").render(inventory=inventory(explorer.root))

    @app.get("/<path:path>")
    def of_report(path: str) -> Response:
        inside = safe_join(str(report), path)  # None if it leads outside
        if inside is not None and Path(inside).is_dir() and not path.endswith("/"):
            return Response(status=308, headers={"Location": f"/{path}/"})
        name = f"{path}index.html" if path.endswith("/") else path
        page = send_from_directory(report.resolve(), name)  # refuses what leads outside
        page.headers["Content-Security-Policy"] = REPORT_POLICY
        return page

    return app


def with_link(page: str) -> str:
    """Return the first page of the report with a link to the live one, behind its heading."""
    for place in (r"</header>", r"<body[^>]*>"):
        found = re.search(place, page)
        if found:
            at = found.start() if place.startswith("</") else found.end()
            return f"{page[:at]}{LINK}{page[at:]}"
    return LINK + page


def listen(host: str, port: int) -> socket.socket:
    """Return a socket of this machine's `port` (0: any free one), or say in one line why not."""
    if host not in NAMES:
        raise InputError(
            f"--host is {host!r}; the explorer asks for no password, so it listens on {HOST} only "
            f"(from elsewhere: ssh -L {port}:{HOST}:{port} MACHINE)"
        )
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise InputError(f"--port is {port}: {error.strerror}; another one: --port 0") from error
    return listener


def server(app: Flask, listener: socket.socket) -> BaseWSGIServer:
    """Return the server of `app` on `listener`, which must stay open."""
    port = listener.getsockname()[1]
    return make_server(HOST, port, app, threaded=True, request_handler=_Quiet, fd=listener.fileno())


class _Quiet(WSGIRequestHandler):
    """Without a line for each request."""

    def log_request(self, *_: Any) -> None:
        """Say nothing."""


def open_explorer(root: Path, pairs: Any, a: str | None, b: str | None) -> Flask:
    """Return the application of the clone at `root`; InputError if model `a` or `b` lacks."""
    explorer = Explorer(root, pairs)
    models = {choice.model for choice in explorer.choices().values()}
    for option, model in (("--a", a), ("--b", b)):
        if model is not None and model not in models:
            there = ", ".join(sorted(models)) or "none"
            raise InputError(
                f"{option} is {model!r}; models with SAEs in {root / 'data'}: {there}; {MAKE}"
            )
    return create_app(explorer, (a, b))
