"""Run the nodes of a graph, several at once, each after all that it depends on."""

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from universality.errors import InputError

Node = TypeVar("Node", bound=Hashable)
Result = TypeVar("Result")

THREADS = int(os.environ.get("UNIVERSALITY_THREADS", "1"))
"""What a library may use in a stage; `universality.cli.settle` tells them."""


def n_cores() -> int:
    """Return how many cores all stages together use: UNIVERSALITY_CORES, or all there are."""
    text = os.environ.get("UNIVERSALITY_CORES") or str(os.cpu_count() or 1)
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"UNIVERSALITY_CORES is {text!r}, expected a number from 1 on")
    return int(text)


def memory_mb() -> int:
    """Return the memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def run(
    nodes: Sequence[Node],
    needs: Mapping[Node, set[Node]],
    work: Callable[[Node], Result],
    demand: Callable[[Node], tuple[int, int]] = lambda _: (1, 0),
    cores: int | None = None,
    memory: int | None = None,
) -> tuple[dict[Node, Result], dict[Node, Exception]]:
    """Call `work` for every node, after it returned for all that the node `needs`.

    Of the nodes that are ready, the one with the longest way to go after it starts first. So many
    run at once as their `demand`, threads and MB, fits into `cores` (`n_cores`) and `memory`
    (`memory_mb`), but always one. After an error nothing new starts; what runs is waited for.

    Returns:
        What `work` returned, and what it raised.
    """
    room = cores or n_cores(), memory or memory_mb()
    way = _ways(nodes, needs)
    left = sorted(nodes, key=lambda node: -way[node])  # stable: else the given order
    running: dict[Future[Result], Node] = {}
    results: dict[Node, Result] = {}
    errors: dict[Node, Exception] = {}
    with ThreadPoolExecutor(len(nodes) or 1) as pool:
        while running or (left and not errors):
            for node in list(left if not errors else ()):
                if not needs[node] & way.keys() <= results.keys():
                    continue
                used = zip(*map(demand, [node, *running.values()]), strict=True)
                if running and any(sum(x) > y for x, y in zip(used, room, strict=True)):
                    break  # or small ones would keep a large one waiting for ever
                running[pool.submit(work, node)] = node
                left.remove(node)
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                node = running.pop(done)
                error = done.exception()
                if isinstance(error, Exception):
                    errors[node] = error
                else:
                    results[node] = done.result()
    return results, errors


def _ways(nodes: Sequence[Node], needs: Mapping[Node, set[Node]]) -> dict[Node, int]:
    """Return the length of the longest chain of `nodes` that starts at each."""
    way = dict.fromkeys(nodes, 0)

    def at_least(node: Node, length: int) -> None:
        if node in way and way[node] < length:
            way[node] = length
            for other in needs[node]:
                at_least(other, length + 1)

    for node in nodes:
        at_least(node, 1)
    return way
