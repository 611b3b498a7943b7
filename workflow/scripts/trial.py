"""Train and score one trial of a loss."""

import os
from pathlib import Path

from rspose.grid.job import config_of, job

cores = int(os.environ["RSPOSE_CORES"])  # the Snakefile says what 0 means
with job(snakemake) as terminal:
    from rspose.grid.tuning import tuned_cell
    from rspose.training.trial import run_trial

    config = config_of(snakemake)
    run_trial(
        config,
        tuned_cell(config, snakemake.wildcards),
        int(snakemake.wildcards.trial),
        Path(snakemake.output[0]),
        Path(snakemake.input.initial_weights) if snakemake.input.initial_weights else None,
        parallel=max(1, cores // snakemake.threads) if cores else 0,
        terminal=terminal,
    )
