"""Train a cell, and predict with it while its model is there."""

import os
import traceback
from pathlib import Path

from rspose.grid.job import config_of, job

cores = int(os.environ["RSPOSE_CORES"])  # the Snakefile says what 0 means
with job(snakemake) as terminal:
    from rspose.grid.ahead import predicted_ahead
    from rspose.grid.cell import Cell
    from rspose.grid.tuning import tuned
    from rspose.training.predict import predict
    from rspose.training.train import Training

    cell, checkpoint = Cell.of(snakemake.wildcards), Path(snakemake.output.checkpoint)
    config = tuned(config_of(snakemake), cell)
    start = Path(snakemake.input.initial_weights) if snakemake.input.initial_weights else None
    parallel = max(1, cores // snakemake.threads) if cores else 0
    Training(config, cell, checkpoint, start, parallel).train(terminal)
    if snakemake.resources.attempt == 1:  # what killed an attempt may have been the prediction
        try:
            predict(config, cell, checkpoint, *predicted_ahead(config, cell, checkpoint))
        except Exception:  # the training is done; the job that predicts meets it again, and says so
            traceback.print_exc()
