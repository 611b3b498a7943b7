"""Follow the losses of the grid along maps of known error."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    from rspose.tools.localisation_losses import write_localisation

    write_localisation(snakemake.config, Path(snakemake.output[0]))
