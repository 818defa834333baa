# The DAG of dvc.yaml for parallel and cluster runs: one rule per resolved stage.
# `exact` (default) lets DVC run each stage, so dvc.lock and the run cache are kept as by
# `dvc repro`. `--config mode=fast` runs the bare commands and records them all at the end, if
# every job succeeded: for clusters, where DVC's locks on a shared file system hurt.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))
import dag

MODE = config.get("mode", "exact")
if MODE not in ("exact", "fast"):
    raise WorkflowError(f"config mode is {MODE!r}, expected exact or fast")
dag.check_params()
STAGES = dag.load_stages()


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
        output:
            [directory(o.path) if o.is_directory else o.path for o in stage.outputs],
        params:
            cmd=stage.shell(MODE),
            values=stage.params_text,
        log:
            f".snakemake/stages/{stage.rule}.log",
        conda:
            "workflow/environment.yaml"
        threads: stage.threads
        resources:
            mem_mb=stage.mem_mb,
        shell:
            "({params.cmd}) > {log} 2>&1"


onsuccess:
    # Only after success: a commit takes whatever lies there for the truth.
    if Path(dag.FAST_LOG).exists():
        shell(f"dvc commit -q -f $(sort -u {dag.FAST_LOG}) && rm {dag.FAST_LOG}")
