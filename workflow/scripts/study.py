"""Draw the figures of the confidence study and of training."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    from rspose.reporting.study_figures import make_study_figures

    make_study_figures([Path(folder) for folder in snakemake.params.records], Path(snakemake.output[0]))
