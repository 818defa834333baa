# The DAG of dvc.yaml for parallel and cluster runs: one rule per resolved stage.
# `exact` (default) lets DVC run each stage, so dvc.lock and the run cache are kept as by
# `dvc repro`. `--config mode=fast` runs the bare commands and records them all at the end, if
# every job succeeded: for clusters, where DVC's locks on a shared file system hurt.
# `--config gpus=1` asks the scheduler for a device for stages that can use one: by default, where
# this machine has some.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "pipeline"))
import dag
import machine
from universality.present.provenance import cpu_seconds

MODE = config.get("mode", "exact")
if MODE not in ("exact", "fast"):
    raise WorkflowError(f"config mode is {MODE!r}, expected exact or fast")
dag.job.set_mode(MODE)  # not in the rules: another mode is no reason to run
WITH_GPUS = config.get("gpus", bool(machine.visible()))
dag.check_inputs()
# The stage that reads the code is no rule: `check_inputs` has just done what it does, and `onstart`
# has DVC record it.
STAGES = [stage for stage in dag.load_stages() if not stage.always]
dag.stamp(STAGES)
PRIORITY = dag.priorities(STAGES, cpu_seconds(Path()))
# A stage that needs more than this machine has runs alone.
MEMORY = config.get("memory_mb", sys.maxsize)


onstart:
    shell("python pipeline/quick_dvc.py repro -q -s fingerprints")


# Only what no other stage reads: after `make pull`, missing models are then no reason to run.
rule all:
    input:
        dag.final_outputs(STAGES),
    default_target: True


for stage in STAGES:

    rule:
        name:
            stage.rule
        input:
            stage.inputs,
            made_from=stage.stamp,
        output:
            [directory(o.path) if o.is_directory else o.path for o in stage.outputs],
        params:
            stage=f"--stage={stage.name}",
            values=stage.made_from,
        log:
            f".snakemake/stages/{stage.rule}.log",
        conda:
            "pipeline/environment.yaml"
        threads: stage.threads
        priority: PRIORITY[stage.name]
        resources:
            mem_mb=min(stage.mem_mb, MEMORY),
            gpu=stage.gpus if WITH_GPUS else 0,
        shell:
            # The line that says how long it took goes on to the terminal: 3.
            "python pipeline/job.py {params.stage} {resources.gpu} 3>&2 > {log} 2>&1"


onsuccess:
    shell("python pipeline/job.py commit")
