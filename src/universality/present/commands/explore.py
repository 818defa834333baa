"""`universality explore`: the report, and features on demand, for a browser on this machine."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from universality.params import load_params


def command(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 8765,
    a: Annotated[str | None, typer.Option(help="model A to begin with")] = None,
    b: Annotated[str | None, typer.Option(help="model B to begin with")] = None,
    root: Annotated[Path, typer.Option(help="the project, or a run in runs/")] = Path(),
    host: Annotated[str, typer.Option(help="this machine; nothing else is allowed")] = "127.0.0.1",
) -> None:
    """Serve the report, and features on demand, to a browser on this machine."""
    pairs = load_params(root / "params.yaml").pairs

    from universality.present.explorer.server import listen, open_explorer, server

    with listen(host, port) as listener:
        running = server(open_explorer(root, pairs, a, b), listener)
        sys.stdout.write(f"http://{running.host}:{running.port}/ (Control-C ends it)\n")
        sys.stdout.flush()
        running.serve_forever()
