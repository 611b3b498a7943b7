"""Make the tables from records."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    from rspose.reporting.tables import make_tables

    folders = [Path(folder) for folder in snakemake.params.records]
    make_tables(folders, Path(snakemake.output.main).parent, region=snakemake.params.region)
