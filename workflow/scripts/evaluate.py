"""Evaluate a predictions file."""

from pathlib import Path

from rspose.grid.job import config_of, job

with job(snakemake):
    from rspose.evaluation.evaluate import evaluate
    from rspose.grid.files import write_json

    dataset = snakemake.wildcards.dataset
    root = config_of(snakemake).data[dataset].folder
    write_json(Path(snakemake.output[0]), evaluate(dataset, Path(snakemake.input.predictions), root))
