"""The code that each command runs, found from its imports, and one hash over what it says.

A stage is a file of a folder `stages/`. It reaches every module of the package that it imports at
any depth, imports inside functions and the `__init__` files on the way included, and every page,
style and script that a reached module names in a string of its own, or that a reached page extends
or imports. `universality.cli` is left out: it only finds the command's file, and a new line of help
must not retrain a model.

Comments, docstrings and formatting are not part of a fingerprint, so that a change of these runs
nothing again; neither is the version of Python.
"""

import ast
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from universality.core.io import write_text

PACKAGE = "universality"
FILE = "fingerprints.json"
"""Command -> fingerprint; stages declare theirs as a parameter of this file."""
KNOWN = Path(".dvc", "tmp", "fingerprints")
STAGES = "stages"
STATIC = (".css", ".html", ".js")
_TEMPLATE = re.compile(r"{%-? *(?:extends|from|import|include) *\"([^\"]+)\"")


def fingerprints(source: Path) -> dict[str, str]:
    """Return command -> fingerprint of the package in the folder `source`."""
    code = Code(source)
    return {command: code.fingerprint(command) for command in code.commands}


def write(root: Path) -> bool:
    """Write `root`/fingerprints.json if it is not what the code gives; return whether it was so.

    What was found for these bytes is remembered, since to parse the code takes a second.
    """
    path, known = root / FILE, root / KNOWN
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    code = _bytes_of(root / "src")
    if known.is_file() and known.read_text(encoding="utf-8") == f"{code} {_digest(before)}":
        return False
    text = json.dumps(fingerprints(root / "src"), indent=1) + "\n"
    if before != text:
        write_text(path, text)
    if known.parent.is_dir():
        write_text(known, f"{code} {_digest(text)}")
    return before != text


def _bytes_of(source: Path) -> str:
    """Return a hash of every byte of the package, and of the files' names."""
    found = hashlib.sha256()
    for path in sorted((source / PACKAGE).rglob("*")):
        if path.suffix in (".py", *STATIC):
            found.update(f"{path.relative_to(source)}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


class Code:
    """The files of the package, each read once."""

    def __init__(self, source: Path):
        """Find the files of the package in the folder `source`."""
        self.source = source
        files = [path for path in (source / PACKAGE).rglob("*") if path.suffix in (".py", *STATIC)]
        self._files = set(files)
        self._commands = {path.stem: path for path in files
                          if path.parent.name == STAGES and path.name[0] != "_"}  # fmt: skip
        self._static = {path.name: path for path in files if path.suffix in STATIC}
        self._read: dict[Path, _Read] = {}
        self._next: dict[Path, list[Path]] = {}

    @property
    def commands(self) -> list[str]:
        """The names of all commands, with underscores."""
        return sorted(self._commands)

    def fingerprint(self, command: str) -> str:
        """Return the hash of all that `command` reaches."""
        parts = [
            f"{path} {self._said(self.source / path).digest}" for path in self.reached(command)
        ]
        return _digest("\n".join(parts))

    def reached(self, command: str) -> list[str]:
        """Return the files that `command` reaches, relative to the source folder, sorted."""
        found: set[Path] = set()
        todo = [self._commands[command]]
        while todo:
            current = todo.pop()
            if current not in found:
                found.add(current)
                todo += self._reached_from(current)
        said = (path for path in found if not self._said(path).is_bare)
        return sorted(path.relative_to(self.source).as_posix() for path in said)

    def _said(self, path: Path) -> "_Read":
        if path not in self._read:
            self._read[path] = _Read(path)
        return self._read[path]

    def _reached_from(self, path: Path) -> list[Path]:
        if path not in self._next:
            said = self._said(path)
            found = [self._static[name] for name in self._static.keys() & said.names]
            modules = list(said.imports)
            if path.suffix == ".py":
                modules.append(".".join(path.relative_to(self.source).with_suffix("").parts))
            self._next[path] = [*found, *(file for name in modules for file in self._run_by(name))]
        return self._next[path]

    def _run_by(self, name: str) -> list[Path]:
        """Return the files that importing the dotted `name` runs: packages, then the module."""
        parts = name.split(".")
        places = [self.source.joinpath(*parts[:n]) for n in range(1, len(parts) + 1)]
        files = [file for at in places for file in (at / "__init__.py", at.with_suffix(".py"))]
        return [file for file in files if file in self._files]


class _Read:
    """What one file says: its hash, its imports from the package, and files that it may name."""

    def __init__(self, path: Path):
        text = path.read_text(encoding="utf-8")
        self.imports: list[str] = []
        self.is_bare = False
        if path.suffix != ".py":
            self.digest, self.names = _digest(text), set(_TEMPLATE.findall(text))
            return
        tree = ast.parse(text)
        nodes = list(ast.walk(tree))
        for node in nodes:
            _drop_docstring(node)
        self.imports = list(_imports(nodes, path))
        self.is_bare = path.name == "__init__.py" and not tree.body
        constants = (node.value for node in nodes if isinstance(node, ast.Constant))
        self.names = {value for value in constants if isinstance(value, str)}
        parts: list[str] = []
        _say(tree, parts)
        self.digest = _digest("".join(parts))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _drop_docstring(node: ast.AST) -> None:
    """Remove the texts that stand alone in a body: docstrings of functions, classes, attributes."""
    body = getattr(node, "body", None)
    if isinstance(body, list):
        node.body = [line for line in body if not _is_text(line)]  # pyright: ignore


def _is_text(line: ast.AST) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


def _say(node: Any, parts: list[str]) -> None:
    """Append a syntax tree as text, without places in the file and without what is empty.

    `ast.dump` would do, but what it gives for empty fields differs between versions of Python.
    """
    if isinstance(node, ast.AST):
        parts.append(f"({type(node).__name__}")
        for name in node._fields:
            value = getattr(node, name, None)
            if value is not None and value != []:
                parts.append(f" {name}=")
                _say(value, parts)
        parts.append(")")
    elif isinstance(node, list):
        for item in node:
            _say(item, parts)
            parts.append(",")
    else:
        parts.append(repr(node))


def _imports(nodes: list[ast.AST], path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports from the package."""
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise SystemExit(f"{path}:{node.lineno}: import by the full name, not relatively")
            # `from package import name` may name a module; what is none is dropped later.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == PACKAGE)
