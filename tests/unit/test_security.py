"""What no file of the project may do: run code that comes with data."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for folder in ("src", "workflow", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
NEVER_CALLED = {
    "eval", "exec", "compile", "os.system", "os.popen", "pickle.load", "pickle.loads",
    "joblib.load", "dill.load", "cloudpickle.load", "marshal.loads", "shelve.open",
    "pd.read_pickle", "pandas.read_pickle", "yaml.load", "yaml.unsafe_load",
}  # fmt: skip
NEVER_METHODS = {"extractall", "read_pickle", "to_pickle"}
NEEDED = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
"""Calls that need a keyword to be safe."""
NEVER_KEYWORDS = {"trust_remote_code": True, "shell": True, "allow_pickle": True}


def _name(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def _faults(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = _name(node.func)
        values = {
            word.arg: word.value.value if isinstance(word.value, ast.Constant) else ...
            for word in node.keywords
        }
        if name in NEVER_CALLED or name.rpartition(".")[2] in NEVER_METHODS:
            yield f"line {node.lineno} calls {name}"
        if name in NEEDED and values.get(NEEDED[name][0]) is not NEEDED[name][1]:
            yield f"line {node.lineno} calls {name} without {NEEDED[name][0]}={NEEDED[name][1]}"
        for keyword, bad in NEVER_KEYWORDS.items():
            if keyword in values and values[keyword] in (bad, ...):
                yield f"line {node.lineno} passes {keyword}={values[keyword]}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_comes_with_data(path: Path) -> None:
    assert list(_faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(f)",
        "torch.load(f, weights_only=False)",
        "import numpy as np\nnp.load(f, mmap_mode='r')",
        "np.load(f, allow_pickle=True)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "AutoModel.from_pretrained(x, trust_remote_code=flag)",
        "subprocess.run(x, shell=True)",
        "pickle.loads(x)",
        "tarfile.open(x).extractall(y)",
        "eval(x)",
    ],
)
def test_the_scan_finds_what_it_looks_for(source: str) -> None:
    assert list(_faults(source))
