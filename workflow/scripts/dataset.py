"""Generate a dataset."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake) as terminal:
    from rspose.drawn import make_dataset
    from rspose.grid.lock import claim_drawing

    settings, root = snakemake.params.generate, Path(snakemake.output[0]).parent.resolve()
    claim_drawing(root, snakemake.params.dataset)
    make_dataset(
        snakemake.params.dataset,
        root,
        images=settings["train_images"],
        val_images=settings["val_images"],
        seed=settings["seed"],
        size=tuple(settings["image_size"]),
        version=snakemake.params.code,
    )
