"""Collect the records into one table."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    from rspose.reporting.frame import ordered_records, tidy, to_csv

    table = tidy(ordered_records(*map(Path, snakemake.params.records)))
    Path(snakemake.output[0]).write_text(to_csv(table), encoding="utf-8")
