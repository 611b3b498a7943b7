"""Predict, evaluate and record a control."""

from pathlib import Path

from rspose.grid.job import config_of, job

with job(snakemake):
    from rspose.evaluation import controls
    from rspose.evaluation.evaluate import evaluate
    from rspose.grid.files import write_json
    from rspose.grid.record import write_control_record

    dataset, control = snakemake.wildcards.dataset, snakemake.wildcards.control
    root = config_of(snakemake).data[dataset].root
    getattr(controls, control)(dataset, root).save(Path(snakemake.output.predictions))
    write_json(Path(snakemake.output.scores), evaluate(dataset, Path(snakemake.output.predictions), root))
    write_control_record(
        config_of(snakemake), dataset, control, Path(snakemake.output.scores), Path(snakemake.output.record)
    )
