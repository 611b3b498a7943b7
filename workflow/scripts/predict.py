"""Predict the validation split with a trained cell."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    from rspose.grid.cell import Cell
    from rspose.training.predict import predict

    predict(
        snakemake.config,
        Cell.of(snakemake.wildcards),
        Path(snakemake.input.checkpoint),
        Path(snakemake.output.predictions),
        Path(snakemake.output.samples),
    )
