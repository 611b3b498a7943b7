"""Predict, evaluate and record a control."""

from pathlib import Path

from rspose.grid.job import config_of, job

with job(snakemake):
    from rspose.evaluation import controls
    from rspose.evaluation.evaluate import evaluate
    from rspose.grid.cell import Cell
    from rspose.grid.files import write_json
    from rspose.grid.record import write_record

    dataset, control = snakemake.wildcards.dataset, snakemake.wildcards.control
    config, predictions = config_of(snakemake), Path(snakemake.output.predictions)
    scores, data = Path(snakemake.output.scores), config.data[dataset]
    root = data.folder
    getattr(controls, control)(dataset, root, data.least_keypoints).save(predictions)
    write_json(scores, evaluate(dataset, predictions, root))
    cell = Cell(dataset, "control", "control", control, 0)
    write_record(config, cell, scores, None, Path(snakemake.output.record))
