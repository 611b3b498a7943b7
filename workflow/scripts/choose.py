"""Choose among the trials of a loss."""

from pathlib import Path

from rspose.grid.job import config_of, job

with job(snakemake):
    from rspose.grid.tuning import tuned_cell, write_choice

    config = config_of(snakemake)
    cell = tuned_cell(config, snakemake.wildcards)
    write_choice(config, cell, [Path(trial) for trial in snakemake.input.trials], Path(snakemake.output[0]))
