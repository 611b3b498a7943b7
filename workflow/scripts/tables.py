"""Make the tables from records."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    from rspose.reporting.tables import make_tables

    make_tables([Path(folder) for folder in snakemake.params.records], Path(snakemake.output.main).parent)
