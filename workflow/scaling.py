"""Draw the graph, and how a run would scale: `python workflow/scaling.py`, which is `make scaling`.

Times are those of provenance.json: seconds of CPU of each stage of the committed run. What `make
repro` would take with more workers is simulated with its own scheduler (`schedule.simulate`); a
worker is one core, as stages use one thread unless they say otherwise, and memory does not bind.
Two bounds hold for any scheduler: all work over the workers, and the critical path, the longest
chain of stages that need each other.

For profile `tinystories`, which was never run as a whole, stages count as their kind takes in
the committed run (its mean), but training SAEs: `STEP_SECONDS` a step, which was measured.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import dag
import quick_dvc
import schedule
from universality import provenance
from universality.errors import InputError
from universality.params.complete import load_params
from universality.plots.style import COLORS, NULL_COLOR, save, styled

WORKERS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
STEP_SECONDS = 10.0
"""Of one core, for a training step of 4,096 activations at 1,024 x 16,384 with an L1 penalty: 4 to
6 s on two cores. Other widths of a model take in proportion to its square."""
STEP_WIDTH = 1024
WIDTHS = {"ts_1l_21m": 1024, "ts_2l_33m": 1024, "ts_1m": 64, "ts_3m": 128, "random_a": 128}
OUT = Path("figures", "workflow")

Needs = dict[str, set[str]]


def main() -> int:
    """Draw both figures and write the numbers; returns the exit status."""
    quick_dvc.quicken()
    graphs = {"embedded": dag.load_stages(), "tinystories": _of_profile("tinystories")}
    measured = provenance.cpu_seconds(Path())
    lacking = [stage.name for stage in graphs["embedded"] if stage.name not in measured]
    if lacking:
        raise InputError(f"provenance.json: no time of {lacking[0]} ({len(lacking)} such)")
    seconds = {
        "embedded": measured,
        "tinystories": _estimated(graphs["tinystories"], measured),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    numbers = {}
    with styled():
        figure = Figure(figsize=(10, 6.4))
        rows = figure.subplots(2, 2, width_ratios=[1, 1.5])
        for (name, stages), (left, right) in zip(graphs.items(), rows, strict=True):
            needs = needs_of(stages)
            numbers[name] = scaling(stages, needs, seconds[name])
            _draw_scaling(left, name, numbers[name])
            _draw_path(right, numbers[name], seconds[name])
        save(figure, OUT, "scaling")
        save(_draw_graph(graphs["embedded"], measured), OUT, "graph")
    text = json.dumps(numbers, indent=1) + "\n"
    (OUT / "scaling.json").write_text(text, encoding="utf-8")
    for name, found in numbers.items():
        wall = ", ".join(f"{w}: {s / 60:.1f}" for w, s in found["wall_seconds"].items())
        sys.stdout.write(f"{name}: minutes by workers {wall}\n")
    return 0


def needs_of(stages: list[dag.Stage]) -> Needs:
    """Return stage -> the stages whose outputs it reads."""
    maker = {out.path: stage.name for stage in stages for out in stage.outputs}
    return {s.name: {maker[path] for path in s.inputs if path in maker} for s in stages}


def scaling(stages: list[dag.Stage], needs: Needs, seconds: Mapping[str, float]) -> dict:
    """Return work, critical path, and simulated wall time by number of workers, in seconds."""
    names = [stage.name for stage in stages]
    demand = {stage.name: (stage.threads, stage.mem_mb) for stage in stages}
    path = critical_path(names, needs, seconds)
    wall = {}
    for workers in WORKERS:
        times = schedule.simulate(
            names, needs, seconds.__getitem__, demand.__getitem__, workers, 10**9
        )
        wall[workers] = round(max(end for _, end in times.values()), 1)
    return {
        "stages": len(names),
        "work_seconds": round(sum(seconds[name] for name in names), 1),
        "critical_path_seconds": round(sum(seconds[name] for name in path), 1),
        "critical_path": path,
        "wall_seconds": wall,
    }


def critical_path(names: list[str], needs: Needs, seconds: Mapping[str, float]) -> list[str]:
    """Return the longest chain of stages, in the order in which they run."""
    way = schedule.ways(names, needs, seconds.__getitem__)
    path = [max(names, key=way.__getitem__)]
    while after := [name for name in names if path[-1] in needs[name]]:
        path.append(max(after, key=way.__getitem__))
    return path


def _of_profile(name: str) -> list[dag.Stage]:
    """Return the stages of another profile: dvc.yaml with its parameters, in a folder for it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for file in ("dvc.yaml", ".dvc/config"):
            (root / file).parent.mkdir(exist_ok=True)
            shutil.copy(file, root / file)
        (root / "data").mkdir()
        for file in Path("data").glob("*.yaml"):
            shutil.copy(file, root / file)
        (root / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
        shutil.copy(Path("profiles", f"{name}.yaml"), root / "params.yaml")
        return dag.load_stages(root)


def _estimated(stages: list[dag.Stage], measured: Mapping[str, float]) -> dict[str, float]:
    kinds: dict[str, list[float]] = {}
    for name, value in measured.items():
        kinds.setdefault(_kind(name), []).append(value)
    params = load_params(Path("profiles", "tinystories.yaml"))
    # Downloads count as nothing: they wait for the network.
    seconds = {stage.name: mean(kinds.get(_kind(stage.name), [0.0])) for stage in stages}
    for key, model in params.sae_models.items():
        steps = model.n_samples / params.sae_training.batch_size
        n_saes = len(model.hooks) * len(model.seeds)
        each = STEP_SECONDS * (WIDTHS[key] / STEP_WIDTH) ** 2
        seconds[f"train_saes@{key}"] = n_saes * steps * each
    return seconds


def _kind(name: str) -> str:
    return name.partition("@")[0]


def _draw_scaling(axes: Axes, name: str, found: dict) -> None:
    unit, word = (60, "minutes") if found["work_seconds"] < 3 * 3600 else (86400, "days")
    workers = np.array(list(found["wall_seconds"]), dtype=float)
    wall = np.array(list(found["wall_seconds"].values())) / unit
    work, path = found["work_seconds"] / unit, found["critical_path_seconds"] / unit
    axes.plot(workers, wall, "o-", color=COLORS[0], label="simulated")
    axes.plot(workers, work / workers, "--", color=NULL_COLOR, label="all work / workers")
    axes.axhline(path, color=COLORS[1], ls=":", label=f"critical path, {path:.1f} {word}")
    axes.set(xscale="log", yscale="log", xlabel="workers", ylabel=f"wall time, {word}")
    axes.set_xticks(workers, [f"{w:.0f}" for w in workers])
    low = min(path, wall.min()) / 1.6
    ticks = [tick for tick in _TICKS if low <= tick <= wall.max() * 1.3]
    axes.set_ylim(low, wall.max() * 1.3)
    axes.minorticks_off()
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    basis = "measured" if name == "embedded" else "estimated"
    axes.set_title(f"{name}: {found['stages']} stages, {work:.1f} {word} of work ({basis})")
    axes.legend()


def _draw_path(axes: Axes, found: dict, seconds: Mapping[str, float]) -> None:
    path = found["critical_path"]
    unit, word = (60, "minutes") if found["work_seconds"] < 3 * 3600 else (86400, "days")
    start = 0.0
    for row, name in enumerate(path):
        length = seconds[name] / unit
        axes.barh(row, length, left=start, color=COLORS[1], height=0.7)
        start += length
        share = seconds[name] / found["critical_path_seconds"]
        label, late = f" {name}, {share:.0%} ", start > found["critical_path_seconds"] / unit / 2
        at, side = (start - length, "right") if late else (start, "left")
        color = "black"
        if share > 0.5:  # no room beside it
            at, side, color = start, "right", "white"
        axes.text(at, row, label, va="center", ha=side, fontsize=7.5, color=color)
    axes.set(xlabel=f"{word} from the start", title="the critical path", yticks=[])
    axes.set_xlim(0, start * 1.03)
    axes.invert_yaxis()
    axes.spines["left"].set_visible(False)


_TICKS = (1, 2, 3, 5, 7, 10, 14, 20, 30, 40, 60, 80, 100, 200)

STUDIES = {
    "models and texts": "fetch convert hub_model sample file_c gloss hub_c train_tok train_model "
    "random evaluate_model activations features hub_features plot_models",
    "SAEs": "train_saes evaluate_saes hub_saes sae_ train_grid evaluate_grid toy dashboard "
    "plot_saes plot_anatomy plot_widths plot_errors plot_toy",
    "matching": "match plot_match plot_cond plot_cards plot_agree",
    "spaces": "compare_spaces compare_dec svcca identify stitch feature_maps feature_coord "
    "linked_maps plot_maps plot_layers plot_sim",
    "steering": "steer decompose plot_steering plot_dec",
    "hierarchy": "wordnet concept compare_con plot_hier",
    "results": "metrics overview paper",
}
"""Study -> how the names of its kinds of stages begin; the first that fits counts."""


def study_of(kind: str) -> str:
    """Return the study that a kind of stage belongs to."""
    for study, starts in STUDIES.items():
        if kind.startswith(tuple(starts.split())):
            return study
    raise InputError(f"workflow/scaling.py: {kind} belongs to no study")


def _draw_graph(stages: list[dag.Stage], seconds: Mapping[str, float]) -> Figure:
    """Draw kinds of stages, in columns by their longest way from the sources, rows by study."""
    graph = nx.DiGraph()
    needs = needs_of(stages)
    for stage in stages:
        kind = _kind(stage.name)
        graph.add_node(kind)
        graph.add_edges_from((_kind(other), kind) for other in needs[stage.name])
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    kinds = list(nx.topological_sort(graph))
    depth: dict[str, int] = {}
    for kind in kinds:
        depth[kind] = max((depth[other] + 1 for other in graph.predecessors(kind)), default=0)
    place: dict[str, tuple[float, float]] = {}
    row, bounds = 0.0, []
    for study in STUDIES:
        members = [kind for kind in kinds if study_of(kind) == study]
        columns: dict[int, list[str]] = {}
        for kind in members:
            columns.setdefault(depth[kind], []).append(kind)
        height = max(map(len, columns.values()))
        for column, names in columns.items():
            for index, kind in enumerate(names):
                place[kind] = column, row + (index + 0.5) * height / len(names)
        bounds.append((study, row, row + height))
        row += height + 0.6
    figure = Figure(figsize=(15, 0.5 * row + 0.6))
    axes = figure.subplots()
    for index, (study, low, high) in enumerate(bounds):
        axes.axhspan(low - 0.2, high + 0.2, color=COLORS[index % 6], alpha=0.10, lw=0)
        axes.text(
            -0.68, (low + high) / 2, study, rotation=90, va="center", ha="center", weight="bold"
        )
    for source, target in nx.transitive_reduction(graph).edges:
        if target == "metrics":  # from every study: more lines than all others
            continue
        (x0, y0), (x1, y1) = place[source], place[target]
        color = COLORS[[*STUDIES].index(study_of(source)) % 6]
        axes.annotate(
            "", (x1 - 0.42, y1), (x0 + 0.42, y0), zorder=1,
            arrowprops={"arrowstyle": "-|>", "lw": 0.7, "color": color, "mutation_scale": 7,
                        "connectionstyle": "arc3,rad=0.05"},
        )  # fmt: skip
    for kind, (x, y) in place.items():
        members = [stage.name for stage in stages if _kind(stage.name) == kind]
        took = sum(seconds[name] for name in members)
        times = f"{len(members)} stages, " if len(members) > 1 else ""
        axes.text(
            x, y, f"{kind}\n{times}{took:.0f} s", ha="center", va="center", fontsize=6.8, zorder=3,
            bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": "#444444", "lw": 0.6},
        )  # fmt: skip
    x, y = place["metrics"]
    axes.text(x - 0.5, y, "the tables of every study:", ha="right", va="center", fontsize=8)
    axes.set(xlim=(-0.8, max(depth.values()) + 0.6), ylim=(row, -0.4))
    axes.axis("off")
    return figure


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"universality: {error}")
