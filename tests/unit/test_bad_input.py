"""Mutated parameter files: either fine, or one line that says what is wrong; never a traceback."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

import parameter_sets
from repetitions import times
from universality.core.errors import InputError
from universality.core.params.base import load_section, validate
from universality.params import check_params, load_params
from universality.sources.catalogue import Artifact
from universality.studies.matching.params.matching import ConceptLists
from universality.studies.spaces.params.feature_maps import Cycles
from universality.studies.steering.params.steering import Contrasts

ROOT = Path(__file__).parents[2]
N_MUTATIONS = times(60, 400)
FILES = {
    "concepts.yaml": ConceptLists,
    "contrasts.yaml": Contrasts,
    "cycles.yaml": Cycles,
}
ODD = [
    None, True, -1, 0, 1, 0.5, 10**30, -0.0, math.nan, math.inf, "", " ", "stories15m", "../../etc",
    "blocks", "blocks.x.hook", "blocks.99.hook_mlp_out", "a\nb", "\u0000", "ключ", "x" * 300,
    [], {}, [[]], [None], {"a": 1}, ["stories15m"], [0, 0], {"": ""}, {1: 2},
]  # fmt: skip


def _read(name: str) -> Any:
    return YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8"))


def _places(value: Any, path: tuple = ()) -> list[tuple]:
    """Every place in nested lists and mappings."""
    children = value.items() if isinstance(value, dict) else enumerate(value)
    if not isinstance(value, dict | list):
        return [path]
    found = [path] if path else []
    for key, child in children:
        found += _places(child, (*path, key)) if isinstance(child, dict | list) else [(*path, key)]
    return found


def _mutated(draw: Any, value: Any, places: list[tuple]) -> tuple[Any, str]:
    """A copy of `value` with something changed at a random place, and what."""
    value = copy.deepcopy(value)
    path = draw(st.sampled_from(places))
    inside = value
    for key in path[:-1]:
        inside = inside[key]
    last = path[-1]
    how = draw(st.sampled_from(["replace", "delete", "rename", "twice", "other"]))
    if how == "delete":
        del inside[last]
    elif how == "rename" and isinstance(inside, dict):
        inside[f"{last}x"] = inside.pop(last)
    elif how == "twice" and isinstance(inside, list):
        inside.append(inside[last])
    elif how == "other":  # what stands elsewhere in the file
        from_there = value
        for key in draw(st.sampled_from(places)):
            if not isinstance(from_there, dict | list) or from_there is inside:
                break
            from_there = from_there[key] if isinstance(from_there, list) else from_there.get(key)
        inside[last] = copy.deepcopy(from_there)
    else:
        inside[last] = draw(st.sampled_from(ODD))
    return value, f"{how} at {path}"


def _error(read: Callable[[], Any]) -> str | None:
    """The message that `read` fails with, None if all is well; any other error is a bug."""
    try:
        read()
    except InputError as error:
        return str(error)
    return None


def _is_one_line(message: str, start: str) -> None:
    assert message.startswith(start)
    assert len(message) > len(start)
    assert "\n" not in message


PARAMS = {
    name: YAML(typ="safe").load(parameter_sets.text(name)) for name in ("smoke", "pretrained")
}


@settings(
    max_examples=N_MUTATIONS, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(st.data())
def test_mutated_params_are_fine_or_one_clear_line(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(PARAMS)))
    value, what = _mutated(data.draw, PARAMS[name], _places(PARAMS[name]))
    message = _error(lambda: check_params(value, "params.yaml"))
    note(f"{name}: {what}: {message}")
    if message is not None:
        _is_one_line(message, "params.yaml: ")


@pytest.mark.parametrize("name", FILES)
@settings(
    max_examples=times(40, 100), deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(data=st.data())
def test_mutated_word_lists_are_fine_or_one_clear_line(name: str, data: st.DataObject) -> None:
    original = _read(f"data/{name}")
    value, _ = _mutated(data.draw, original, _places(original))
    message = _error(lambda: validate(FILES[name], value, name))
    if message is not None:
        _is_one_line(message, f"{name}: ")


@settings(max_examples=times(50, 150), deadline=None, derandomize=True)
@given(st.data())
def test_mutated_sources_are_fine_or_one_clear_line(data: st.DataObject) -> None:
    entries = _read("data/sources.yaml")
    name = data.draw(st.sampled_from(sorted(entries)))
    value, _ = _mutated(data.draw, entries[name], _places(entries[name]))
    message = _error(lambda: validate(Artifact, value, f"sources.yaml: {name}"))
    if message is not None:
        _is_one_line(message, "sources.yaml: ")


TEXT = parameter_sets.text("smoke")
CUTS = [TEXT[: len(TEXT) * part // 12] for part in range(12)]
BROKEN = [TEXT.replace("corpus:", f"corpus{odd}", 1) for odd in ("\t:", ": [", ": &", ": !!x", "")]


@pytest.mark.parametrize("text", [*CUTS, *BROKEN, "\x00", "- a", "5", "\ufeff" + TEXT[:99]])
def test_broken_text_is_one_clear_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    message = _error(lambda: load_params(path))
    assert message is not None
    _is_one_line(message, f"{path}: ")


def test_bytes_that_are_no_text_are_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "contrasts.yaml"
    path.write_bytes(b"\xff\xfe\x00a: 1")
    with pytest.raises(InputError, match=r"contrasts.yaml: cannot be read"):
        load_section(path, Contrasts)


def test_what_is_fine_stays_fine() -> None:
    for value in PARAMS.values():
        check_params(json.loads(json.dumps(value)), "params.yaml")
