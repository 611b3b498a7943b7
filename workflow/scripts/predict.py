"""Predict the validation split with a trained cell."""

from pathlib import Path

from rspose.grid.job import config_of, job

with job(snakemake):
    from rspose.grid.ahead import predicted_ahead
    from rspose.grid.cell import Cell

    cell, checkpoint = Cell.of(snakemake.wildcards), Path(snakemake.input.checkpoint)
    config = config_of(snakemake)
    outputs = Path(snakemake.output.predictions), Path(snakemake.output.samples)
    ahead = predicted_ahead(config, cell, checkpoint)
    if all(file.is_file() for file in ahead):
        print("The training has predicted already.")
        for file, output in zip(ahead, outputs, strict=True):
            file.replace(output)
        ahead[0].parent.rmdir()
    else:
        from rspose.grid.tuning import tuned
        from rspose.training.predict import predict

        predict(tuned(config, cell), cell, checkpoint, *outputs)
