"""Train the initial weights of a model."""

from pathlib import Path

from rspose.grid.job import config_of, job

with job(snakemake) as terminal:
    from rspose.training.initial_weights import train_initial_weights

    train_initial_weights(
        config_of(snakemake), snakemake.wildcards.model, Path(snakemake.output[0]), terminal
    )
