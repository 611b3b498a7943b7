"""Follow the losses of the grid along maps of known error."""

from pathlib import Path

from rspose.grid.job import config_of, job

with job(snakemake):
    from rspose.tools.localisation import write_localisation

    write_localisation(config_of(snakemake), Path(snakemake.output[0]))
