"""Write the record of a cell."""

from pathlib import Path

from rspose.grid.job import config_of, job

with job(snakemake):
    from rspose.grid.cell import Cell
    from rspose.grid.record import write_record

    write_record(
        config_of(snakemake),
        Cell.of(snakemake.wildcards),
        Path(snakemake.input.scores),
        Path(snakemake.input.training),
        Path(snakemake.output[0]),
    )
