"""Write the record of a cell."""

from pathlib import Path

from rspose.grid.job import config_of, job

with job(snakemake) as terminal:
    from rspose.grid.cell import Cell
    from rspose.grid.record import write_record

    cell = Cell.of(snakemake.wildcards)
    record = write_record(
        config_of(snakemake),
        cell,
        Path(snakemake.input.scores),
        Path(snakemake.input.training),
        Path(snakemake.output[0]),
        snakemake.params.said,
    )
    print(f"{cell}: {record.headline}", file=terminal)
