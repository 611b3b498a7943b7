"""Make the report from records."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    from rspose.reporting.report.page import make_report

    folders = [Path(folder) for folder in snakemake.params.records]
    make_report(folders, Path(snakemake.output[0]), region=snakemake.params.region)
