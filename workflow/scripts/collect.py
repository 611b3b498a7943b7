"""Collect the records into one table."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    from rspose.reporting.frame import collect

    collect(*map(Path, snakemake.params.records)).to_csv(snakemake.output[0], index=False)
