"""Train a cell."""

from pathlib import Path

from rspose.experiment.job import job

with job(snakemake) as terminal:
    from rspose.experiment.config import Cell
    from rspose.experiment.train import train

    train(
        snakemake.config,
        Cell.of(snakemake.wildcards),
        Path(snakemake.output.checkpoint),
        Path(snakemake.input.initial_weights) if snakemake.input.initial_weights else None,
        terminal=terminal,
    )
