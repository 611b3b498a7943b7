"""Make the report from records."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    from rspose.reporting.report.page import make_report

    make_report([Path(folder) for folder in snakemake.params.records], Path(snakemake.output[0]))
