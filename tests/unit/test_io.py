import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from universality.core import io
from universality.core.errors import InputError
from universality.core.randomness import derive_seed, generator


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    io.write_json(path, {"x": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        io.write_json(path, {"x": float("nan")})
    with pytest.raises(RuntimeError), io.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert io.read_json(path) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_failed_directory_leaves_the_old_one(tmp_path):
    path = tmp_path / "d"
    with io.atomic_directory(path) as folder:
        (folder / "old").touch()
    with pytest.raises(RuntimeError), io.atomic_directory(path) as folder:
        (folder / "new").touch()
        raise RuntimeError
    assert [p.name for p in path.iterdir()] == ["old"]
    with io.atomic_directory(path) as folder:
        (folder / "new").touch()
    assert [p.name for p in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_round_trips(tmp_path):
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    io.write_table(tmp_path / "t.parquet", table)
    pd.testing.assert_frame_equal(io.read_table(tmp_path / "t.parquet"), table)
    matrix = sp.csr_matrix(np.random.default_rng(0).poisson(0.1, (50, 30)).astype(np.float32))
    io.write_sparse(tmp_path / "m.safetensors", matrix)
    again = io.read_sparse(tmp_path / "m.safetensors")
    assert again.shape == (50, 30)
    assert np.array_equal(again.toarray(), matrix.toarray())


def test_missing_and_broken_files_say_so(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        io.read_table(tmp_path / "none.parquet")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match=r"bad\.json: not valid JSON"):
        io.read_json(tmp_path / "bad.json")


def test_streams_of_different_names_are_independent():
    assert derive_seed(0, "a") != derive_seed(0, "b") != derive_seed(1, "b")
    assert derive_seed(0, "a", "b") != derive_seed(0, "ab")
    assert generator(3, "x").random() == generator(3, "x").random()
