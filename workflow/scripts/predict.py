"""Predict the validation split with a trained cell."""

from pathlib import Path

from rspose.grid.job import config_of, job

with job(snakemake):
    from rspose.grid.cell import Cell
    from rspose.training.predict import predict

    predict(
        config_of(snakemake),
        Cell.of(snakemake.wildcards),
        Path(snakemake.input.checkpoint),
        Path(snakemake.output.predictions),
        Path(snakemake.output.samples),
    )
