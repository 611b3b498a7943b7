"""Predict the validation split with a trained cell."""

from pathlib import Path

from rspose.grid.job import config_of, job

with job(snakemake):
    from rspose.grid.cell import Cell
    from rspose.grid.tuning import tuned
    from rspose.training.predict import predict

    cell = Cell.of(snakemake.wildcards)
    predict(
        tuned(config_of(snakemake), cell),
        cell,
        Path(snakemake.input.checkpoint),
        Path(snakemake.output.predictions),
        Path(snakemake.output.samples),
    )
