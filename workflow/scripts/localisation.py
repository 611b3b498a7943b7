"""Follow the losses of the grid along maps of known error."""

from pathlib import Path

from rspose.experiment.job import job

with job(snakemake):
    from rspose.experiment.localisation import write_localisation

    write_localisation(snakemake.config, Path(snakemake.output[0]))
