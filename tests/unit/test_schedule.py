"""Running the stages of a graph side by side."""

import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "pipeline"))
import schedule  # pyright: ignore[reportMissingImports]

NEEDS = {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}, "e": set()}


class Work:
    """Notes what runs beside what, and in which order things start and end."""

    def __init__(self, bad: str = ""):
        self.started, self.ended, self.beside = [], [], []
        self._bad, self._mine, self._now = bad, threading.Lock(), set()

    def __call__(self, node: str) -> str:
        with self._mine:
            self.started.append(node)
            self._now.add(node)
            self.beside.append(set(self._now))
        time.sleep(0.05)
        with self._mine:
            self._now.remove(node)
            self.ended.append(node)
        if node == self._bad:
            raise ValueError(node)
        return node.upper()


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_each_node_runs_once_after_what_it_needs(cores):
    work = Work()
    results, errors = schedule.run(list(NEEDS), NEEDS, work, cores=cores)
    assert errors == {}
    assert results == {node: node.upper() for node in NEEDS}
    assert sorted(work.started) == sorted(NEEDS)
    for node, needed in NEEDS.items():
        for other in needed:
            assert work.ended.index(other) < work.ended.index(node)
    assert min(cores, 2) <= max(map(len, work.beside)) <= cores


def test_the_longest_chain_starts_first():
    work = Work()
    schedule.run(["e", "a", "b", "c", "d"], NEEDS, work, cores=1)
    assert work.started == ["a", "b", "c", "e", "d"]


@pytest.mark.parametrize("which", ["threads", "memory"])
def test_what_does_not_fit_waits(which):
    free = {node: set() for node in "abc"}
    sizes = {"a": 5, "b": 6, "c": 9}

    def run(nodes, size):
        work = Work()
        demand = lambda n: (size(n), 1) if which == "threads" else (1, size(n))  # noqa: E731
        schedule.run(nodes, free, work, demand, cores=11, memory=11)
        return work

    assert run(list(free), sizes.__getitem__).beside == [{"a"}, {"a", "b"}, {"c"}]
    assert run(["a"], lambda _: 99).ended == ["a"]


def test_after_an_error_nothing_new_starts():
    work = Work(bad="a")
    results, errors = schedule.run(list(NEEDS), NEEDS, work, cores=2)
    assert sorted(work.started) == ["a", "e"]
    assert results == {"e": "E"}
    assert [str(error) for error in errors.values()] == ["a"]


def test_a_subset_of_the_graph_needs_only_what_is_in_it():
    assert schedule.run(["d", "b"], NEEDS, Work(), cores=2)[0] == {"b": "B", "d": "D"}


def test_cores_from_the_environment(monkeypatch):
    monkeypatch.setenv("UNIVERSALITY_CORES", "3")
    assert schedule.n_cores() == 3
    monkeypatch.setenv("UNIVERSALITY_CORES", "many")
    with pytest.raises(schedule.InputError, match="'many'"):
        schedule.n_cores()


SECONDS = {"a": 1, "b": 5, "c": 2, "d": 1, "e": 4}


def test_the_longest_way_in_seconds_starts_first():
    work = Work()
    schedule.run(["e", "a", "c", "b", "d"], NEEDS, work, cores=1, seconds=SECONDS.__getitem__)
    assert work.started == ["a", "b", "e", "c", "d"]
    assert schedule.ways("abcde", NEEDS, SECONDS.__getitem__) == {
        "a": 7, "b": 6, "c": 3, "d": 1, "e": 4,
    }  # fmt: skip
