"""Train a cell."""

import os
from pathlib import Path

from rspose.grid.job import config_of, job

cores = int(os.environ["RSPOSE_CORES"])  # the Snakefile says what 0 means
with job(snakemake) as terminal:
    from rspose.grid.cell import Cell
    from rspose.grid.tuning import tuned
    from rspose.training.train import train

    cell = Cell.of(snakemake.wildcards)
    train(
        tuned(config_of(snakemake), cell),
        cell,
        Path(snakemake.output.checkpoint),
        Path(snakemake.input.initial_weights) if snakemake.input.initial_weights else None,
        parallel=max(1, cores // snakemake.threads) if cores else 0,
        terminal=terminal,
    )
