"""Collect the records into one table."""

from pathlib import Path

from rspose.experiment.job import job

with job(snakemake):
    from rspose.reporting.records import collect, write_collected

    write_collected(collect(*map(Path, snakemake.params.records)), Path(snakemake.output[0]))
