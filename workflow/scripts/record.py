"""Write the record of a cell."""

from pathlib import Path

from rspose.experiment.job import job

with job(snakemake):
    from rspose.experiment.cell import Cell
    from rspose.experiment.record import write_record

    write_record(
        snakemake.config,
        Cell.of(snakemake.wildcards),
        Path(snakemake.input.scores),
        Path(snakemake.input.training),
        Path(snakemake.output[0]),
    )
