"""Train the initial weights of a model."""

from pathlib import Path

from rspose.experiment.job import job

with job(snakemake) as terminal:
    from rspose.experiment.initial_weights import train_initial_weights

    train_initial_weights(snakemake.config, snakemake.wildcards.model, Path(snakemake.output[0]), terminal)
