"""Train a cell."""

import os
from pathlib import Path

from rspose.experiment.job import job

with job(snakemake) as terminal:
    from rspose.experiment.cell import Cell
    from rspose.experiment.train import train

    train(
        snakemake.config,
        Cell.of(snakemake.wildcards),
        Path(snakemake.output.checkpoint),
        Path(snakemake.input.initial_weights) if snakemake.input.initial_weights else None,
        parallel=int(os.environ.get("RSPOSE_CORES", "1")) // snakemake.threads,
        terminal=terminal,
    )
