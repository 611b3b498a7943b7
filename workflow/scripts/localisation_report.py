"""Make the table and the figure of loss against localisation."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    from rspose.reporting.localisation import make_localisation

    make_localisation(Path(snakemake.input[0]), Path(snakemake.output.table).parent)
