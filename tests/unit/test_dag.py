import ast
import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest

import parameter_sets
from universality.core.fingerprints import FILE, fingerprints
from universality.core.params.base import Section, read_yaml
from universality.params import Params, load_params

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "pipeline"))

import dag  # noqa: E402  # pyright: ignore[reportMissingImports]
import lock  # noqa: E402  # pyright: ignore[reportMissingImports]

PROFILES = [ROOT / "params.yaml", *sorted((ROOT / "profiles").glob("*.yaml"))]


@pytest.fixture(scope="module")
def stages():
    return dag.load_stages(ROOT)


# What dvc.yaml says against what is true of the code.


def test_every_stage_depends_on_the_code_of_its_command(stages):
    assert dag.undeclared(stages, ROOT / "src") == []


def test_declared_params_are_those_read():
    """Top-level sections of params.yaml: declared in dvc.yaml = read by the stage's file."""
    for name, stage in read_yaml(ROOT / "dvc.yaml")["stages"].items():
        body = stage.get("do", stage)
        keys = [item for item in body.get("params") or [] if isinstance(item, str)]
        declared = {key.split(".")[0] for key in keys}
        command = body["cmd"].split()[2].replace("-", "_")
        (file,) = (ROOT / "src").rglob(f"stages/{command}.py")
        assert declared == sections_read(file), name


def sections_read(file):
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) != "load_section":
            continue
        if ast.unparse(node.args[0]) == "params":
            section = node.args[2]
            assert isinstance(section, ast.Constant), f"{file}: name the section literally"
            found.add(section.value)
    return found


def test_only_stages_read_parameters():
    files = (ROOT / "src").rglob("*.py")
    readers = {f.parent.name for f in files if "load_section(" in f.read_text(encoding="utf-8")}
    assert readers <= {"stages", "commands", "params"}


def test_stages_are_short():
    """A stage reads, calls the science and writes; what is longer is science and lies elsewhere."""
    for file in (ROOT / "src").rglob("*.py"):
        if file.parent.name not in ("stages", "commands"):
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            where = f"{file}: {getattr(node, 'name', '')}"
            assert not isinstance(node, ast.ClassDef), where
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                n_lines = (node.end_lineno or 0) - node.lineno + 1
                assert n_lines <= (50 if node.name == "command" else 6), where


def test_lock_matches_code_params_and_dvc_yaml(stages):
    if not (ROOT / "dvc.lock").exists():
        pytest.skip("no dvc.lock yet: `make repro` writes it")
    assert lock.problems(ROOT, stages) == []


def test_only_tables_and_what_is_pinned_lie_in_the_committed_remote(stages):
    for stage in stages:
        for out in stage.outputs:
            expected = bool(stage.pinned) or out.path.startswith("data/tables/")
            assert (out.remote == "tables") == expected, out.path
            assert out.in_cache == out.path.startswith("data/"), out.path


def test_rules_are_unique_and_every_stage_is_reached(stages):
    assert len({stage.rule for stage in stages}) == len(stages)
    makers = {out.path: stage for stage in stages for out in stage.outputs}
    todo, reached = [makers[path] for path in dag.final_outputs(stages)], set()
    while todo:
        stage = todo.pop()
        if stage.name not in reached:
            reached.add(stage.name)
            todo += [makers[path] for path in stage.inputs if path in makers]
    assert reached == {stage.name for stage in stages if not stage.always}


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_profile_is_valid(path, tmp_path):
    """As `make repro PROFILE=...` uses it: one with a base is laid over that."""
    used = tmp_path / "params.yaml"
    used.write_text(parameter_sets.overlays.parameters(path))
    load_params(used)


@pytest.mark.parametrize("name", ["tinystories", "pretrained"])  # which no test runs as a whole
def test_graph_of_the_profile_has_all_its_inputs(name, tmp_path, monkeypatch):
    path = parameter_sets.file(name)
    for file in ("dvc.yaml", "data/sources.yaml", ".dvc/config"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    shutil.copy(path, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    stages = {stage.name: stage for stage in dag.load_stages()}
    made = [out.path for stage in stages.values() for out in stage.outputs]
    assert len(set(made)) == len(made)
    for stage in stages.values():
        lacking = [p for p in stage.inputs if p not in made and not (ROOT / p).exists()]
        assert lacking == [], stage.name
    for key in load_params(path).hub_saes:  # nothing is done with them before the check
        for stage in ("hub_saes", "sae_hooks", "hub_features"):
            assert f"{stage}@{key}" in stages
        checked = stages[f"sae_hooks@{key}"].outputs[0].path
        assert checked in stages[f"hub_features@{key}"].inputs
        assert f"train_saes@{key}" not in stages


def test_every_parameter_is_described():
    def undescribed(model):
        assert model.__doc__, model
        for name, field in model.model_fields.items():
            arguments = [field.annotation, *getattr(field.annotation, "__args__", ())]
            inner = [a for a in arguments if isinstance(a, type) and issubclass(a, Section)]
            if not inner and not field.description:
                yield f"{model.__name__}.{name}"
            for section in inner:
                yield from undescribed(section)

    assert list(undescribed(Params)) == []


# The parts, on made-up input.


def stage(name="s@x", **changes):
    given = {
        "cmd": "universality s x",
        "deps": ("src/a.py",),
        "inputs": ("src/a.py",),
        "outputs": (dag.Output("data/x", True, None, True),),
        "params": {"params.yaml": {"k": 1}},
        "threads": 1,
        "mem_mb": 1,
        "gpus": 0,
    }
    return dag.Stage(name=name, **(given | changes))


def test_members_of_a_shared_directory():
    outputs = ["t/a", "t/b/c", "tt/d"]
    assert dag.members("t", outputs) == ["t/a", "t/b/c"]
    assert dag.members("t/a", outputs) == ["t/a"]
    assert dag.members("src/a.py", outputs) == ["src/a.py"]


def test_a_study_has_its_tables_and_no_part_of_a_folder():
    kept = [dag.Output(path, True, "tables", True) for path in ("t/a", "page", "t/b", "u")]
    figures = [dag.Output(f"figures/{name}", True, None, False) for name in ("one", "none")]
    stages = [
        stage("a", outputs=(kept[0], kept[1], dag.Output("model", True, None, True))),
        stage("b", outputs=(kept[2],)),
        stage("c", outputs=(kept[3],)),
        stage("metrics", deps=("t", "u"), inputs=("t/a", "t/b", "u")),
        stage("one", deps=("t/a",), inputs=("t/a",), outputs=(figures[0],)),
        stage("none", outputs=(figures[1],)),
    ]
    assert dag.studies(stages) == {"one": ["page", "t/a", "t/b"]}


def test_the_longest_way_in_seconds_has_the_highest_priority():
    needs = {"a": "", "b": "a", "c": "a", "d": "bc", "e": ""}
    made = {name: dag.Output(name, False, None, True) for name in needs}
    stages = [stage(x, inputs=tuple(of), outputs=(made[x],)) for x, of in needs.items()]
    seconds = {"b": 4.5, "c": 2, "d": 1, "e": 4}  # `a` never ran
    assert dag.priorities(stages, seconds) == {"a": 7, "b": 6, "c": 3, "d": 1, "e": 4}


def test_strays_are_files_that_no_stage_makes(tmp_path):
    for name in ("t/a", "t/old", "t/b/c", "other"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    makers = [stage(outputs=(dag.Output(p, p == "t/b", None, True),)) for p in ("t/a", "t/b")]
    found = dag.layout([*makers, stage("reader", deps=("t",))])
    assert found == {
        "outputs": ["t/a", "t/b", "data/x"],
        "shared": ["t"],
        "names": ["s@x", "s@x", "reader"],
        "pinned": {},
    }
    assert dag.layout([stage("a", pinned="text"), stage("b")])["pinned"] == {"text": ["a"]}
    assert dag.strays(tmp_path, ["t/a", "t/b"], ["t"]) == [tmp_path / "t/old"]
    known = dag.layout(makers)
    assert dag.strays(tmp_path, known["outputs"], known["shared"]) == []


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_what_of_the_code_a_stage_must_declare(tmp_path):
    write(tmp_path, {"src/universality/stages/do_it.py": "x = 1\n"})
    right = fingerprints(tmp_path / "src")
    good = stage("good", cmd="universality run do-it x", deps=(), params={FILE: right})
    pinned = stage("pinned", cmd="universality run do-it x", deps=(), params={}, pinned="text")
    assert dag.undeclared([good, pinned], tmp_path / "src") == []
    for changes, problem in (
        ({"params": {}}, "dvc.yaml: s: params lack fingerprints.json: [do_it]"),
        ({"params": {FILE: {"do_it": "other"}}}, "fingerprints.json: do_it is not that of the"),
        ({"params": {FILE: {"more": "x", **right}}}, "dvc.yaml: s: params lack"),
        ({"cmd": "universality run do-that"}, "dvc.yaml: s: the package has no stage 'do_that'"),
        ({"pinned": "text"}, "dvc.yaml: s: it is pinned, so it depends on no code"),
        ({"deps": ("src/a.py",)}, "dvc.yaml: s: deps list src/a.py, which its fingerprint"),
    ):
        given = {"cmd": "universality run do-it", "deps": (), "params": {FILE: right}} | changes
        (found,) = dag.undeclared([stage("s", **given)], tmp_path / "src")
        assert found.startswith(problem)


def test_directory_hash_is_dvcs():
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta
    from dvc_data.hashfile.tree import Tree

    files = {name: hashlib.md5(name.encode()).hexdigest() for name in ("a/b", "a-b/c", "a", "B")}
    tree = Tree()
    for name, md5 in files.items():
        tree.add(tuple(name.split("/")), Meta(), HashInfo("md5", md5))
    tree.digest()
    assert tree.hash_info is not None
    assert lock._directory_hash(files) == tree.hash_info.value


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


@pytest.fixture
def locked(tmp_path):
    """A project of a maker and a reader whose dvc.lock is right."""
    listing = json.dumps([{"md5": md5("row"), "relpath": "t"}])
    table = md5(listing) + ".dir"
    both = json.dumps([{"md5": md5("row"), "relpath": "x/t"}])
    write(
        tmp_path,
        {
            "src/a.py": "a",
            "metrics/m.json": "{}",
            f"remote/files/md5/{table[:2]}/{table[2:]}": listing,
        },
    )
    a = {"path": "src/a.py", "md5": md5("a")}
    maker = {"cmd": "universality s x", "deps": [a], "params": {"params.yaml": {"k": 1}}}
    maker["outs"] = [{"path": "data/tables/x", "md5": table}]
    reader = {"cmd": "universality r", "outs": [{"path": "metrics/m.json", "md5": md5("{}")}]}
    reader["deps"] = [{"path": "data/tables", "md5": md5(both) + ".dir"}]
    stages = [
        stage(outputs=(dag.Output("data/tables/x", True, "tables", True),)),
        stage(
            "r",
            cmd="universality r",
            deps=("data/tables",),
            params={},
            outputs=(dag.Output("metrics/m.json", False, None, False),),
        ),
    ]
    return tmp_path, {"s@x": maker, "r": reader}, stages


def lock_problems(root, entries, stages):
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": entries}))
    return lock.problems(root, stages)


def test_right_lock_has_no_problems(locked):
    assert lock_problems(*locked) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda root, e: e["s@x"].update(cmd="other"), "s@x: cmd was 'other'"),
        (lambda root, e: e["s@x"]["params"]["params.yaml"].update(k=2), "params.yaml: k was 2"),
        (lambda root, e: (root / "src/a.py").write_text("b"), "s@x: src/a.py was"),
        (lambda root, e: (root / "metrics/m.json").write_text("[]"), "metrics/m.json is not"),
        (lambda root, e: e["s@x"]["outs"][0].update(md5="0" * 32), "r: data/tables was"),
        (lambda root, e: e["s@x"]["deps"].clear(), "s@x: deps differ from dvc.yaml: src/a.py"),
        (lambda root, e: e.pop("s@x"), "s@x: was never run"),
        (lambda root, e: e.update(old={"cmd": "x"}), "dvc.lock: old is no stage any more"),
        (lambda root, e: next(root.glob("remote/*/*/*/*")).unlink(), "not in remote/"),
    ],
)
def test_each_difference_is_one_line(locked, change, expected):
    root, entries, stages = locked
    change(root, entries)
    assert any(expected in line for line in lock_problems(root, entries, stages))
