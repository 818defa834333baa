"""Run the nodes of a graph, several at once, each after all that it depends on."""

import os
from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from universality.core.errors import InputError

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


Demand = Callable[[Node], tuple[int, ...]]
"""Node -> threads, MB of memory, and GPUs that it uses."""


def run(
    nodes: Sequence[Node],
    needs: Mapping[Node, set[Node]],
    work: Callable[[Node], Result],
    demand: Demand[Node] = lambda _: (1, 0),
    cores: int | None = None,
    memory: int | None = None,
    devices: int = 0,
    seconds: Callable[[Node], float] = lambda _: 1,
) -> tuple[dict[Node, Result], dict[Node, Exception]]:
    """Call `work` for every node, after it returned for all that the node `needs`.

    Of the nodes that are ready, the one with the longest way to go after it starts first, in
    `seconds`. So many run at once as their `demand` fits into `cores` (`n_cores`), `memory`
    (`memory_mb`) and `devices`, but always one; without devices, all runs on the processor. After
    an error nothing new starts; what runs is waited for.

    Returns:
        What `work` returned, and what it raised.
    """
    queue = _Queue(
        nodes, needs, demand, (cores or n_cores(), memory or memory_mb(), devices), seconds
    )
    running: dict[Future[Result], Node] = {}
    results: dict[Node, Result] = {}
    errors: dict[Node, Exception] = {}
    with ThreadPoolExecutor(len(nodes) or 1) as pool:
        while running or (queue.left and not errors):
            while not errors and (node := queue.next(results, running.values())) is not None:
                running[pool.submit(work, node)] = node
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                node = running.pop(done)
                error = done.exception()
                if isinstance(error, Exception):
                    errors[node] = error
                else:
                    results[node] = done.result()
    return results, errors


class _Queue(Generic[Node]):
    """Nodes that did not start yet."""

    def __init__(
        self,
        nodes: Sequence[Node],
        needs: Mapping[Node, set[Node]],
        demand: Demand[Node],
        room: tuple[int, int, int],
        seconds: Callable[[Node], float],
    ):
        way = ways(nodes, needs, seconds)
        self.left = sorted(nodes, key=lambda node: -way[node])  # stable: else the given order
        self._needs = {node: needs[node] & way.keys() for node in nodes}
        self._demand, self._room = demand, room if room[2] else room[:2]

    def next(self, done: Container[Node], running: Iterable[Node]) -> Node | None:
        """Take out the node that starts now, if one does."""
        beside = [self._demand(node) for node in running]
        for node in self.left:
            if any(other not in done for other in self._needs[node]):
                continue
            used = zip(self._demand(node), *beside, strict=True)
            if beside and any(sum(x) > y for x, y in zip(used, self._room, strict=False)):
                return None  # or small ones would keep a large one waiting for ever
            self.left.remove(node)
            return node
        return None


def ways(
    nodes: Sequence[Node], needs: Mapping[Node, set[Node]], seconds: Callable[[Node], float]
) -> dict[Node, float]:
    """Return the length in seconds of the longest chain of `nodes` that starts at each."""
    after: dict[Node, list[Node]] = {node: [] for node in nodes}
    for node in nodes:
        for other in needs[node]:
            if other in after:
                after[other].append(node)
    way: dict[Node, float] = {}

    def length(node: Node) -> float:
        if node not in way:
            way[node] = seconds(node) + max(map(length, after[node]), default=0.0)
        return way[node]

    for node in nodes:
        length(node)
    return way
