"""What no file of the project may do: run code that comes with data."""

import ast
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from universality.core.errors import InputError
from universality.core.io import read_arrays, read_sparse

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for folder in ("src", "pipeline", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
NEVER_CALLED = {
    "eval", "exec", "compile", "os.system", "os.popen", "pickle.load", "pickle.loads",
    "joblib.load", "dill.load", "cloudpickle.load", "marshal.loads", "shelve.open",
    "pd.read_pickle", "pandas.read_pickle", "yaml.load", "yaml.unsafe_load",
}  # fmt: skip
NEVER_METHODS = {"read_pickle", "to_pickle"}
NEEDED = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "extractall": ("filter", "data"),  # refuses paths and links that lead outside
}
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
        keyword, needed = NEEDED.get(name) or NEEDED.get(name.rpartition(".")[2]) or ("", None)
        if keyword and values.get(keyword) != needed:
            yield f"line {node.lineno} calls {name} without {keyword}={needed}"
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
        "tar.extractall(y)",
        "tar.extractall(y, filter='fully_trusted')",
        "eval(x)",
    ],
)
def test_the_scan_finds_what_it_looks_for(source: str) -> None:
    assert list(_faults(source))


def _safetensors(header: bytes, length: int | None = None, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + body


TENSOR = '{"a":{"dtype":"F32","shape":[%s],"data_offsets":[0,%s]}}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        _safetensors(b"{}", length=2**62),  # a header of exabytes
        _safetensors(b"{}", length=200_000_000, body=b" " * 1000),
        _safetensors(b"{"),
        _safetensors((TENSOR % (2**40, 2**42)).encode()),  # a tensor beyond the end of the file
        _safetensors((TENSOR % (3, 8)).encode(), body=b"12345678"),  # shape and bytes differ
        _safetensors((TENSOR % (2, 8)).encode(), body=b"1234"),
        _safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', body=b"12345678"),
    ],
)
def test_a_safetensors_file_that_lies_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    for read in (read_arrays, read_sparse):
        with pytest.raises(InputError, match="not a whole safetensors file"):
            read(path)


def test_the_lock_has_a_hash_for_everything() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.M).strip())
    assert len(entries) > 200
    for entry in entries:
        assert re.match(r"[\w.-]+==[\w.]+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    install = (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8")
    assert install.count("pip install") == install.count("--require-hashes") + 1  # and torch
    assert "--no-deps --require-hashes --requirement" in install


@pytest.mark.parametrize("variable", ["HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY"])
def test_tokens_stay_in_the_environment(variable: str) -> None:
    """No file of the project reads one (the libraries do), so none is logged or written."""
    for path in SOURCES:
        assert variable not in path.read_text(encoding="utf-8"), path
