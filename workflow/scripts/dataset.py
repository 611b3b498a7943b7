"""Generate a dataset."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake) as terminal:
    from rspose.drawn import make_dataset

    settings = snakemake.params.generate
    make_dataset(
        snakemake.params.dataset,
        Path(snakemake.output[0]).parent,
        images=settings["train_images"],
        val_images=settings["val_images"],
        seed=settings["seed"],
        size=tuple(settings["image_size"]),
        version=snakemake.params.code,
    )
