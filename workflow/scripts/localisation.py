"""Follow the losses of the grid along maps of known error, and draw where they push."""

from pathlib import Path

from rspose.grid.job import config_of, job

with job(snakemake):
    from rspose.tools.localisation import write_localisation
    from rspose.tools.pushes import draw_pushes, losses_of_grid

    write_localisation(config_of(snakemake), Path(snakemake.output.losses))
    draw_pushes(losses_of_grid(config_of(snakemake)), Path(snakemake.output.pushes))
