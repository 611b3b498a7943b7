"""RSPose Bench: from datasets to the tables that compare heatmap losses.

`snakemake` runs the grid of config/demo.yaml; `snakemake --configfile config/<name>.yaml` another one, and
`--config losses=[mse,rspose] seeds=[0,1]` changes single keys. `snakemake tables` makes the tables alone.
"""

import os
import shlex
import sys
from pathlib import Path

from snakemake.logging import logger
from snakemake.utils import min_version

min_version("9.27")  # priorities that are functions

sys.path.insert(0, str(Path(workflow.basedir)))

from rspose.datasets import DATASETS
from rspose.datasets.check import check_dataset_once
from rspose.datasets.manifest import read_manifest
from rspose.grid.cell import Cell
from rspose.grid.digests import Digests
from rspose.grid.config import ConfigError, complete, given, merged, typed
from rspose.grid.job import tells_more
from rspose.grid.lock import claim_results
from rspose.grid.record import CONTROLS, said_of_loss
from rspose.grid import fingerprints, tuning
from rspose.grid.records import record_files

if workflow.local_exec:  # the jobs of a cluster have another terminal
    logger.addFilter(tells_more)

config_files = [Path(file) for file in workflow.config_settings.configfiles]
config_files = config_files or [Path(workflow.basedir) / "config/demo.yaml"]
changes = typed(workflow.config_settings.config)
try:
    # Not as Snakemake merged them: what a file names lies beside that file.
    CONFIG = complete(merged(config_files, changes), config_files[-1])
    if CONFIG.tuning and not CONFIG.records:
        for cell in CONFIG.cells():
            tuning.kept(CONFIG, cell)  # raises where the choices do not fit
except ConfigError as error:
    sys.exit(f"error: {error}")
# For the jobs, as plain data; here all is read from CONFIG.
config.clear()
config.update(CONFIG.plain())
# For the records. As a param it would make every cell again where the same config lies elsewhere.
config["given"] = given(config_files, changes, Path(workflow.basedir), Path.cwd())

# Jobs read it to say how long the grid still takes; as a param it would make every cell depend on it. On a cluster
# there is no such number: it is 0 there, in the jobs too, which inherit it.
os.environ.setdefault("RSPOSE_CORES", str(workflow.resource_settings.cores or 0))


report: "workflow/report/workflow.rst"


if workflow.local_exec and "gpu" in workflow.global_resources:
    # The profile counts GPUs, the jobs ask for places on them.
    workflow.register_resource("gpu", CONFIG.cells_per_gpu * workflow.global_resources["gpu"].value)

RESULTS = CONFIG.results
CELLS = [] if CONFIG.records else CONFIG.cells()


wildcard_constraints:
    dataset="[^/]+",
    model="[^/]+",
    head="[^/]+",
    loss="[^/]+",
    seed=r"\d+(-length[\d.]+)?",  # the length with it, if it is not 1
    trial=r"\d+",


include: "workflow/rules/common.smk"


# Of records that are there, only tables and the report are made: no rule may think of training their cells.
if not CONFIG.records:

    if workflow.is_main_process:  # not in each job of a cluster: it reads every annotation file
        check_real_datasets()
        check_pretrained_weights()

    include: "workflow/rules/data.smk"

    if CONFIG.tuning:

        include: "workflow/rules/tuning.smk"
    include: "workflow/rules/training.smk"
    include: "workflow/rules/evaluation.smk"


include: "workflow/rules/reporting.smk"


onstart:
    if workflow.is_main_process:
        try:
            claim_results(RESULTS)
        except OSError as error:
            sys.exit(f"error: {error}")


onerror:
    if not CONFIG.records:
        command = ["rspose", "tables", f"{RESULTS}/records", "--out", f"{RESULTS}/tables"]
        region = ["--equivalence", f"{CONFIG.equivalence:g}"]
        print(f"tables of what is there: {shlex.join(command + region)}", file=sys.stderr)


rule all:
    default_target: True
    input:
        rules.tables.output,
        rules.study.output,
        rules.report.output,
        [] if CONFIG.records else rules.localisation_report.output,
        figure_sheets("predictions", "heatmaps"),
        # a grid of one dataset has no table before its table
        [] if CONFIG.records or len(CONFIG.datasets) == 1 else rules.first_table.output,
