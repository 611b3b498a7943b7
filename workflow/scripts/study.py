"""Draw the figures of the confidence study and of training."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    from rspose.reporting.study_figures import make_study_figures

    folders = [Path(folder) for folder in snakemake.params.records]
    make_study_figures(folders, Path(snakemake.output[0]), region=snakemake.params.region)
