"""Write the record of a cell."""

from pathlib import Path

from rspose.grid.job import config_of, job

with job(snakemake) as terminal:
    from rspose.grid.cell import Cell
    from rspose.grid.record import write_record
    from rspose.grid.tuning import tuned

    cell = Cell.of(snakemake.wildcards)
    record = write_record(
        tuned(config_of(snakemake), cell),
        cell,
        Path(snakemake.input.scores),
        Path(snakemake.input.training),
        Path(snakemake.output[0]),
    )
    print(f"{cell}: {record.headline}", file=terminal)
