"""Collect the records into one table."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    from rspose.reporting.frame import collect, write_collected

    write_collected(collect(*map(Path, snakemake.params.records)), Path(snakemake.output[0]))
