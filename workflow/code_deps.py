"""The code that each stage runs, found from its imports, and the `deps` that dvc.yaml lists.

A stage depends on its own file under src/universality/stages/ and on every module of the package
that it reaches by imports at any depth, those inside functions and the `__init__` files of the
packages on the way included, unless such a file holds nothing but a docstring. `universality.cli`
is left out: it only finds the stage's module, and a new line of help must not retrain a model.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE = "universality"


def problems(dvc_yaml: Path, source: Path) -> list[str]:
    """Say, one line each, which stages of `dvc_yaml` list other code than they import."""
    found = []
    for name, stage in _load(dvc_yaml)["stages"].items():
        listed = {dep for dep in _body(stage).get("deps") or [] if _is_code(dep)}
        needed = closure(_stage_file(name, stage, source), source)
        found += [f"dvc.yaml: {name}: deps lack {path}" for path in sorted(needed - listed)]
        found += [f"dvc.yaml: {name}: deps list {path}, which it does not import"
                  for path in sorted(listed - needed)]  # fmt: skip
    return [f"{line} (run: python workflow/dag.py sync)" for line in found]


def sync(dvc_yaml: Path, source: Path) -> None:
    """Rewrite the code in the `deps` of every stage, line by line: all else stays as it is."""
    lines = dvc_yaml.read_text(encoding="utf-8").splitlines(keepends=True)
    # From the last stage to the first, so that the line numbers ahead stay true.
    for name, stage in reversed(list(_load(dvc_yaml)["stages"].items())):
        code = closure(_stage_file(name, stage, source), source)
        _replace_code(lines, _body(stage), sorted(code))
    dvc_yaml.write_text("".join(lines), encoding="utf-8")


def _replace_code(lines: list[str], body: Any, code: list[str]) -> None:
    """Replace the code in the `deps` of the stage `body` within `lines`, behind the other deps."""
    indent = " " * body.lc.key("cmd")[1]
    new = [f"{indent}  - {path}\n" for path in code]
    if "deps" not in body:
        keys = list(body)
        if keys[-1] == "cmd":
            raise SystemExit(f"dvc.yaml: give {body['cmd']!r} an `outs`")
        start = body.lc.key(keys[keys.index("cmd") + 1])[0]
        lines[start:start] = [f"{indent}deps:\n", *new]
        return
    old: list[int] = []
    last = body.lc.key("deps")[0]
    for index, dep in enumerate(body["deps"]):
        at = body["deps"].lc.item(index)[0]
        if _is_code(dep):
            old.append(at)
        else:
            last = at
    lines[last + 1 : last + 1] = new
    for at in reversed(old):
        del lines[at + len(new) if at > last else at]


def closure(file: Path, source: Path) -> set[str]:
    """Return the files that `file` reaches by imports, itself included, relative to the root."""
    reached: set[Path] = set()
    todo = [file]
    while todo:
        current = todo.pop()
        if current in reached:
            continue
        reached.add(current)
        todo += [path for name in _imports(current, source) for path in _files(name, source)]
        todo += _files(".".join(current.relative_to(source).with_suffix("").parts), source)
    root = source.parent
    return {path.relative_to(root).as_posix() for path in reached if not _is_bare(path)}


def _imports(file: Path, source: Path) -> Iterator[str]:
    """Yield the dotted names that `file` imports from the package."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise SystemExit(f"{file}:{node.lineno}: import by the full name, not relatively")
            # `from package import name` may name a module; `_files` drops what is none.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == PACKAGE)


def _files(name: str, source: Path) -> list[Path]:
    """Return the files that importing the dotted `name` runs: packages first, then the module."""
    parts = name.split(".")
    places = [source.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    candidates = [path for at in places for path in (at / "__init__.py", at.with_suffix(".py"))]
    return [path for path in candidates if path.is_file()]


def _is_bare(file: Path) -> bool:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return file.name == "__init__.py" and all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body
    )


def _is_code(dep: Any) -> bool:
    return isinstance(dep, str) and dep.startswith(f"src/{PACKAGE}/") and dep.endswith(".py")


def _body(stage: Any) -> Any:
    return stage.get("do", stage)


def _stage_file(name: str, stage: Any, source: Path) -> Path:
    words = str(_body(stage)["cmd"]).split()
    if words[0] != PACKAGE:
        raise SystemExit(f"dvc.yaml: {name}: cmd is {words[0]!r}, expected {PACKAGE!r} and a stage")
    path = source / PACKAGE / "stages" / f"{words[1].replace('-', '_')}.py"
    if not path.is_file():
        raise SystemExit(f"dvc.yaml: {name}: cmd names {words[1]!r}, but there is no {path}")
    return path


def _load(dvc_yaml: Path) -> Any:
    """Read `dvc_yaml` with the line numbers of its parts."""
    from ruamel.yaml import YAML

    return YAML().load(dvc_yaml.read_text(encoding="utf-8"))
